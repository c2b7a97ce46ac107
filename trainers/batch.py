"""A batch as a training step sees it: images, and labels under the labeling in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.data.prepared import PreparedData


@dataclass
class Batch:
    """One batch, to be changed in place.

    images: (batch, channel, *space); labels: (batch, class, *space), the hidden ones empty; hidden:
    (batch, class); distances: signed distances of these labels [mm], or None where no loss asks for them.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    hidden: NDArray[np.bool_]
    distances: NDArray[np.float32] | None

    @classmethod
    def of(
        cls, data: PreparedData, chosen: Sequence[int] | NDArray[np.int64], hidden: NDArray[np.bool_], distances: bool
    ) -> Batch:
        """Copy the chosen cases. hidden: (case of the whole data, class)."""
        batch = cls(data.images[chosen], data.labels[chosen], hidden[chosen], None)
        batch.labels[batch.hidden] = 0
        if distances and data.distances is not None:
            batch.distances = data.distances[chosen]
            # An empty map has no boundary: its distances are 0, and push nothing.
            batch.distances[batch.hidden] = 0
        return batch

    def flip(self, rng: np.random.Generator) -> None:
        """Mirror every case along each axis of space with probability ½."""
        axes = self.images.ndim - 2
        arrays = [array for array in (self.images, self.labels, self.distances) if array is not None]
        for index, flips in enumerate(rng.random((len(self.images), axes)) < 0.5):
            mirrored = tuple(1 + axis for axis in range(axes) if flips[axis])
            if mirrored:
                for array in arrays:
                    array[index] = np.flip(array[index], mirrored).copy()
