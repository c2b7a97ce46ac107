import numpy as np
import pytest

from trainers.data.resample import (
    PatchGrid,
    label_centre,
    resample_image,
    resample_labels,
    signed_distance,
    volume_centre,
)


def grid(source, shape, step=(1.0, 1.0, 1.0), centre=None) -> PatchGrid:
    return PatchGrid(source, shape, step, centre or volume_centre(source))


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


def test_signed_distance_is_positive_inside_and_in_millimetres() -> None:
    mask = np.zeros((7, 1, 1), dtype=bool)
    mask[2:5] = True
    assert signed_distance(mask, (2.0, 1.0, 1.0))[:, 0, 0].tolist() == [-4, -2, 2, 4, 2, -2, -4]


@pytest.mark.parametrize("value", [True, False])
def test_signed_distance_of_a_mask_without_border_is_finite_and_far(value: bool) -> None:
    distance = signed_distance(np.full((3, 4, 5), value), (1.0, 1.0, 10.0))
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
    maps = resample_labels(label, (1, 2), old, grid(label.shape, shape, step))
    assert maps.sum(axis=0).max() == 1
    for index, value in enumerate((1, 2)):
        before = (label == value).sum() * np.prod(old)
        assert maps[index].sum() * np.prod(new) == pytest.approx(before, rel=0.05)


def test_the_same_grid_copies_the_label_and_beyond_the_frame_is_background() -> None:
    label = np.full((4, 4, 4), 2, dtype=np.uint8)
    maps = resample_labels(label, (1, 2), (1, 1, 1), grid((4, 4, 4), (6, 6, 6)))
    assert not maps[0].any()
    assert maps[1].sum() == 64
    assert maps[1, 1:5, 1:5, 1:5].all()


def test_an_empty_label_stays_empty_and_has_no_centre() -> None:
    label = np.zeros((4, 4, 4), dtype=np.uint8)
    assert not resample_labels(label, (1, 2), (1, 1, 1), grid((4, 4, 4), (4, 4, 4))).any()
    assert label_centre(label) is None


def test_label_centre_is_the_middle_of_the_box() -> None:
    label = np.zeros((10, 10, 10), dtype=np.uint8)
    label[2, 3, 4], label[5, 3, 8] = 1, 3
    assert label_centre(label) == (3.5, 3.0, 6.0)
