import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import compute_dice
from sklearn.metrics import recall_score, roc_auc_score

from trainers.data.base import CaseInfo
from trainers.metrics import mean_dsc, score_case, summarise
from trainers.spec import EmptySpec

EMPTY = EmptySpec(group="B", classes=("tumor",))


def case(name, group, overlap, predicted, true):
    info = CaseInfo(name, name, group)
    return score_case(info, ("tumor",), [overlap], [predicted], [true], [group == "B"], voxel_ml=0.5)


def test_worked_by_hand():
    (score,) = case("c", "B", overlap=30, predicted=40, true=60)
    assert score.dsc == 2 * 30 / (40 + 60)
    assert score.dv_ml == (40 - 60) * 0.5
    assert (score.pred_ml, score.true_ml) == (20.0, 30.0)
    assert (score.gt_empty, score.emptied, score.pred_empty) == (False, True, False)


def test_two_empty_maps_have_no_dsc():
    (score,) = case("c", "A", 0, 0, 0)
    assert math.isnan(score.dsc)
    assert score.gt_empty
    assert score.pred_empty


def test_summary_by_hand():
    scores = [
        *case("a1", "A", 50, 50, 50),
        *case("a2", "A", 0, 0, 50),
        *case("b1", "B", 20, 25, 50),
        *case("b2", "B", 10, 100, 50),
    ]
    found = summarise(scores, EMPTY)
    assert found["dsc.A.tumor"] == (1 + 0) / 2
    assert found["dsc.B.tumor"] == pytest.approx((40 / 75 + 20 / 150) / 2)
    assert found["dv_ml.B.tumor"] == (-12.5 + 25) / 2
    # 25/50, and 100/50 clipped to 1.
    assert found["retention.tumor"] == (0.5 + 1) / 2
    # A's volumes 25 and 0 against B's 12.5 and 50: only 25 > 12.5 of four pairs.
    assert found["auc.tumor"] == 1 / 4
    assert mean_dsc(scores).keys() == {"dsc.A.tumor", "dsc.B.tumor"}


def test_ties_count_half():
    scores = [*case("a", "A", 5, 10, 10), *case("b", "B", 5, 10, 10)]
    assert summarise(scores, EMPTY)["auc.tumor"] == 0.5


def test_a_rightly_empty_map_has_no_retention():
    assert "retention.tumor" not in summarise([*case("a", "A", 1, 1, 1), *case("b", "B", 0, 3, 0)], EMPTY)


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_figures_stay_in_their_range(rows):
    scores = [
        score
        for number, (group, overlap, predicted, true) in enumerate(rows)
        for score in case(str(number), group, min(overlap, predicted, true), predicted, true)
    ]
    for name, value in summarise(scores, EMPTY).items():
        assert math.isfinite(value)
        if not name.startswith(("dv_ml", "fp_ml")):
            assert 0 <= value <= 1


def test_two_empty_maps_are_missing_and_one_and_never_silently_either():
    rows = [*case("a", "A", 0, 0, 0), *case("b", "A", 2, 4, 4), *case("c", "A", 0, 3, 0)]
    assert [math.isnan(row.dsc) for row in rows] == [True, False, True]
    assert [math.isnan(row.dsc_empty_missing) for row in rows] == [True, False, False]
    assert [row.dsc_empty_1 for row in rows] == [1.0, 0.5, 0.0]
    figures = summarise(rows, EMPTY)
    assert figures["dsc.A.tumor"] == 0.5
    assert figures["dsc_empty_missing.A.tumor"] == pytest.approx((0.5 + 0) / 2)
    assert figures["dsc_empty_1.A.tumor"] == pytest.approx((1 + 0.5 + 0) / 3)
    # Half a millilitre a voxel; two of the three maps are rightly empty.
    assert figures["fp_ml.A.tumor"] == pytest.approx((0 + 3 * 0.5) / 2)


def test_where_no_map_is_rightly_empty_nothing_is_said_of_such():
    figures = summarise(case("b", "A", 2, 4, 4), EMPTY)
    assert not [name for name in figures if name.startswith(("dsc_empty", "fp_ml", "spec", "sens", "det"))]


def test_a_volume_up_to_the_tolerance_counts_as_empty():
    info = CaseInfo("c", "c", "A")
    found = [
        score_case(info, ("tumor",), [0], [voxels], [0], [False], voxel_ml=0.5, tolerance_ml=1.0)[0].pred_empty
        for voxels in (0, 2, 3)
    ]
    assert found == [True, True, False]


@pytest.mark.parametrize("seed", range(20))
def test_figures_are_those_of_monai_and_scikit_learn_on_every_mix_of_drawn_and_empty(seed):
    rng = np.random.default_rng(seed)
    count, tolerance, voxel_ml = 30, 1.0, 0.5
    # A third of either kind of map is empty, independently of each other; group B has none drawn in every fourth seed.
    true, found = ((rng.random((count, 6, 6)) < 0.2) & (rng.random((count, 1, 1)) > 1 / 3) for _ in range(2))
    true[1::2] &= seed % 4 != 0
    groups = np.array(["A", "B"] * (count // 2))
    scores = [
        score_case(
            CaseInfo(str(n), str(n), groups[n]),
            ("tumor",),
            [int((true[n] & found[n]).sum())],
            [int(found[n].sum())],
            [int(true[n].sum())],
            [False],
            voxel_ml,
            tolerance,
        )[0]
        for n in range(count)
    ]
    figures = summarise(scores, EMPTY)
    maps = (torch.from_numpy(found)[:, None].float(), torch.from_numpy(true)[:, None].float())
    for ignore, name in ((True, "dsc"), (False, "dsc_empty_1")):
        theirs = compute_dice(*maps, ignore_empty=ignore).numpy()[:, 0]
        np.testing.assert_allclose([getattr(score, name) for score in scores], theirs, rtol=1e-6)
    volumes = found.sum(axis=(1, 2)) * voxel_ml
    drawn = true.any(axis=(1, 2))
    for group in "AB":
        own = groups == group
        for name, truth in (("specificity", ~drawn), ("sensitivity", drawn)):
            expected = {True: volumes > tolerance, False: volumes <= tolerance}[name == "sensitivity"]
            if (own & truth).any():
                theirs = recall_score(truth[own], expected[own])
                assert figures[f"{name}.{group}.tumor"] == pytest.approx(theirs)
            else:
                assert f"{name}.{group}.tumor" not in figures
        if (own & ~drawn).any():
            assert figures[f"fp_ml.{group}.tumor"] == pytest.approx(volumes[own & ~drawn].mean())
    assert figures["detection_auc.tumor"] == pytest.approx(roc_auc_score(drawn, volumes))
