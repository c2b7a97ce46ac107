import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.transition.fit import falling_fit, fit_transition


def test_crossing_is_interpolated_in_log_eps(rng):
    # 0.8 at 10^1, 0.4 at 10^2: ½ lies three quarters of the way.
    found = fit_transition([0, 1, 2, 3], [1.0, 0.8, 0.4, 0.1], rng)
    assert found.crossing == pytest.approx(1.75)
    assert found.bracket == (1.0, 2.0)
    assert found.reason is None
    assert not found.step


def test_a_step_narrower_than_the_grid_is_no_more_than_its_bracket(rng):
    x = np.repeat([-1.0, 0.0, 1.0, 2.0], 3)
    found = fit_transition(x, np.repeat([0.9, 0.88, 0.1, 0.1], 3), rng)
    assert found.step
    assert (found.low, found.high) == found.bracket == (0.0, 1.0)


def test_single_trials_never_make_an_interval_narrower_than_the_bracket(rng):
    found = fit_transition([0, 1, 2, 3, 4], [0.9, 0.7, 0.52, 0.48, 0.1], rng)
    assert (found.low, found.high) == (2.0, 3.0)


def test_trials_that_differ_widen_the_interval(rng):
    x = np.repeat([0.0, 1.0, 2.0, 3.0], 4)
    y = [0.9] * 4 + [0.9, 0.9, 0.9, 0.1] + [0.9, 0.1, 0.1, 0.1] + [0.1] * 4
    found = fit_transition(x, y, rng)
    assert found.crossing == pytest.approx(1.5)
    assert found.low < 1.0
    assert found.high > 2.0


def test_an_interval_that_leaves_the_scan_is_open(rng):
    # One of four seeds had switched before the scan began: nothing says how far before.
    y = [[0.9, 0.9, 0.9, 0.05], [0.1, 0.1, 0.1, 0.1], [0.1] * 4, [0.1] * 4]
    found = fit_transition(np.repeat([0.0, 1.0, 2.0, 3.0], 4), np.ravel(y), rng)
    assert found.low == -np.inf
    assert 1.0 <= found.high < 3.0


def test_units_vary_as_whole_seeds(rng):
    # Seeds switch at 0.5, 1.5 and 2.5: mean 1.5, standard deviation 1, t of two degrees of freedom 4.303.
    x, seed = np.tile(np.arange(-6.0, 10.0), 3), np.repeat(["a", "b", "c"], 16)
    y = np.where(x < np.repeat([1.0, 2.0, 3.0], 16), 0.9, 0.1)
    shuffled = rng.permutation(len(x))
    found = fit_transition(x[shuffled], y[shuffled], rng, units=seed[shuffled])
    assert found.crossing == pytest.approx(1.5)
    assert (found.low, found.high) == pytest.approx((1.5 - 4.303 / 3**0.5, 1.5 + 4.303 / 3**0.5), abs=1e-3)
    assert found.units == 3


def test_two_seeds_that_agree_do_not_show_how_far_seeds_spread(rng):
    found = fit_transition(np.repeat(np.arange(6.0), 2), np.repeat([0.9, 0.9, 0.9, 0.1, 0.1, 0.1], 2), rng)
    assert found.bracket == (2.0, 3.0)
    assert (found.low, found.high) == (1.0, 4.0)


def test_subjects_that_differ_widen_the_interval(rng):
    x = np.tile(np.arange(6.0), 4)
    y = np.clip(0.9 - 0.16 * x + np.repeat([0.0, 0.01, -0.01, 0.02], 6), 0, 1)
    without = fit_transition(x, y, rng)
    moved = np.clip(y + 0.05 * rng.standard_normal((100, 1)), 0, 1)
    resampled = fit_transition(x, y, rng, resampled=moved)
    # The curve falls by 0.16 a decade: 0.05 of retention are 0.3 decades.
    assert resampled.high - resampled.low > without.high - without.low + 1.5
    assert resampled.crossing == without.crossing


def test_a_seed_that_lacks_points_is_interpolated(rng):
    x = [0.0, 1, 2, 3, 0, 3, 0, 1, 2, 3]
    y = [0.9, 0.9, 0.1, 0.1, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1]
    found = fit_transition(x, y, rng, units=list("aaaabbcccc"))
    assert found.units == 3
    assert found.low < 0.5 < 1.5 < found.high


def test_a_curve_is_told_where_the_grid_is_finer_than_the_fall(rng):
    x = np.repeat(np.arange(-2.0, 2.01, 0.25), 3)
    fall = 0.1 + 0.8 / (1 + 10 ** ((x - 0.3) / 0.4))
    curve = fit_transition(x, fall, rng).curve
    assert (curve.upper, curve.lower, curve.middle) == pytest.approx((0.9, 0.1, 0.3), abs=0.01)
    assert curve.width == pytest.approx(2 * np.log10(9) * 0.4, rel=0.02)
    assert curve.r2 == pytest.approx(1, abs=1e-3)
    assert curve.at(np.array([0.3])) == pytest.approx(0.5, abs=0.01)


