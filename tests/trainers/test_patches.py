import numpy as np
import pytest

from trainers.patches import PatchSampler, box_at, label_corner, mean_volumes
from trainers.spec import PatchSpec

PATCH = (6, 5, 4)


@pytest.fixture
def label() -> np.ndarray:
    """Two classes in 12×11×9 voxels: a block near a corner, a thin plate elsewhere."""
    label = np.zeros((2, 12, 11, 9), np.uint8)
    label[0, 1:4, 1:5, 0:3] = 1
    label[1, 7:12, 6:8, 5] = 1
    return label


@pytest.mark.parametrize("hidden", [[False, False], [True, False], [True, True]])
@pytest.mark.parametrize("where", [PatchSpec(foreground=0), PatchSpec(foreground=0.4), PatchSpec(at="label")])
def test_the_mean_volume_is_that_of_many_draws(label, hidden, where) -> None:
    hidden, rng = np.array(hidden), np.random.default_rng(0)
    corners = PatchSampler(label, hidden, PATCH, where)
    draws = [label[(slice(None), *box_at(corners.draw(rng), PATCH))].sum(axis=(1, 2, 3)) for _ in range(4000)]
    error = np.std(draws, axis=0) / np.sqrt(len(draws)) + 1e-9
    assert np.all(np.abs(np.mean(draws, axis=0) - mean_volumes(label, hidden, PATCH, where)) < 4 * error)


def test_patches_lie_within_the_volume(label) -> None:
    rng, corners = np.random.default_rng(0), PatchSampler(label, np.zeros(2, bool), PATCH, PatchSpec(foreground=0.5))
    for _ in range(500):
        corner = corners.draw(rng)
        assert all(0 <= start <= side - width for start, side, width in zip(corner, (12, 11, 9), PATCH, strict=True))


def test_a_hidden_map_draws_no_patch(label) -> None:
    """Other voxels in a hidden map leave every patch where it was."""
    other = label.copy()
    other[0] = 1 - other[0]
    hidden = np.array([True, False])
    where = PatchSpec(foreground=1.0)
    for seed in range(50):
        corners = [PatchSampler(one, hidden, PATCH, where).draw(np.random.default_rng(seed)) for one in (label, other)]
        assert corners[0] == corners[1]


def test_every_foreground_voxel_is_a_centre_as_often_as_any_other(label) -> None:
    """Patches of one voxel are their own centres: aimed ones lie on the foreground, and in the end on all of it."""
    corners = PatchSampler(label, np.zeros(2, bool), (1, 1, 1), PatchSpec(foreground=1.0))
    rng = np.random.default_rng(0)
    drawn = np.zeros(label.shape[1:])
    for _ in range(6000):
        drawn[corners.draw(rng)] += 1
    seen = label.any(axis=0)
    assert not drawn[~seen].any()
    assert drawn[seen].min() > 0.5 * 6000 / seen.sum()


def test_a_patch_at_the_label_holds_its_middle(label) -> None:
    label[1] = 0
    corner = label_corner(label, PATCH)
    # The block's middle is voxel (2, 2.5, 1): as near as a patch within the volume can be.
    assert corner == (0, 1, 0)
    assert label_corner(np.zeros_like(label), PATCH) == (3, 3, 2)


def test_where_a_patch_is_the_whole_case_its_volume_is_the_label(label) -> None:
    for where in (PatchSpec(), PatchSpec(at="label")):
        found = mean_volumes(label, np.zeros(2, bool), label.shape[1:], where)
        assert found == pytest.approx(label.sum(axis=(1, 2, 3)))
