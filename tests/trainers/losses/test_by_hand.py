"""Every loss of the list on a case that fits on a line, expected values written as arithmetic."""

from math import log, sqrt

import pytest
import torch

from tests.trainers.losses.cases import PREDICTION, TARGET, build, line
from trainers.losses import TAXONOMY

DICE = (2 * 1.2 + 0.5) / (2 + 1.8 + 0.5)
TVERSKY = (1.2 + 0.5) / (1.2 + 0.3 * 0.6 + 0.7 * 0.8 + 0.5)
GDL = 1 - (2 * 1.2 / 2**2 + 0.5) / ((2 + 1.8) / 2**2 + 0.5)
CE = -(log(0.8) + log(0.4) + log(1 - 0.6) + log(1 - 0.0)) / 4
FOCAL = -(0.2**2 * log(0.8) + 0.6**2 * log(0.4) + 0.6**2 * log(0.4) + 0) / 4
BOUNDARY = (-2 * 0.8 - 1 * 0.4 + 1 * 0.6 + 2 * 0.0) / 4

EXPECTED = {
    "ce": CE,
    "wce": CE,  # half the voxels are of the class, so both weights are 1
    "topk": -log(0.4),  # 10 % of four voxels is the worst one
    "focal": FOCAL,
    # Distances from the boundary are 2, 1 | 1, 2; inverted and scaled 0, ½ | ½, 0.
    "dpce": -(log(0.8) + 1.5 * log(0.4) + 1.5 * log(0.4) + log(1.0)) / 4,
    "ss": 0.05 * (0.2**2 + 0.6**2) / (2 + 0.5) + 0.95 * 0.6**2 / (2 + 0.5),
    "dice": 1 - DICE,
    "dice_squared": 1 - (2 * 1.2 + 0.5) / (2 + (0.8**2 + 0.4**2 + 0.6**2) + 0.5),
    "iou": 1 - (1.2 + 0.5) / (2 + 1.8 - 1.2 + 0.5),
    "tversky": 1 - TVERSKY,
    "gdl": GDL,
    "focal_tversky": (1 - TVERSKY) ** (3 / 4),
    "asymmetric": 1 - (1.2 + 0.5) / (1.2 + 1 / 3.25 * 0.6 + 2.25 / 3.25 * 0.8 + 0.5),
    "penalty": GDL / (1 + 2.5 * (1 - GDL)),
    "boundary": BOUNDARY,
    # The prediction above ½ is 1 0 1 0: every voxel is at its boundary.
    "hausdorff": (0.2**2 * (2**2 + 1) + 0.6**2 * (1 + 1) + 0.6**2 * (1 + 1) + 0) / 4,
    "combo": 0.5 * -(0.5 * (log(0.8) + log(0.4)) + 0.5 * log(1 - 0.6)) / 4 - 0.5 * DICE,
    # Both classes of the map have f = ½, hence w = √2.
    "ell": 0.8 * (-log(DICE)) ** 0.3 + 0.2 * sqrt(2) * ((-log(0.8)) ** 0.3 + 2 * (-log(0.4)) ** 0.3 + 0) / 4,
    "dice_ce": (1 - DICE) + CE,
    "dice_focal": (1 - DICE) + FOCAL,
    "boundary_gdl": GDL + BOUNDARY,
    "leaf_dice": 1 - DICE,
    "marginal_dice": 1 - DICE,
}


@pytest.mark.parametrize("name", TAXONOMY)
def test_a_line(name):
    value = build(name)(line([PREDICTION]), line([TARGET]))
    assert value.shape == ()
    assert value.item() == pytest.approx(EXPECTED[name], rel=1e-12)


def test_a_sum_weighs_its_terms():
    from trainers.losses import make_loss

    loss = make_loss({"terms": [{"name": "dice", "phi": "I", "eps": 0.5, "weight": 2.0}, {"name": "ce", "weight": 3}]})
    assert loss(line([PREDICTION]), line([TARGET])).item() == pytest.approx(2 * (1 - DICE) + 3 * CE)