def test_the_curve_of_a_step_claims_no_width(rng):
    curve = fit_transition(np.repeat([-1.0, 0.0, 1.0, 2.0], 3), np.repeat([0.9, 0.88, 0.1, 0.1], 3), rng).curve
    assert (curve.width, curve.narrower_than) == (None, 1.0)
    assert (curve.upper, curve.lower) == pytest.approx((0.89, 0.1))


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([], [], "no trial to fit"),
        ([1, 1], [0.2, np.nan], "fewer than two ε: only ε = 10 was scanned"),
        ([-7, 3], [0.9, 0.8], "retention stays above ½ from ε = 1e-7 to ε = 1000"),
        ([0, 1], [0.2, 0.1], "retention stays below ½ from ε = 1 to ε = 10"),
        ([0, 1], [0.2, 0.9], "rises through ½ between ε = 1 and ε = 10 and never falls"),
        ([0, 1, 2, 3], [0.9, 0.1, 0.9, 0.1], "crosses ½ 3 times: down between ε = 1 and ε = 10, up between"),
    ],
)
def test_reasons_for_no_crossing(x, y, reason, rng):
    found = fit_transition(x, y, rng)
    assert found.crossing is found.low is found.high is None
    assert reason in found.reason


def test_several_crossings_are_bracketed_together(rng):
    assert fit_transition([0, 1, 2, 3], [0.9, 0.1, 0.9, 0.1], rng).bracket == (0.0, 3.0)


def test_a_rise_within_noise_is_not_a_crossing_of_its_own(rng):
    x = np.repeat([0.0, 1.0, 2.0, 3.0], 4)
    y = [0.9] * 4 + [0.9, 0.1, 0.1, 0.8] + [0.9, 0.9, 0.1, 0.2] + [0.1] * 4
    found = fit_transition(x, y, rng)
    assert found.crossing is not None
    assert found.low <= 1.0 <= 2.0 <= found.high


def test_missing_retention_is_left_out(rng):
    found = fit_transition([0, 0, 1], [0.9, np.nan, 0.1], rng)
    assert [point.n for point in found.points] == [1, 1]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [([0], [0.1, 0.2], "equally long, got 1 and 2"), ([-np.inf], [0.1], "finite"), ([0], [1.2], r"\[0, 1\], got 1.2")],
)
def test_wrong_input(x, y, message, rng):
    with pytest.raises(ValueError, match=message):
        fit_transition(x, y, rng)


def test_points_tell_means_in_order(rng):
    found = fit_transition([1, 0, 1], [0.2, 0.8, 0.4], rng)
    assert [(point.log10_eps, point.n) for point in found.points] == [(0.0, 1), (1.0, 2)]
    assert [point.mean for point in found.points] == pytest.approx([0.8, 0.3])


def test_falling_fit_pools_what_rises():
    fitted = falling_fit(np.array([0.9, 0.2, 0.6, 0.1]), np.array([1.0, 1.0, 3.0, 1.0]))
    assert fitted == pytest.approx([0.9, 0.5, 0.5, 0.1])  # (0.2 + 3·0.6)/4


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1)))
def test_falling_fit_never_rises_and_keeps_the_mean(means):
    fitted = falling_fit(means, np.ones(len(means)))
    assert (np.diff(fitted) <= 1e-12).all()
    assert fitted.mean() == pytest.approx(means.mean())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(0, 1)), max_size=20), st.integers(0, 9))
def test_either_a_crossing_inside_its_bracket_and_interval_or_a_reason(trials, seed):
    x, y = zip(*trials, strict=True) if trials else ((), ())
    found = fit_transition(x, y, np.random.default_rng(seed))
    assert (found.crossing is None) != (found.reason is None)
    if found.crossing is not None:
        assert found.bracket[0] <= found.crossing <= found.bracket[1]
        assert found.low <= found.crossing <= found.high


def test_the_same_rng_gives_the_same_fit():
    x, y = np.repeat(np.arange(4.0), 3), np.random.default_rng(1).random(12)
    assert fit_transition(x, y, np.random.default_rng(2)) == fit_transition(x, y, np.random.default_rng(2))


@pytest.mark.parametrize(("trials", "spread", "grid"), [(3, 0.3, 0.5), (5, 0.3, 0.25), (3, 0.15, 1.0)])
def test_interval_covers_the_crossing_of_studies_drawn_from_a_known_curve(trials, spread, grid):
    """Each trial switches as a whole past its own threshold; half have switched at the true crossing."""
    rng = np.random.default_rng(5)
    covered, errors = 0, []
    for _ in range(150):
        truth = rng.uniform(-0.5, 0.5)
        x = np.repeat(np.arange(-3, 3.01, grid), trials)
        switched = x > truth + spread * rng.standard_normal(len(x))
        y = np.where(switched, 0.1, 0.9) + 0.03 * rng.standard_normal(len(x))
        found = fit_transition(x, y.clip(0, 1), rng)
        covered += found.low <= truth <= found.high
        errors.append(found.crossing - truth)
    assert covered / 150 >= 0.90
    assert abs(np.mean(errors)) < 0.05
