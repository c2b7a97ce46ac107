"""Contours of label and prediction on a slice."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from analysis.figures.style import BLACK, CYCLE, DASHES, _legend_below


def draw_contours(
    axes: Axes,
    image: npt.ArrayLike,
    truth: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
    *,
    aspect: float = 1.0,
    legend: bool = True,
) -> None:
    """Draw a slice in grey with the outlines of its label, black on white, and of each prediction, dashed.

    ``image``: (row, column); ``truth``, ``predictions``: 0/1, the same shape, predictions by name; ``aspect``: height
    of a pixel over its width.
    """
    axes.imshow(np.asarray(image), cmap="gray", interpolation="nearest", aspect=aspect)
    axes.set_axis_off()
    label = np.asarray(truth, dtype=float)
    if 0 < label.mean() < 1:
        axes.contour(label, [0.5], colors="white", linewidths=3)
        axes.contour(label, [0.5], colors=BLACK, linewidths=1.4)
    axes.plot([], [], color=BLACK, label="full label" if label.any() else "full label (empty)")
    for (name, drawn), colour, dash in zip(
        predictions.items(), itertools.cycle(CYCLE[1:]), itertools.cycle(DASHES[1:])
    ):
        found = np.asarray(drawn, dtype=float)
        if 0 < found.mean() < 1:
            axes.contour(found, [0.5], colors=colour, linewidths=1.8, linestyles=dash)
        axes.plot([], [], dash, color=colour, label=name if found.any() else f"{name} (empty)")
    if legend:
        _legend_below(axes, columns=1)
