import numpy as np
import pytest

from trainers.data.geometry.grid import PatchGrid, bounding_box, box_middle, middle
from trainers.data.geometry.resample import depth, resample_image, resample_maps


def grid(source, shape, step=None, centre=None) -> PatchGrid:
    return PatchGrid(source, shape, step or (1.0,) * len(source), centre or middle(source))


def maps_of(label, values=(1, 2)) -> np.ndarray:
    return np.stack([label == value for value in values])


def test_the_same_grid_copies_the_image() -> None:
    image = np.random.default_rng(0).random((6, 5, 4)).astype(np.float32)
    assert np.array_equal(resample_image(image, grid(image.shape, image.shape), fill=0), image)


def test_a_crop_and_a_pad_at_the_same_spacing_copy_whole_voxels() -> None:
    image = np.arange(6 * 6 * 6, dtype=np.float32).reshape(6, 6, 6)
    patch = resample_image(image, grid((6, 6, 6), (4, 4, 8)), fill=-1)
    assert np.array_equal(patch[:, :, 1:7], image[1:5, 1:5])
    assert (patch[:, :, [0, 7]] == -1).all()


def test_a_linear_ramp_stays_one() -> None:
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32)[:, None, None], (10, 4, 4)).copy()
    patch = resample_image(ramp, grid((10, 4, 4), (18, 4, 4), (0.5, 1, 1)), fill=0)
    # The middle of 18 half voxels on the middle of 10: from 4.5 − 17/4 on.
    assert patch[:, 0, 0] == pytest.approx(0.25 + 0.5 * np.arange(18))


def test_a_label_centred_patch_of_even_side_is_not_blurred() -> None:
    image = np.random.default_rng(0).random((9, 9, 9)).astype(np.float32)
    patch = resample_image(image, grid((9, 9, 9), (4, 4, 4), centre=(4, 4, 4)), fill=0)
    assert np.isin(patch, image).all()


def test_depth_is_positive_inside_and_in_millimetres() -> None:
    mask = np.zeros((7, 1, 1), dtype=bool)
    mask[2:5] = True
    assert depth(mask, (2.0, 1.0, 1.0))[:, 0, 0].tolist() == [-4, -2, 2, 4, 2, -2, -4]


@pytest.mark.parametrize("value", [True, False])
def test_the_depth_of_a_mask_without_border_is_finite_and_far(value: bool) -> None:
    distance = depth(np.full((3, 4, 5), value), (1.0, 1.0, 10.0))
    assert np.isfinite(distance).all()
    assert (np.abs(distance) >= 50).all()
    assert (distance > 0).all() == value


def two_balls(shape=(30, 30, 10), spacing=(1.5, 1.5, 8.0)) -> np.ndarray:
    """A ball of 14 mm, label 1, in a shell to 20 mm, label 2."""
    axes = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * side for n, side in zip(shape, spacing, strict=True)], indexing="ij"
    )
    radius = np.sqrt(sum(axis**2 for axis in axes))
    return np.where(radius <= 14, 1, np.where(radius <= 20, 2, 0)).astype(np.uint8)


