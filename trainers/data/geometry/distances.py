"""Distance maps of a label, with the voxel spacing respected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trainers.errors import Fault, InputError


def signed_distance(label: NDArray[Any], spacing: Sequence[float] | None = None) -> NDArray[np.float32]:
    """Signed Euclidean distance of every voxel to the other side of the boundary, negative inside.

    label: (class, *space), inside where above ½; spacing: voxel size per axis of space, default 1.
    A map that is empty or full has no boundary and gives 0 everywhere, so that it pushes nothing.

    Returns: the label's shape, float32 [unit of the spacing]; at a boundary ±1 voxel, never 0.
    Raises: InputError if the spacing does not fit the label.
    """
    if spacing is not None and len(spacing) != label.ndim - 1:
        raise InputError(
            Fault("spacing", f"{len(spacing)} numbers for {label.ndim - 1} axes of space", "give one per axis")
        )
    distances = np.zeros(label.shape, dtype=np.float32)
    for one, inside in zip(distances, label > 0.5, strict=True):
        if inside.any() and not inside.all():
            outward = ndimage.distance_transform_edt(~inside, sampling=spacing)
            one[...] = outward - ndimage.distance_transform_edt(inside, sampling=spacing)
    return distances
