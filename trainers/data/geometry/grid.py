"""A patch of voxels laid over a source volume: sampling it there, and laying it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Shape = tuple[int, ...]
Spacing = tuple[float, ...]
Box = tuple[slice, ...]


@dataclass(frozen=True)
class PatchGrid:
    """A patch of voxels laid over a source volume, its axes parallel to the source's, in two or three dimensions.

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
        return np.where(self._unscaled(), np.rint(origin), origin)

    def in_view(self) -> NDArray[np.bool_]:
        """Patch voxels whose middle lies inside the source's outermost voxels, shape (*shape)."""
        inside = np.ones(self.shape, dtype=np.bool_)
        for axis, (start, step, side, count) in enumerate(
            zip(self.origin, self.step, self.source, self.shape, strict=True)
        ):
            place = start + np.arange(count) * step
            within = (place >= -0.5) & (place <= side - 0.5)
            inside &= within.reshape([-1 if other == axis else 1 for other in range(len(self.shape))])
        return inside

    def sample(
        self, volume: NDArray[np.float32], corner: Sequence[int] | None = None, nearest: bool = False
    ) -> NDArray[np.float32]:
        """Interpolate linearly, or take the nearest voxel; outside the volume, its outermost.

        corner: where in the source ``volume`` starts; default: it is the source.
        """
        start = self.origin if corner is None else self.origin - corner
        # Interpolation by a full matrix: scipy warns of a diagonal one, whose meaning it once changed.
        sampled = ndimage.affine_transform(
            volume, np.diag(self.step), start, self.shape, order=0 if nearest else 1, mode="nearest"
        )
        return np.asarray(sampled, dtype=np.float32)

    def restore(self, values: NDArray[np.float32]) -> tuple[Box, NDArray[np.float32]]:
        """Lay maps on the patch (map, *shape) back over the source, by linear interpolation.

        Returns: the box of source voxels whose middle lies inside the patch, and the maps there (map, *box).
        """
        box = []
        for axis, (start, step, side, count) in enumerate(
            zip(self.origin, self.step, self.source, self.shape, strict=True)
        ):
            place = (np.arange(side) - start) / step
            # A source voxel's middle may lie on the patch's border; rounding must not push it over.
            covered = np.flatnonzero((place >= -0.5 - 1e-6) & (place <= count - 0.5 + 1e-6))
            if not covered.size:
                return tuple(slice(0, 0) for _ in self.source), np.zeros((len(values), *[0] * len(self.source)), "f4")
            box.append(slice(int(covered[0]), int(covered[-1]) + 1))
            values = _interpolate(values, np.clip(place[box[-1]], 0, count - 1), axis + 1)
        return tuple(box), values

    def _unscaled(self) -> NDArray[np.bool_]:
        return np.isclose(self.step, 1, atol=0.01)


def _interpolate(values: NDArray[np.float32], places: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Values at fractional places along one axis."""
    low = np.floor(places).astype(np.int64)
    share = (places - low).astype(np.float32)
    if not share.any():
        return values.take(low, axis)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = share.reshape([-1 if other == axis else 1 for other in range(values.ndim)])
    result: NDArray[np.float32] = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return result


def middle(shape: Shape) -> Spacing:
    """Middle of a volume [voxels]."""
    return tuple((side - 1) / 2 for side in shape)


def box_middle(box: Box) -> Spacing:
    """Middle of a box of voxels [voxels]."""
    return tuple((side.start + side.stop - 1) / 2 for side in box)


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> Box | None:
    """Smallest box round the mask, widened by ``margin`` voxels within the volume; None if it is empty."""
    if not mask.any():
        return None
    box = []
    for axis, side in enumerate(mask.shape):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + 1 + margin, side)))
    return tuple(box)
