"""What Dice, boundary and Hausdorff losses see of one mismatch: the same voxels, weighted in three ways.

All three sum over the voxels where ground truth G and segmentation S differ (Ma 2020, section 4.3). Dice gives
each the weight 1/(|G|+|S|), the boundary loss its distance from G's boundary, the Hausdorff loss the squares of
its distances from both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.plots import BLACK, BLUE

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


def draw_loss_weights(figure: Figure, weights: MismatchWeights, *, aspect: float = 1.0, unit: str = "voxels") -> None:
    """Draw three panels of one slice: the weights of either loss, with G's outline solid and S's dashed.

    The arrays are (row, column); aspect: height of a voxel over its width; unit: of the distances.
    """
    panels = (
        ("Dice: 1/(|G|+|S|)", weights.dice, "1/voxel"),
        ("boundary: distance from G", weights.boundary, unit),
        ("Hausdorff: both distances, squared", weights.hausdorff, f"{unit}²"),
    )
    for axes, (title, values, measure) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        image = axes.imshow(np.ma.masked_invalid(values), cmap="YlOrRd", vmin=0, aspect=aspect, interpolation="nearest")
        for mask, colour, dash in ((weights.label, BLUE, "-"), (weights.segmentation, BLACK, "--")):
            if mask.any() and not mask.all():
                axes.contour(mask.astype(float), [0.5], colors=colour, linestyles=dash, linewidths=1.5)
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.85, pad=0.03)
        bar.ax.ticklabel_format(scilimits=(-3, 4), useMathText=True)
        bar.set_label(f"weight [{measure}]", fontsize=9)
    first = figure.axes[0]
    lines = [
        *first.plot([], [], "-", color=BLUE, label="ground truth G"),
        *first.plot([], [], "--", color=BLACK, label="segmentation S"),
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=2, frameon=False)
