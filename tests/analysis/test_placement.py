import numpy as np
import pytest

from analysis.transition.fit import fit_transition
from analysis.transition.posterior import (
    HALF_SWITCH,
    IGNORED,
    LEARNT,
    LOST,
    MIXED,
    SPREAD_WEIGHTS,
    SPREADS,
    Located,
    Posterior,
    chance_to_place,
    choose,
    code_of,
    shifted_predictions,
)
from analysis.transition.single_trial_seeds import fit_placed, is_placed


def test_what_a_trial_did():
    assert [code_of(value) for value in (0.9, 0.7, 0.5, 0.3, 0.0)] == [IGNORED, IGNORED, MIXED, LEARNT, LEARNT]
    assert code_of(float("nan")) == code_of(0.9, lost=True) == LOST


def test_outcomes_have_chances_that_sum_to_one():
    chances = Posterior(-2, 2).chances(np.array([-1.0, 0.0, 1.7]))
    assert chances.sum(axis=1) == pytest.approx(np.ones_like(chances[:, 0]))


def test_the_first_trial_halves_the_range_and_the_next_the_half_that_is_left():
    posterior = Posterior(-6, 6)
    first, gain = choose(posterior)
    assert first == pytest.approx(0, abs=0.5)
    assert 0.7 < gain < 1  # nearly a bit
    posterior.see(first, IGNORED)
    assert choose(posterior)[0] == pytest.approx(3, abs=0.8)  # it may also lie beyond the end


def test_a_prediction_is_asked_first_and_does_not_rule_out_the_rest():
    posterior = Posterior(-6, 6, predicted=2.0)
    assert choose(posterior)[0] == pytest.approx(2, abs=0.3)
    for x in (2.0, 1.0, 0.0, -2.0, -4.0):
        posterior.see(x, LEARNT)
    assert posterior.locate().crossing < -4


def test_trials_asked_at_once_spread():
    pending = []
    for _ in range(4):
        pending.append(choose(Posterior(-6, 6), pending)[0])
    assert np.diff(sorted(pending)).min() > 1


def test_what_runs_may_be_all_that_is_needed():
    posterior = Posterior(-6, 6)
    assert chance_to_place(posterior, [-1.0, 0.0, 1.0], 0.5) == 0
    assert chance_to_place(posterior, [], 14.1) == 1
    for x, code in ((0.0, IGNORED), (1.0, LEARNT), (0.3, IGNORED), (0.7, LEARNT)):
        posterior.see(x, code)
    places, chances = [], []
    for _ in range(20):
        places.append(choose(posterior, places)[0])
        chances.append(chance_to_place(posterior, places, 0.5))
    assert chances[0] < 0.1
    assert chances[-1] > 0.5
    assert chance_to_place(posterior, places, 0.5) == chances[-1]


def test_the_chance_to_place_is_as_often_true_as_it_says():
    """100 slices as the model draws them, after eight trials and with twelve more running."""
    rng = np.random.default_rng(5)
    said, came = [], []
    for _ in range(100):
        posterior = Posterior(-1, 1)
        crossing, spread = rng.uniform(-1, 1), rng.choice(SPREADS, p=SPREAD_WEIGHTS)

        def code(x, crossing=crossing, spread=spread):
            gap = x - rng.normal(crossing, spread)
            return IGNORED if gap < -HALF_SWITCH else LEARNT if gap > HALF_SWITCH else MIXED

        for x in np.linspace(-0.9, 0.9, 8):
            posterior.see(x, code(x))
        running = list(posterior.locate().crossing + np.linspace(-0.4, 0.4, 12))
        said.append(chance_to_place(posterior, running, 0.4))
        for x in running:
            posterior.see(x, code(x))
        came.append(posterior.locate().width <= 0.4)
    assert 0.2 < np.mean(came) < 0.8  # else there is nothing to tell
    assert np.mean(said) == pytest.approx(np.mean(came), abs=0.12)
    likely = np.array(said) >= 0.5
    assert np.mean(np.array(came)[likely]) > 0.5 > np.mean(np.array(came)[~likely])


def test_a_collapsed_trial_says_nothing_of_the_side_and_is_not_asked_for_again_and_again():
    posterior = Posterior(-1, 1)
    before = posterior.locate()
    place = choose(posterior)[0]
    for _ in range(3):
        posterior.see(place, LOST)
    after = posterior.locate()
    assert (after.low, after.high, after.n) == (before.low, before.high, 0)
    assert abs(choose(posterior)[0] - place) > 0.3


def test_no_crossing_in_the_range():
    posterior = Posterior(-1, 1)
    for _ in range(4):
        posterior.see(1.0, IGNORED)
    assert posterior.locate().inside < 0.05


def test_intervals_hold_the_truth_as_often_as_they_say():
    """30 slices with seeds that scatter by 0.15 to 0.3 decades: nearly all hold, in 20 trials or so each."""
    rng = np.random.default_rng(3)
    held, trials = [], []
    for _ in range(30):
        crossing, spread = rng.uniform(-2.5, 2.5), rng.uniform(0.15, 0.3)
        posterior = Posterior(-3, 3)
        while posterior.locate().width > 0.5 and posterior.n < 60:
            x = choose(posterior)[0]
            posterior.see(x, IGNORED if x < rng.normal(crossing, spread) else LEARNT)
        at = posterior.locate()
        held.append(at.low <= crossing <= at.high)
        trials.append(at.n)
    assert np.mean(held) >= 0.85
    assert np.median(trials) <= 16


def test_slices_share_how_far_off_the_predictions_were():
    located = [Located(1.5, 1.3, 1.7, 1.0, 9), Located(0.0, -3.0, 3.0, 1.0, 0), None]
    assert shifted_predictions([1.0, 2.0, None], located) == [1.25, 2.25, 1.5]


def test_a_slice_of_placed_trials_is_fitted_by_its_posterior():
    x, y = [0.0, 2.0, 1.0, 0.5, 0.75, 0.6], [0.9, 0.1, 0.1, 0.9, 0.1, 0.85]
    units = list("abcdef")
    assert is_placed(x, units)
    assert not is_placed(x, list("aabbcc"))
    fit = fit_placed(fit_transition(x, y, np.random.default_rng(0)), x, y)
    assert fit.crossing == pytest.approx(0.68, abs=0.15)
    assert fit.low < 0.6 < 0.75 < fit.high
    assert fit.units == 6
    none = fit_placed(fit_transition(x, [0.9] * 6, np.random.default_rng(0)), x, [0.9] * 6)
    assert none.crossing is None or none.high == np.inf
