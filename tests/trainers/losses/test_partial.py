"""Leaf and marginal Dice: a map without a label is neither an empty one nor a push."""

import pytest
import torch

from tests.trainers.losses.cases import HEADS, build, gradient, line, random_maps
from trainers.errors import InputError
from trainers.losses import make_loss
from trainers.losses.taxonomy import PHIS


@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("head", HEADS)
def test_marginal_with_everything_labelled_is_dice_with_background(head, phi):
    marginal = build("marginal_dice", phi, 0.3, head)
    prediction, target = random_maps(marginal, head)
    plain = build("dice", phi, 0.3, head, **({"background": True} if head == "softmax" else {}))
    everything = torch.ones(prediction.shape[:2], dtype=torch.bool)
    for presence in (None, everything):
        assert marginal(prediction, target, presence=presence).item() == pytest.approx(plain(prediction, target).item())


# Two voxels; background, then classes 1 and 2.
PREDICTION = line([[0.6, 0.1], [0.3, 0.2], [0.1, 0.7]])


def test_marginal_by_hand():
    # Class 2 is missing: voxel 1, which is of it, counts as background, and so does its probability.
    target = line([[1, 0], [0, 0], [0, 1]])
    loss = build("marginal_dice", "I", 0.5, "softmax")
    value = loss(PREDICTION, target, presence=torch.tensor([[True, False]]))
    # Background 0.7, 0.8 against 1, 1; class 1 0.3, 0.2 against 0, 0; class 2 is left out of the mean.
    expected = 1 - ((2 * 1.5 + 0.5) / (1.5 + 2 + 0.5) + (0.0 + 0.5) / (0.5 + 0 + 0.5)) / 2
    assert value.item() == pytest.approx(expected)
    # The labeling may have turned its voxels into background already, and may name the background too.
    emptied = line([[1, 1], [0, 0], [0, 0]])
    assert loss(PREDICTION, emptied, presence=torch.tensor([[True, True, False]])).item() == pytest.approx(expected)


def test_marginal_cannot_tell_a_missing_class_from_background():
    loss = build("marginal_dice", "I", 0.5, "softmax")
    push = gradient(loss, PREDICTION, line([[1, 1], [0, 0], [0, 0]]), presence=torch.tensor([[True, False]]))
    assert torch.equal(push[:, 0], push[:, 2])


@pytest.mark.parametrize("name", ["leaf_dice", "marginal_dice"])
def test_marginal_and_leaf_of_sigmoid_drop_the_map(name):
    prediction, target = line([[0.5, 0.5], [0.2, 0.1]]), line([[1, 0], [0, 1]])
    loss = build(name, "I", 0.5)
    value = loss(prediction, target, presence=torch.tensor([[True, False]]))
    assert value.item() == pytest.approx(1 - (2 * 0.5 + 0.5) / (1.0 + 1 + 0.5))
    assert gradient(loss, prediction, target, presence=torch.tensor([[True, False]]))[0, 1].abs().max() == 0


def test_leaf_drops_what_is_empty_and_marginal_keeps_it():
    prediction, target = line([[0.5, 0.5], [0.2, 0.1]]), line([[1, 0], [0, 0]])
    first = 1 - (2 * 0.5 + 0.5) / (1.0 + 1 + 0.5)
    second = 1 - 0.5 / (0.3 + 0.5)
    assert build("leaf_dice", "I", 0.5)(prediction, target).item() == pytest.approx(first)
    assert build("marginal_dice", "I", 0.5)(prediction, target).item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("phi", PHIS)
def test_an_unlabelled_map_gets_no_push_from_leaf_dice(phi):
    loss = build("leaf_dice", phi, 300.0)
    prediction, target = random_maps(loss, "sigmoid", dtype=torch.float32)
    presence = torch.tensor([[True, False, True], [True, True, True]])
    target[0, 1] = 0
    for known in (presence, None) if phi == "I" else (presence,):
        push = gradient(loss, prediction, target, presence=known)
        assert push[0, 1].abs().max() == 0
        assert push[1, 1].abs().min() > 0


def test_leaf_of_bi_leaves_the_missing_map_out_of_the_sums():
    prediction, target = line([[0.5, 0.5]], [[0.9, 0.9]]), line([[1, 0]], [[0, 0]])
    value = build("leaf_dice", "BI", 0.5)(prediction, target, presence=torch.tensor([[True], [False]]))
    assert value.item() == pytest.approx(1 - (2 * 0.5 + 0.5) / (1.0 + 1 + 0.5))


@pytest.mark.parametrize("name", ["leaf_dice", "marginal_dice"])
def test_nothing_labelled_is_0_without_a_push(name):
    prediction, target = line([[0.5, 0.5]]), line([[0, 0]])
    nothing = torch.tensor([[False]])
    assert build(name)(prediction, target, presence=nothing).item() == 0
    assert gradient(build(name), prediction, target, presence=nothing).abs().max() == 0


def test_the_others_take_a_missing_label_for_an_empty_map():
    prediction, target = line([[0.5, 0.5]]), line([[0, 0]])
    nothing = torch.tensor([[False]])
    for name in ("dice", "ce", "dice_ce", "boundary"):
        assert build(name)(prediction, target, presence=nothing) == build(name)(prediction, target)


def test_presence_must_fit():
    with pytest.raises(InputError, match=r"presence is \(1, 3\); expected \(batch, class\) = \(1, 1\)"):
        build("leaf_dice")(line([[0.5]]), line([[1]]), presence=torch.ones(1, 3, dtype=torch.bool))


def test_a_background_left_out_of_eps_and_presence():
    loss = make_loss({"name": "marginal_dice", "phi": "I", "eps": [0.5, 7.0]}, head="softmax", classes=2)
    target = line([[1, 0], [0, 0], [0, 1]])
    expected = (
        1 - ((2 * 0.6 + 1e-7) / (0.7 + 1 + 1e-7) + (0 + 0.5) / (0.5 + 0 + 0.5) + (2 * 0.7 + 7) / (0.8 + 1 + 7)) / 3
    )
    assert loss(PREDICTION, target, presence=torch.tensor([[True, True]])).item() == pytest.approx(expected)
