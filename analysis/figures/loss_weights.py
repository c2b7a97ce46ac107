"""How three losses weight a mismatch, drawn."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.style import BLACK, BLUE
from analysis.theory.loss_weights import MismatchWeights


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