# Two cases of two classes, each a line of two voxels; (Σgs, Σg + Σs) of a map stand beside it.
PAIR_PREDICTION = line([[0.5, 0.5], [0.2, 0.0]], [[1.0, 0.0], [0.6, 0.6]])
PAIR_TARGET = line([[1, 0], [0, 0]], [[1, 1], [0, 1]])
PAIR_SUMS = [[(0.5, 2.0), (0.0, 0.2)], [(1.0, 3.0), (0.6, 2.2)]]


@pytest.mark.parametrize(
    ("phi", "sums"),
    [
        ("I", [(0.5, 2.0), (0.0, 0.2), (1.0, 3.0), (0.6, 2.2)]),
        ("CI", [(0.5 + 0.0, 2.0 + 0.2), (1.0 + 0.6, 3.0 + 2.2)]),
        ("BI", [(0.5 + 1.0, 2.0 + 3.0), (0.0 + 0.6, 0.2 + 2.2)]),
        ("BCI", [(0.5 + 0.0 + 1.0 + 0.6, 2.0 + 0.2 + 3.0 + 2.2)]),
    ],
)
def test_phi_says_what_a_sum_runs_over(phi, sums):
    expected = 1 - sum((2 * both + 0.1) / (total + 0.1) for both, total in sums) / len(sums)
    assert build("dice", phi, 0.1)(PAIR_PREDICTION, PAIR_TARGET).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("phi", "ratios"),
    [
        ("I", [(1.0 + 0.1) / (2.0 + 0.1), (0.0 + 7.0) / (0.2 + 7.0), (2.0 + 0.1) / (3.0 + 0.1), (1.2 + 7) / (2.2 + 7)]),
        ("BI", [(3.0 + 0.1) / (5.0 + 0.1), (1.2 + 7.0) / (2.4 + 7.0)]),
    ],
)
def test_eps_per_class(phi, ratios):
    value = build("dice", phi, [0.1, 7.0])(PAIR_PREDICTION, PAIR_TARGET)
    assert value.item() == pytest.approx(1 - sum(ratios) / len(ratios), rel=1e-12)


def test_class_weights_weigh_the_mean_or_the_sums():
    first, second = 1 - (3.0 + 0.1) / (5.0 + 0.1), 1 - (1.2 + 0.1) / (2.4 + 0.1)
    weighted = build("dice", "BI", 0.1, class_weights=[1, 3])(PAIR_PREDICTION, PAIR_TARGET)
    assert weighted.item() == pytest.approx((first + 3 * second) / 4)
    # Scaled to a mean of 1, the weights are ½ and 1½.
    expected = 1 - (0.5 * 3.0 + 1.5 * 1.2 + 0.1) / (0.5 * 5.0 + 1.5 * 2.4 + 0.1)
    pooled = build("dice", "BCI", 0.1, class_weights=[1, 3])(PAIR_PREDICTION, PAIR_TARGET)
    assert pooled.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("wce", {"class_weights": [3.0]}, -(3 * log(0.8) + 3 * log(0.4) + log(0.4)) / 4),
        ("topk", {"k": 50.0}, -(log(0.4) + log(0.4)) / 2),
        ("topk", {"t": 0.9}, -(log(0.8) + 2 * log(0.4)) / 3),
        ("topk", {"t": 0.1}, 0.0),
        ("focal", {"gamma": 0.0}, CE),
        ("focal", {"class_weights": [3.0]}, 3 * FOCAL),
        ("tversky", {"alpha": 1.0, "beta": 1.0}, 1 - (1.2 + 0.5) / (1.2 + 0.6 + 0.8 + 0.5)),
        ("penalty", {"k": 0.0}, GDL),
        ("gdl", {"absent_weight": 9.0}, GDL),
        ("dice_ce", {"dice_weight": 0.0, "ce_weight": 2.0}, 2 * CE),
        ("combo", {"a": 0.0}, -DICE),
    ],
)
def test_parameters(name, parameters, expected):
    assert build(name, **parameters)(line([PREDICTION]), line([TARGET])).item() == pytest.approx(expected, abs=1e-15)


