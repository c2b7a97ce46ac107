"""The push on emptied maps, worked by hand, and what was measured on generated brains."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.theory.advice import MARGIN, advice_text, advise
from analysis.theory.prediction import LabelStatistics, crossing_at, member_of, predict, predict_crossing, push_curve
from bench.explain import Slice, fit, left_out_errors

HALF = LabelStatistics(labelled=36, emptied=36, empty=0, labelled_volume=392.0, hidden_volume=392.0)


def test_v_hat_counts_emptied_maps_as_zero():
    assert HALF.v_hat == 196
    assert LabelStatistics(30, 20, 50, 100.0, 80.0).v_hat == 30


def test_image_wise_by_hand():
    # An emptied map, 392 voxels predicted: ε/(392+ε)². A labelled one, half hit: (2·196+ε)/(784+ε)².
    for eps in (1e-7, 20.0, 392.0, 1e5):
        emptied, labelled = eps / (392 + eps) ** 2, (392 + eps) / (784 + eps) ** 2
        for batch_size in (1, 2, 8):
            # 36 emptied maps against the 3.6 that look like them.
            assert predict(HALF, "I", eps, batch_size).push == pytest.approx(10 * emptied / labelled)


def test_batch_wise_by_hand():
    # B = 2: the other map is labelled in 36 of 71 batches that hold an emptied one, in 35 of 71 else.
    def background(labelled, emptied):
        return 392 * labelled / (784 * labelled + 392 * emptied) ** 2

    emptied = 36 / 71 * background(1, 1)
    labelled = 35 / 71 * background(2, 0) + 36 / 71 * background(1, 1)
    assert predict(HALF, "BI", 1e-9, 2).push == pytest.approx(10 * emptied / labelled, rel=1e-6)


def test_batches_by_hand():
    found = predict(HALF, "I", 1.0, 2)
    assert found.both == pytest.approx(2 * 36 * 36 / (72 * 71))
    assert found.alone == pytest.approx(36 * 35 / (72 * 71))
    assert predict(HALF, "I", 1.0, 1).both == 0


@pytest.mark.parametrize("eps", [1e-7, 1.0, 300.0])
def test_a_batch_of_one_is_image_wise(eps):
    assert predict(HALF, "BI", eps, 1).push == pytest.approx(predict(HALF, "I", eps, 1).push)


def test_a_phi_over_classes_is_image_wise_where_there_is_one_class():
    assert predict(HALF, "CI", 20.0, 2).push == pytest.approx(predict(HALF, "I", 20.0, 2).push)
    several = LabelStatistics(36, 36, 0, 392.0, 392.0, other_volume=500.0)
    assert predict(several, "CI", 1e-7, 2).push > 0.5


def test_nothing_emptied_pushes_nothing():
    found = predict(LabelStatistics(72, 0, 0, 392.0, 0.0), "I", 196.0, 2)
    assert (found.push, found.outcome) == (0, "ignores")
    assert predict_crossing(LabelStatistics(72, 0, 0, 392.0, 0.0), "I", 2) is None


@pytest.mark.parametrize(
    ("phi", "eps", "batch_size", "outcome"),
    [
        ("I", 1e-7, 1, "ignores"),
        ("I", 1e-7, 2, "ignores"),
        ("I", 1e-7, 4, "ignores"),
        ("BI", 1e-7, 1, "ignores"),
        ("BI", 1e-7, 2, "learns_empty"),
        ("BI", 1e-7, 4, "learns_empty"),
        ("I", 3.0, 2, "ignores"),
        ("I", 30.0, 2, "learns_empty"),
        ("I", 100.0, 4, "learns_empty"),
        ("I", 1e4, 2, "learns_empty"),
    ],
)
def test_outcomes_that_were_measured_on_generated_brains(phi, eps, batch_size, outcome):
    assert predict(HALF, phi, eps, batch_size, clipped=True).outcome == outcome


def test_collapse_threatens_where_the_empty_maps_gradient_peaks():
    # Seen without clipping at ε = v̂ for B = 1 and 2, not for B = 4 nor at 5 v̂ and above.
    risky = [predict(HALF, "I", 392.0, size).outcome for size in (1, 2, 4)]
    assert risky == ["collapse_risk", "collapse_risk", "learns_empty"]
    assert predict(HALF, "I", 5 * 392.0, 2).outcome == "learns_empty"


def test_the_crossing_lies_where_it_was_measured():
    for batch_size in (1, 2, 4):
        assert 0.03 <= predict_crossing(HALF, "I", batch_size) / HALF.v_hat <= 0.15
    # Fewer cases emptied need a larger ε; smaller tumours a smaller one.
    third = LabelStatistics(48, 24, 0, 392.0, 392.0)
    assert predict_crossing(third, "I", 2) > predict_crossing(HALF, "I", 2)
    small = LabelStatistics(36, 36, 0, 200.0, 200.0)
    assert predict_crossing(small, "I", 2) < predict_crossing(HALF, "I", 2)
    # A batch-wise loss learns at any ε.
    assert predict_crossing(HALF, "BI", 2) is None


def test_labelled_maps_of_the_emptied_group_hold_against_the_emptied_ones():
    # Of the group's 36 maps a third, two thirds or all are emptied; 36 others are labelled, 3.6 of which look alike.
    third = LabelStatistics(60, 12, 0, 392.0, 392.0, in_group=24)
    most = LabelStatistics(48, 24, 0, 392.0, 392.0, in_group=12)
    assert (third.rivals, most.rivals, HALF.rivals) == pytest.approx((27.6, 15.6, 3.6))
    # Measured: no crossing up to 10 v̂, one between 0.32 and 1 v̂, and one at 0.06 v̂.
    assert predict_crossing(third, "I", 2) is None
    assert predict(third, "I", 10 * third.v_hat, 2, clipped=True).outcome == "ignores"
    assert predict_crossing(most, "I", 2) > 3 * predict_crossing(HALF, "I", 2)


def test_a_crossing_is_where_the_push_is_the_one_asked_for():
    eps = crossing_at(HALF, "I", 2, 0.3)
    assert push_curve(HALF, "I", 2, [eps])[0] == pytest.approx(0.3)
    assert crossing_at(HALF, "I", 2, 50.0) is None


def test_advice_keeps_away_from_the_crossing_and_tells_of_collapse():
    found = advise(10.0, 196.0, risky=False)
    assert (found.ignore_to, found.learn_from, found.learn_to) == (10 / MARGIN, 10 * MARGIN, 196)
    # Where the crossing lies near v̂, there is one ε to learn at.
    near = advise(150.0, 196.0, risky=False)
    assert near.learn_from == near.learn_to == 150 * MARGIN
    assert advise(None, 196.0, risky=True) is None
    words = advice_text("Φ=I, B=2", found, 196.0)
    assert "to ignore emptied maps ε ≤ 2.5 voxels (0.0128 v̂)" in words
    assert "from 40 voxels (0.204 v̂) to 196 voxels (1 v̂), where 3 of 100 trainings collapsed" in words
    assert "11 of 65 trainings collapsed" in advice_text("Φ=I, B=1", advise(10.0, 196.0, risky=True), 196.0)


def test_the_fit_of_the_bench_finds_the_power_that_slices_were_made_with():
    made = []
    for training in (1.0, 2.0, 4.0, 8.0):
        eps = crossing_at(HALF, "I", 2, 0.3 / training)
        made.append(Slice("", HALF, 2, eps, None, None, (eps / 1.2, eps * 1.2), training))
    found = fit(made, with_power=True)
    assert (10**found.level, found.power) == pytest.approx((0.3, 1.0))
    assert left_out_errors(made, with_power=True) == pytest.approx(0, abs=1e-6)
    assert fit(made, with_power=False).power == 0
    assert max(abs(left_out_errors(made, with_power=False))) > 0.3


@given(st.floats(1e-7, 1e6), st.sampled_from(["I", "CI", "BI", "BCI"]), st.integers(1, 8))
def test_always_finite_and_an_outcome(eps, phi, batch_size):
    found = predict(HALF, phi, eps, batch_size)
    assert math.isfinite(found.push)
    assert found.push >= 0
    assert found.outcome in ("ignores", "between", "learns_empty", "collapse_risk")


def test_members_of_the_family():
    assert member_of("dice", {"background": False, "class_weights": None}) is not None
    tversky = member_of("tversky", {"alpha": 0.5, "beta": 0.5, "background": False})
    assert (tversky.alpha, tversky.beta) == (0.5, 0.5)
    assert member_of("ce", {}) is None
