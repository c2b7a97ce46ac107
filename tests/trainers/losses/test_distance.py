"""Distance maps and the losses that use them."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from tests.trainers.losses.cases import PREDICTION, TARGET, build, gradient, line, random_maps
from trainers.data.geometry.distances import signed_distance
from trainers.errors import InputError
from trainers.losses.boundary import batch_distance, proximity


def test_signed_distance_on_a_line():
    label = np.array([[0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    found = signed_distance(label, [2.5])
    assert found.dtype == np.float32
    assert found.tolist() == [[5.0, 2.5, -2.5, -5.0, -2.5, 2.5], [0.0] * 6, [0.0] * 6]


@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 4.0)])
def test_signed_distance_against_all_pairs(spacing):
    label = np.random.default_rng(0).random((2, 5, 4, 3)) < 0.4
    points = np.argwhere(np.ones(label.shape[1:])) * np.array(spacing or (1, 1, 1))
    for mask, found in zip(label, signed_distance(label, spacing), strict=True):
        inside = mask.ravel()
        pairs = cdist(points, points)
        expected = np.where(inside, -pairs[:, ~inside].min(1), pairs[:, inside].min(1))
        np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_the_spacing_must_fit():
    with pytest.raises(InputError, match="2 numbers for 3 axes of space; give one per axis"):
        signed_distance(np.zeros((1, 2, 2, 2)), (1.0, 1.0))
    with pytest.raises(InputError, match="spacing has 2 numbers; expected one per axis of space, 1"):
        build("boundary")(line([PREDICTION]), line([TARGET]), spacing=(1.0, 1.0))


@pytest.mark.parametrize(("name", "factor"), [("boundary", 2.0), ("hausdorff", 2.0**2), ("dpce", 1.0)])
def test_spacing_scales_the_loss(name, factor):
    maps = line([PREDICTION]), line([TARGET])
    loss = build(name)
    assert loss.needs_distance
    assert loss(*maps, spacing=[2.0]).item() == pytest.approx(factor * loss(*maps).item())


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", ["boundary", "hausdorff", "dpce", "boundary_gdl"])
def test_given_distances_are_used_and_equal_computed_ones(name, head):
    for background in (False, True) if head == "softmax" and name != "dpce" else (None,):
        loss = build(name, head=head, **({} if background is None else {"background": background}))
        prediction, target = random_maps(loss, head)
        spacing = (1.0, 2.0, 0.5)
        distance = batch_distance(target, spacing)
        expected = loss(prediction, target, spacing=spacing)
        assert loss(prediction, target, distance=distance, spacing=spacing).item() == pytest.approx(expected.item())
        if loss.needs_background:  # the prepared data leave it out
            found = loss(prediction, target, distance=distance[:, 1:], spacing=spacing)
            assert found.item() == pytest.approx(expected.item())
        assert loss(prediction, target, distance=3 * distance, spacing=spacing) != expected or name == "dpce"


def test_a_sum_hands_on_distances_and_foreground():
    from trainers.losses import make_loss

    terms = [{"name": "boundary", "weight": 2.0}, {"name": "ce"}, {"name": "dpce"}]
    loss = make_loss({"terms": terms}, head="softmax")
    assert loss.needs_background
    assert loss.needs_distance
    prediction, target = random_maps(loss, "softmax")
    distance = batch_distance(target, None)
    parts = (
        2 * build("boundary", head="softmax")(prediction[:, 1:], target[:, 1:])
        + build("ce", head="softmax")(prediction, target)
        + build("dpce", head="softmax")(prediction, target)
    )
    for given in (None, distance, distance[:, 1:]):
        assert loss(prediction, target, distance=given).item() == pytest.approx(parts.item())


def test_distance_must_fit():
    with pytest.raises(InputError, match=r"distance is \(1, 1, 2\); expected the target's shape \(1, 1, 4\)"):
        build("boundary")(line([PREDICTION]), line([TARGET]), distance=torch.zeros(1, 1, 2))


def test_an_empty_map_pushes_nothing():
    empty = torch.zeros(1, 1, 4, dtype=torch.float64)
    prediction = line([PREDICTION])
    assert build("boundary")(prediction, empty).item() == 0
    assert gradient(build("boundary"), prediction, empty).abs().max() == 0
    assert build("dpce")(prediction, empty) == build("ce")(prediction, empty)
    # What is predicted there still has a boundary of its own.
    assert gradient(build("hausdorff"), prediction, empty).abs().max() > 0


def test_proximity():
    found = proximity(line([[3.0, 1.0, -1.0, -4.0], [0.0, 0.0, 0.0, 0.0]]))
    assert found.tolist() == [[[0.0, 1 - 1 / 3, 1 - 1 / 4, 0.0], [0.0] * 4]]


def test_perfect_is_the_least_boundary_loss():
    loss = build("boundary")
    _, target = random_maps(loss, "sigmoid")
    best = loss(target, target)
    assert best < 0
    for other in (1 - target, torch.zeros_like(target), torch.full_like(target, 0.5)):
        assert loss(other, target) > best
