"""Volumes brought to one spacing and one shape: images linearly, labels through signed distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TRUNCATION = 1.5
"""Signed distances of labels end at so many of the source's finest voxel sides."""

Spacing = tuple[float, float, float]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class PatchGrid:
    """A patch of voxels laid over a source volume, its axes parallel to the source's.

    source: shape of the source volume; shape: of the patch; step: a patch voxel's sides [source
    voxels]; centre: the patch's middle [source voxels, 0 at the middle of the first].
    """

    source: Shape
    shape: Shape
    step: Spacing
    centre: Spacing

    @property
    def origin(self) -> NDArray[np.float64]:
        """Where the patch's first voxel lies [source voxels]."""
        origin = np.asarray(self.centre) - (np.asarray(self.shape) - 1) / 2 * self.step
        # Where the spacing stays, by at most half a voxel onto the source's: copied instead of blurred.
        return np.where(np.isclose(self.step, 1, atol=0.01), np.rint(origin), origin)

    def in_view(self) -> NDArray[np.bool_]:
        """Patch voxels whose middle lies inside the source's outermost voxels, shape (*shape)."""
        inside = np.ones(self.shape, dtype=np.bool_)
        for axis, (start, step, side, count) in enumerate(
            zip(self.origin, self.step, self.source, self.shape, strict=True)
        ):
            place = start + np.arange(count) * step
            within = (place >= -0.5) & (place <= side - 0.5)
            inside &= within.reshape([-1 if other == axis else 1 for other in range(3)])
        return inside

    def sample(self, volume: NDArray[np.float32], corner: Sequence[int] = (0, 0, 0)) -> NDArray[np.float32]:
        """Interpolate linearly; outside the volume, its nearest voxel. ``corner``: where in the source it starts."""
        # Interpolation by a full matrix: scipy warns of a diagonal one, whose meaning it once changed.
        sampled = ndimage.affine_transform(
            volume, np.diag(self.step), self.origin - corner, self.shape, order=1, mode="nearest"
        )
        return np.asarray(sampled, dtype=np.float32)


def resample_image(image: NDArray[np.float32], grid: PatchGrid, fill: float) -> NDArray[np.float32]:
    """Image (*source) on the grid, ``fill`` beyond the source's field of view; shape (*grid.shape)."""
    sampled = grid.sample(image)
    sampled[~grid.in_view()] = fill
    return sampled


def resample_labels(
    label: NDArray[np.integer], values: Sequence[int], spacing: Spacing, grid: PatchGrid
) -> NDArray[np.uint8]:
    """One binary map for each of ``values`` on the grid, shape (len(values), *grid.shape).

    label: (*source), 0 the background; spacing: of the source [mm]. Each voxel goes to the value, the
    background among them, whose border it lies deepest within, by linearly interpolated signed
    distances: contours stay smooth, and values that touch leave no gap and never overlap.

    The distances are truncated. Between thick slices, a wall's small depth would else meet a large distance
    to it and lose: untruncated, 4 % of ACDC's right ventricles are lost so, and up to 27 % of one.
    One and a half voxel sides leave contours within a slice, and isotropic volumes, nearly as they are.
    """
    maps = np.zeros((len(values), *grid.shape), dtype=np.uint8)
    box = _bounding_box(label > 0, margin=2)
    if box is None:
        return maps
    # Only near the label does the background not win anyway; distances over the whole volume cost ten times more.
    near, corner = label[box], [side.start for side in box]
    limit = TRUNCATION * min(spacing)
    distances = (np.clip(signed_distance(near == value, spacing), -limit, limit) for value in (0, *values))
    depths = np.stack([grid.sample(distance, corner) for distance in distances])
    deepest = depths.argmax(axis=0)
    deepest[~grid.in_view()] = 0
    for index in range(len(values)):
        maps[index] = deepest == index + 1
    return maps


def signed_distance(mask: NDArray[np.bool_], spacing: Spacing) -> NDArray[np.float32]:
    """Distance to the mask's border [mm], positive inside: to the nearest voxel on the other side."""
    if mask.all() or not mask.any():
        # No border to measure to: farther than anything that has one.
        far = float(np.linalg.norm(np.multiply(mask.shape, spacing)))
        return np.full(mask.shape, far if mask.any() else -far, dtype=np.float32)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    return np.asarray(inside - outside, dtype=np.float32)


def label_centre(label: NDArray[np.integer]) -> Spacing | None:
    """Middle of the bounding box of everything but background [voxels]; None where there is nothing."""
    box = _bounding_box(label > 0, margin=0)
    if box is None:
        return None
    x, y, z = ((side.start + side.stop - 1) / 2 for side in box)
    return x, y, z


def volume_centre(shape: Shape) -> Spacing:
    """Middle of a volume [voxels]."""
    x, y, z = ((side - 1) / 2 for side in shape)
    return x, y, z


def _bounding_box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, ...] | None:
    """Smallest box round the mask, widened by ``margin`` voxels within the volume; None if it is empty."""
    if not mask.any():
        return None
    box = []
    for axis, side in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + 1 + margin, side)))
    return tuple(box)
