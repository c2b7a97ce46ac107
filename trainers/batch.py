"""A batch as a training step sees it: images, and labels under the labeling in force, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.data.prepared.read import PreparedData
from trainers.patches import Corner, box_at


@dataclass
class Batch:
    """One batch, to be changed in place.

    images: (batch, channel, *space) float32; labels: the full ones (batch, class, *space) uint8; hidden: maps
    that the labeling empties (batch, class) bool; distances: signed distances of the full labels [mm], or None
    where no loss asks for them; spacing: sides of each case's voxels (batch, axis) [mm].
    """

    images: Tensor
    labels: Tensor
    hidden: Tensor
    distances: Tensor | None
    spacing: NDArray[np.float64]

    def target(self) -> Tensor:
        """Labels under the labeling in force (batch, class, *space) float32: hidden maps are empty."""
        return (self.labels * self._shown()).float()

    def target_distances(self) -> Tensor | None:
        """Signed distances of ``target``: an empty map has no boundary, so its distances are 0 and push nothing."""
        return None if self.distances is None else self.distances * self._shown()

    def has_foreground(self) -> Tensor:
        """Whether any map that is shown has a voxel: one bool on the device."""
        # Of bytes torch makes bytes: any() of them is no bool yet.
        return (self.labels.flatten(2).any(dim=2).bool() & ~self.hidden).any()

    def flip(self, rng: np.random.Generator, axes: Sequence[int]) -> None:
        """Mirror every case along each of these axes of space with probability ½."""
        arrays = [array for array in (self.images, self.labels, self.distances) if array is not None]
        for index, flips in enumerate(rng.random((len(self.images), len(axes))) < 0.5):
            mirrored = [1 + axis for axis, flip in zip(axes, flips, strict=True) if flip]
            if mirrored:
                for array in arrays:
                    array[index] = array[index].flip(mirrored)

    def _shown(self) -> Tensor:
        return (~self.hidden).reshape(*self.hidden.shape, *[1] * (self.labels.ndim - 2))


class BatchSource:
    """Prepared cases as batches on a device.

    distances: whether the loss needs them; keep: hold the arrays on the device once read, instead of mapping them
    from the storage and copying each batch.
    """

    def __init__(
        self, data: PreparedData, hidden: NDArray[np.bool_], device: torch.device, distances: bool, keep: bool = False
    ) -> None:
        self.data, self.hidden, self.device = data, hidden, device
        self._distances = data.distances if distances else None
        self._kept: dict[tuple[int, int], Tensor] | None = {} if keep else None

    def batch(self, chosen: Sequence[int], corners: Sequence[Corner] | None = None) -> Batch:
        """The chosen cases, cut to the data's patch at ``corners`` (whole without)."""
        return Batch(
            self._stack(0, self.data.images, chosen, corners),
            self._stack(1, self.data.labels, chosen, corners),
            torch.from_numpy(self.hidden[list(chosen)]).to(self.device),
            None if self._distances is None else self._stack(2, self._distances, chosen, corners),
            self.data.spacing[list(chosen)],
        )

    def _stack(
        self, kind: int, arrays: Sequence[NDArray[np.generic]], chosen: Sequence[int], corners: Sequence[Corner] | None
    ) -> Tensor:
        boxes: list[Any] = [...] * len(chosen)
        if corners is not None:
            boxes = [(slice(None), *box_at(corner, self.data.patch)) for corner in corners]
        if self._kept is None:
            # Copied out of the map, which is read-only and shared.
            stacked = np.stack([arrays[index][box] for index, box in zip(chosen, boxes, strict=True)])
            return torch.from_numpy(stacked).to(self.device)
        for index in chosen:
            if (kind, index) not in self._kept:
                self._kept[kind, index] = torch.from_numpy(np.array(arrays[index])).to(self.device)
        return torch.stack([self._kept[kind, index][box] for index, box in zip(chosen, boxes, strict=True)])