def test_weighted_cross_entropy_evens_out_the_frequencies():
    # One voxel of four is of the class: weights 4/(2·1) = 2 and 4/(2·3) = 2/3.
    value = build("wce")(line([[0.9, 0.2, 0.2, 0.5]]), line([[1, 0, 0, 0]]))
    assert value.item() == pytest.approx(-(2 * log(0.9) + 2 / 3 * (log(0.8) + log(0.8) + log(0.5))) / 4)


def test_cross_entropy_under_softmax_sums_over_classes():
    # Voxel 0 is background, voxel 1 of class 1.
    prediction = line([[0.7, 0.1], [0.2, 0.6], [0.1, 0.3]])
    target = line([[1, 0], [0, 1], [0, 0]])
    loss = build("ce", head="softmax")
    assert loss.needs_background
    assert loss(prediction, target).item() == pytest.approx(-(log(0.7) + log(0.6)) / 2)
    # Two of three classes occur, each in half of the voxels: every weight is 2/(2·1) = 1.
    assert build("wce", head="softmax")(prediction, target).item() == pytest.approx(-(log(0.7) + log(0.6)) / 2)
    given = build("wce", head="softmax", class_weights=[5, 1])  # the background, left out, keeps 1
    assert given(prediction, target).item() == pytest.approx(-(log(0.7) + 5 * log(0.6)) / 2)


def test_a_compound_gives_each_part_its_maps():
    prediction = line([[0.7, 0.1], [0.2, 0.6], [0.1, 0.3]])
    target = line([[1, 0], [0, 1], [0, 0]])
    both = build("dice_ce", head="softmax")
    assert both.needs_background
    foreground = build("dice", head="softmax")(prediction[:, 1:], target[:, 1:])
    everything = build("dice", head="softmax", background=True)(prediction, target)
    entropy = build("ce", head="softmax")(prediction, target)
    assert both(prediction, target) == pytest.approx(foreground + entropy)
    with_background = build("dice_ce", head="softmax", background=True)
    assert with_background(prediction, target) == pytest.approx(everything + entropy)


def test_generalised_dice_gives_an_absent_class_a_weight():
    prediction, target = line([[0.5, 0.5], [0.2, 0.0]]), line([[1, 1], [0, 0]])
    # Class 0: Σgs = 1, Σg + Σs = 3, w = 1/4; class 1 is absent, its Σs = 0.2.
    for absent, weight in ((None, 1 / 4), (0.0, 0.0), (9.0, 9.0)):
        value = build("gdl", eps=0.1, absent_weight=absent)(prediction, target)
        assert value.item() == pytest.approx(1 - (2 / 4 + 0.1) / (3 / 4 + weight * 0.2 + 0.1))
    nothing = build("gdl", eps=0.1)(prediction, torch.zeros_like(target))
    assert nothing.item() == pytest.approx(1 - 0.1 / (1.0 + 0.2 + 0.1))  # all absent: each weighs 1


def test_generalised_dice_pools_the_batch_where_phi_does():
    # Class sums over the batch: Σgs 1.5 and 0.6, Σg 3 and 1, Σg + Σs 5 and 2.4.
    expected = 1 - (2 * (1.5 / 9 + 0.6) + 0.1) / (5 / 9 + 2.4 + 0.1)
    for phi in ("BI", "BCI"):
        assert build("gdl", phi, 0.1)(PAIR_PREDICTION, PAIR_TARGET).item() == pytest.approx(expected)
    assert build("gdl", "I", 0.1)(PAIR_PREDICTION, PAIR_TARGET) == build("gdl", "CI", 0.1)(PAIR_PREDICTION, PAIR_TARGET)
