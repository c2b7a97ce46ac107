"""The transition over two factors, as a map of coloured cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from analysis.figures.style import PANELS, shade
from analysis.figures.transition import _draw_row
from analysis.formatting import SIGNS
from analysis.formatting import figure as number_text
from analysis.results.planes import EpsAxis, in_order, spans_of

NUMBER_DECADES = 0.4
"""Width of a heat map's cell, in decades as drawn, from which its number lies across."""


LEAST_CELL = 0.02
"""Of an axis's length: narrower cells of a heat map are drawn without their number."""


LEAST_APART = 0.045
"""Of an axis's length, between the marks of a heat map."""


def draw_plane(axes: Axes, plane: Mapping[str, Any], name: str) -> None:
    """Draw one heat map of a plane, ``name`` of ``PANELS``: cells with their values, v̂, the roots, the boundary.

    Per row of a plane of ε: the crossing with its interval as a band, v̂ dashed, the roots of eq. 5 dotted.
    """
    values = [row["value"] for row in plane["rows"]]
    title, note = next((title, note) for panel, title, note in PANELS if panel == name)
    axes.set_title(f"{title}\n{note}", fontsize=9)
    spans = spans_of(plane)
    legible = LEAST_CELL * (max(right for _, right in spans) - min(left for left, _ in spans))
    bottoms = [values.index(cell["y"]) - 0.5 for cell in plane["cells"]]
    fills, inks = zip(*(shade(cell[name], name) for cell in plane["cells"]), strict=True)
    # One artist for all: a search leaves thousands of cells.
    axes.add_collection(
        PatchCollection(
            [Rectangle((left, low), right - left, 1) for (left, right), low in zip(spans, bottoms, strict=True)],
            facecolor=fills,
            edgecolor="white",
            linewidth=[0.6 if right - left >= legible else 0 for left, right in spans],
        )
    )
    for cell, (left, right), bottom, ink in zip(plane["cells"], spans, bottoms, inks, strict=True):
        if cell[name] is not None and right - left >= legible:
            # Upright where the cell is too narrow for a line.
            turned = 90 if right - left < NUMBER_DECADES else 0
            style: dict[str, Any] = {"color": ink, "ha": "center", "va": "center", "fontsize": 7, "rotation": turned}
            axes.text((left + right) / 2, bottom + 0.5, f"{cell[name]:.2f}", **style)
    if plane["x"] == "eps":
        axis = EpsAxis(cell["x"] for cell in plane["cells"])
        for number, row in enumerate(plane["rows"]):
            _draw_row(axes, axis, row, number)
        marks = _apart(axis.places, [number_text(10**value) for value in axis.log10_eps])
        axes.set_xticks([place for place, _ in marks], [text for _, text in marks], fontsize=7, rotation=60)
        axes.set_xlabel("ε [voxels], wide gaps cut" if axis.cut else "ε [voxels]")
    else:
        columns = in_order(cell["x"] for cell in plane["cells"])
        axes.set_xticks([number + 0.5 for number in range(len(columns))], [str(value) for value in columns])
        axes.set_xlabel(SIGNS.get(plane["x"], plane["x"]))
    axes.set_yticks(range(len(values)), [str(value) for value in values])
    axes.set_ylabel(SIGNS.get(plane["y"], plane["y"]))
    axes.autoscale_view()


def _apart(places: npt.NDArray[np.float64], texts: Sequence[str]) -> list[tuple[float, str]]:
    """Those marks of an axis that leave room for each other's text: rows can have an ε each of their own."""
    least = (max(places) - min(places)) * LEAST_APART
    kept: list[tuple[float, str]] = []
    for place, text in sorted(zip(places, texts, strict=True)):
        if not kept or place - kept[-1][0] >= least:
            kept.append((place, text))
    return kept
