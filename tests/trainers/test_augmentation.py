import math

import numpy as np
import pytest
import torch

from trainers.augmentation import augment, sampling_grid
from trainers.augmentation_spec import RECIPES, AugmentSpec
from trainers.batch import Batch

SHAPES = [(20, 18), (20, 18, 12)]


def batch_of(shape, distances=False) -> Batch:
    """Two cases of a smooth image, whose label is where it is bright."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in shape], indexing="ij")
    image = torch.exp(-4 * sum((axis - shift) ** 2 for axis, shift in zip(axes, (0.2, -0.3, 0.1), strict=False)))
    images = image.expand(2, 1, *shape).clone()
    labels = (images > 0.5).to(torch.uint8)
    return Batch(
        images,
        labels,
        torch.zeros(2, 1, dtype=torch.bool),
        0.5 - images if distances else None,
        np.ones((2, len(shape))),
    )


def changed(shape, seed=0, spacing=None, **parts) -> Batch:
    batch = batch_of(shape, distances=True)
    augment(batch, AugmentSpec(**parts), spacing or [1.0] * len(shape), np.random.default_rng(seed))
    return batch


@pytest.mark.parametrize("shape", SHAPES)
def test_none_changes_nothing_and_draws_nothing(shape):
    batch, rng = batch_of(shape), np.random.default_rng(0)
    augment(batch, AugmentSpec(), [1.0] * len(shape), rng)
    assert torch.equal(batch.images, batch_of(shape).images)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "parts", [{"rotate": 0.5}, {"scale": 0.2}, {"translate": (2.0, 2.0, 1.0)}, {"elastic": 1.0}, {"flip": "all"}]
)
def test_labels_and_distances_move_with_the_image(shape, parts):
    if "translate" in parts:
        parts = {"translate": parts["translate"][: len(shape)]}
    batch = changed(shape, **parts)
    assert not torch.equal(batch.images, batch_of(shape).images)
    assert set(batch.labels.unique().tolist()) <= {0, 1}
    # What is bright is still what is labelled, but for voxels at the border.
    agree = ((batch.images > 0.5) == batch.labels.bool()).float().mean()
    assert agree > 0.97
    assert ((batch.distances < 0) == (batch.images > 0.5)).float().mean() > 0.97


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_gives_the_same_bits_and_cases_differ(shape):
    recipe = {**RECIPES["brats"], "noise": 0.1, "translate": (6.0, 6.0, 4.0)[: len(shape)]}
    first, again, other = (changed(shape, seed, **recipe).images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_a_quarter_turn_is_a_quarter_turn_in_millimetres():
    """Of voxels of 1×2 mm, what lies 4 mm along one axis comes to lie 4 mm along the other."""
    spec = AugmentSpec(rotate=1.0)

    class Quarter:
        def standard_normal(self, size):
            return np.full(size, math.pi / 2)

    grid = sampling_grid(spec, 1, (16, 8), (1.0, 2.0), Quarter())
    image = torch.zeros(1, 1, 16, 8)
    image[0, 0, 12, 4] = 1.0  # 4.5 voxels of 1 mm off the middle along the first, ½ of 2 mm along the second
    turned = torch.nn.functional.grid_sample(image, grid, "nearest", align_corners=False)
    ((_, _, row, column),) = turned.nonzero()[:1].tolist()
    found = ((row - 7.5) * 1.0, (column - 3.5) * 2.0)
    assert math.hypot(*found) == pytest.approx(math.hypot(4.5, 1.0), abs=1.5)
    assert abs(found[1]) > abs(found[0])


def test_shifts_have_the_asked_spread_in_voxels():
    shape, rng = (32, 32, 16), np.random.default_rng(0)
    grid = sampling_grid(AugmentSpec(translate=(3.0, 2.0, 1.0)), 4000, shape, (1, 1, 1), rng)[:, 0, 0, 0]
    still = sampling_grid(AugmentSpec(), 1, shape, (1, 1, 1), rng)[0, 0, 0, 0]
    voxels = (grid - still).flip(-1) * torch.tensor(shape) / 2
    assert voxels.std(dim=0).tolist() == pytest.approx([3, 2, 1], rel=0.05)


def test_brightness_changes_by_channel_and_noise_by_voxel():
    labels, hidden = torch.zeros(400, 1, 4, 4, dtype=torch.uint8), torch.zeros(400, 1, dtype=torch.bool)
    flat = Batch(torch.ones(400, 2, 4, 4), labels, hidden, None, np.ones((400, 2)))
    augment(flat, AugmentSpec(intensity_scale=0.05, intensity_shift=0.1), [1, 1], np.random.default_rng(0))
    assert flat.images.flatten(2).std(dim=2).max() < 1e-6
    assert flat.images[..., 0, 0].std() == pytest.approx(math.hypot(0.05, 0.1), rel=0.1)
    noisy = Batch(torch.zeros(100, 1, 8, 8), labels[:100], hidden[:100], None, np.ones((100, 2)))
    augment(noisy, AugmentSpec(noise=0.1), [1, 1], np.random.default_rng(0))
    assert noisy.images.std() == pytest.approx(0.1, rel=0.1)


def test_recipes_are_read_by_name_and_shown_by_it():
    for name in RECIPES:
        spec = AugmentSpec.model_validate(AugmentSpec.parse(name))
        assert str(spec) == name
        assert AugmentSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValueError, match="unknown augmentation 'flipp', known: none, flip, brats, acdc"):
        AugmentSpec.parse("flipp")
