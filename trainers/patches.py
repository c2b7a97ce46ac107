"""Patches of cases that are kept larger: where one is cut, and how much of a class it holds on average.

numpy only: a study resolves v̂ before any training by the same functions that the training uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainers.data.geometry.grid import Box, Shape, bounding_box, box_middle
from trainers.spec import PatchSpec

Corner = tuple[int, ...]


class PatchSampler:
    """Where the patches of one case are cut. What it takes to know of the label is found once.

    label: (class, *space) of the full label; hidden: (class,) maps that the labeling empties. ``at: label``
    centres on the box of the full label, hidden or not, as the paper does. ``at: random`` sees no hidden map:
    with chance ``foreground`` it centres on a voxel of the others, else it goes anywhere.
    """

    def __init__(self, label: NDArray[np.uint8], hidden: NDArray[np.bool_], patch: Shape, where: PatchSpec) -> None:
        self.label, self.hidden, self.patch, self.where = label, hidden, patch, where

    def draw(self, rng: np.random.Generator) -> Corner:
        """First voxel of a patch."""
        if self.where.at == "label":
            return self._of_label
        space = self.label.shape[1:]
        aimed, place = rng.random() < self.where.foreground, rng.random(len(space))
        if aimed and self._counted[-1]:
            return _clamp(self._foreground_voxel(int(place[0] * self._counted[-1])), space, self.patch)
        return tuple(
            int(share * (side - width + 1)) for share, side, width in zip(place, space, self.patch, strict=True)
        )

    @cached_property
    def _of_label(self) -> Corner:
        return label_corner(self.label, self.patch)

    @cached_property
    def _counted(self) -> NDArray[np.int64]:
        """Foreground voxels up to the end of each slice across the first axis: all of them would take too much."""
        return np.cumsum([_foreground(part, self.hidden).sum() for part in np.moveaxis(self.label, 1, 0)])

    def _foreground_voxel(self, rank: int) -> list[int]:
        """The foreground voxel with so many before it."""
        first = int(np.searchsorted(self._counted, rank, side="right"))
        here = _foreground(self.label[:, first], self.hidden)
        before = int(self._counted[first - 1]) if first else 0
        return [first, *map(int, np.unravel_index(np.flatnonzero(here)[rank - before], here.shape))]


def label_corner(label: NDArray[np.uint8], patch: Shape) -> Corner:
    """First voxel of the patch about the middle of the label's box, or of the case where the label is empty."""
    box = bounding_box(np.asarray(label.any(axis=0)))
    centre = [side / 2 for side in label.shape[1:]] if box is None else [axis + 0.5 for axis in box_middle(box)]
    return _clamp([int(axis) for axis in centre], label.shape[1:], patch)


def box_at(corner: Corner, patch: Shape) -> Box:
    """Voxels of the patch."""
    return tuple(slice(start, start + side) for start, side in zip(corner, patch, strict=True))


def mean_volumes(
    label: NDArray[np.uint8], hidden: NDArray[np.bool_], patch: Shape, where: PatchSpec
) -> NDArray[np.float64]:
    """Expected volume of each class (class,) in a patch drawn as ``PatchSampler`` does [voxels], exactly.

    label, hidden: as there; a hidden map's volume is that of its full label.
    """
    if where.at == "label":
        part = label[(slice(None), *box_at(label_corner(label, patch), patch))]
        return np.asarray(part.sum(axis=tuple(range(1, label.ndim))), dtype=np.float64)
    anywhere = _uniform_volumes(label, patch)
    seen = np.argwhere(_foreground(label, hidden))
    if not len(seen):
        return anywhere
    aimed = _volumes_about(label, seen, patch)
    return where.foreground * aimed + (1 - where.foreground) * anywhere


def _foreground(label: NDArray[np.uint8], hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(label[~hidden].any(axis=0))


def _clamp(centre: Sequence[int], space: Shape, patch: Shape) -> Corner:
    return tuple(
        min(max(middle - side // 2, 0), length - side)
        for middle, side, length in zip(centre, patch, space, strict=True)
    )


def _uniform_volumes(label: NDArray[np.uint8], patch: Shape) -> NDArray[np.float64]:
    """Mean over all corners: each voxel counts with the share of corners whose patch holds it."""
    weighted = label.astype(np.float64)
    for axis, (length, side) in enumerate(zip(label.shape[1:], patch, strict=True)):
        place = np.arange(length)
        corners = length - side + 1
        held = np.minimum(place, corners - 1) - np.maximum(place - side + 1, 0) + 1
        weighted *= (held / corners).reshape([-1 if other == axis else 1 for other in range(len(patch))])
    return np.asarray(weighted.sum(axis=tuple(range(1, label.ndim))))


def _volumes_about(label: NDArray[np.uint8], centres: NDArray[np.int64], patch: Shape) -> NDArray[np.float64]:
    """Mean over the patches about the centres (centre, axis), by sums from the first voxel to every other."""
    space = label.shape[1:]
    sums = np.zeros((len(label), *(side + 1 for side in space)), dtype=np.int64)
    sums[(slice(None), *(slice(1, None) for _ in space))] = label
    for axis in range(1, label.ndim):
        np.cumsum(sums, axis=axis, out=sums)
    low = np.clip(centres - np.array(patch) // 2, 0, np.array(space) - np.array(patch))
    total = np.zeros(len(label))
    # Inclusion and exclusion over the corners of each box.
    for choice in np.ndindex(*(2 for _ in space)):
        corner = np.where(np.array(choice) == 1, low + np.array(patch), low)
        sign = (-1) ** (len(space) - sum(choice))
        total += sign * sums[(slice(None), *corner.T)].sum(axis=1)
    return total / len(centres)