@pytest.mark.parametrize("new", [(1.0, 1.0, 2.0), (1.5, 1.5, 2.0), (2.0, 2.0, 8.0)])
def test_labels_keep_their_volume_and_leave_no_gap(new: tuple[float, float, float]) -> None:
    old, label = (1.5, 1.5, 8.0), two_balls()
    step = tuple(n / o for n, o in zip(new, old, strict=True))
    shape = tuple(int(np.ceil(side / s)) + 2 for side, s in zip(label.shape, step, strict=True))
    maps = resample_maps(maps_of(label), "signed_distance", old, grid(label.shape, shape, step), exclusive=True)
    assert maps.sum(axis=0).max() == 1
    for index, value in enumerate((1, 2)):
        before = (label == value).sum() * np.prod(old)
        assert maps[index].sum() * np.prod(new) == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("mode", ["signed_distance", "linear", "nearest"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_same_grid_copies_the_label_and_beyond_the_frame_is_background(mode, exclusive) -> None:
    label = np.full((4, 4, 4), 2, dtype=np.uint8)
    maps = resample_maps(maps_of(label), mode, (1, 1, 1), grid((4, 4, 4), (6, 6, 6)), exclusive)
    assert not maps[0].any()
    assert maps[1].sum() == 64
    assert maps[1, 1:5, 1:5, 1:5].all()


def test_an_empty_label_stays_empty_and_has_no_centre() -> None:
    label = np.zeros((4, 4, 4), dtype=np.uint8)
    maps = resample_maps(maps_of(label), "linear", (1, 1, 1), grid((4, 4, 4), (4, 4, 4)), exclusive=True)
    assert not maps.any()
    assert bounding_box(label > 0) is None


def test_label_centre_is_the_middle_of_the_box() -> None:
    label = np.zeros((10, 10, 10), dtype=np.uint8)
    label[2, 3, 4], label[5, 3, 8] = 1, 3
    assert box_middle(bounding_box(label > 0)) == (3.5, 3.0, 6.0)


def test_overlapping_maps_stay_overlapping() -> None:
    whole = two_balls() > 0
    maps = np.stack([whole, two_balls() == 1])
    step = (2.0, 2.0, 0.5)
    shape = tuple(int(np.ceil(side / s)) for side, s in zip(whole.shape, step, strict=True))
    found = resample_maps(maps, "linear", (1.5, 1.5, 8.0), grid(whole.shape, shape, step), exclusive=False)
    assert (found[0] >= found[1]).all()
    # A new voxel is 2 × 2 × ½ old ones.
    assert 2 * found[1].sum() == pytest.approx(maps[1].sum(), rel=0.1)


def test_linear_thresholds_at_a_half() -> None:
    line = np.array([0, 0, 1, 1, 1, 0], bool).reshape(1, 6, 1)
    found = resample_maps(line, "linear", (1, 1), grid((6, 1), (11, 1), (0.5, 1.0)), exclusive=False)
    # Half voxels from 0 to 5: above ½ strictly between 1.5 and 4.5.
    assert found[0, :, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]


def test_what_is_laid_back_on_the_same_grid_is_the_same() -> None:
    values = np.random.default_rng(0).random((2, 5, 6, 7)).astype(np.float32)
    box, found = grid((5, 6, 7), (5, 6, 7)).restore(values)
    assert box == (slice(0, 5), slice(0, 6), slice(0, 7))
    assert np.array_equal(found, values)


def test_what_is_laid_back_covers_the_patch_and_no_more() -> None:
    small = grid((20, 20), (4, 6), centre=(10, 10))
    box, found = small.restore(np.ones((1, 4, 6), np.float32))
    assert found.shape == (1, 4, 6)
    assert [side.start for side in box] == small.origin.tolist()
    assert [side.start for side in grid((20, 20), (40, 40)).restore(np.ones((1, 40, 40), np.float32))[0]] == [0, 0]


def test_a_patch_beside_the_volume_lays_back_nothing() -> None:
    box, found = grid((5, 5), (2, 2), centre=(50, 50)).restore(np.ones((1, 2, 2), np.float32))
    assert found.size == 0
    assert np.zeros((5, 5))[box].size == 0


def test_a_ramp_laid_back_is_the_ramp() -> None:
    fine = grid((10, 3), (19, 3), (0.5, 1.0))
    ramp = np.broadcast_to(fine.origin[0] + 0.5 * np.arange(19)[:, None], (1, 19, 3)).astype(np.float32)
    box, found = fine.restore(np.ascontiguousarray(ramp))
    assert found[0, :, 0] == pytest.approx(np.arange(10)[box[0]])


@pytest.mark.parametrize("mode", ["signed_distance", "linear"])
@pytest.mark.parametrize("new", [(1.0, 1.0, 2.0), (2.0, 2.0, 8.0)])
def test_a_label_resampled_and_laid_back_is_nearly_itself(mode, new) -> None:
    old, label = (1.5, 1.5, 8.0), maps_of(two_balls())
    step = tuple(n / o for n, o in zip(new, old, strict=True))
    shape = tuple(int(np.ceil(side / s)) + 2 for side, s in zip(label.shape[1:], step, strict=True))
    there = grid(label.shape[1:], shape, step)
    box, values = there.restore(resample_maps(label, mode, old, there, exclusive=True).astype(np.float32))
    back = np.zeros_like(label)
    back[(slice(None), *box)] = values > 0.5
    dsc = 2 * (back & label).sum(axis=(1, 2, 3)) / (back.sum(axis=(1, 2, 3)) + label.sum(axis=(1, 2, 3)))
    assert (dsc > 0.93).all()
