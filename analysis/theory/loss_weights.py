"""What Dice, boundary and Hausdorff losses see of one mismatch: the same voxels, weighted in three ways.

All three sum over the voxels where ground truth G and segmentation S differ (Ma 2020, section 4.3). Dice gives
each the weight 1/(|G|+|S|), the boundary loss its distance from G's boundary, the Hausdorff loss the squares of
its distances from both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MismatchWeights:
    """Weight of every voxel, nan where G and S agree; ``label`` and ``segmentation`` are the two masks.

    dice [1/voxel]; boundary [unit of the distances]; hausdorff [its square].
    """

    label: NDArray[np.bool_]
    segmentation: NDArray[np.bool_]
    dice: FloatArray
    boundary: FloatArray
    hausdorff: FloatArray


def mismatch_weights(
    label: NDArray[Any],
    segmentation: NDArray[Any],
    label_distance: NDArray[Any],
    segmentation_distance: NDArray[Any],
) -> MismatchWeights:
    """Weigh the mismatch of one map; all four of one shape.

    label, segmentation: inside where above ½; the distances are from their boundaries, signed or not.
    Raises: ValueError if the shapes differ.
    """
    shapes = {np.shape(one) for one in (label, segmentation, label_distance, segmentation_distance)}
    if len(shapes) > 1:
        raise ValueError(f"label, segmentation and their distances must have one shape, got {sorted(shapes)}")
    truth, found = np.asarray(label) > 0.5, np.asarray(segmentation) > 0.5
    from_truth = np.abs(np.asarray(label_distance, dtype=float))
    from_found = np.abs(np.asarray(segmentation_distance, dtype=float))
    mismatch = truth != found
    volume = max(int(truth.sum() + found.sum()), 1)
    return MismatchWeights(
        truth,
        found,
        np.where(mismatch, 1 / volume, np.nan),
        np.where(mismatch, from_truth, np.nan),
        np.where(mismatch, from_truth**2 + from_found**2, np.nan),
    )
