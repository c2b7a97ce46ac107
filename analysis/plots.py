"""Drawing on axes that are given: no statistics, no saving.

Colours after Okabe and Ito, which colour-blind readers can tell apart; marks and dashes differ as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator

from analysis.curve import Curve
from analysis.labels import SIGNS
from analysis.labels import figure as number_text
from analysis.learning import LearningCurve
from analysis.planes import EpsAxis, in_order, spans_of
from analysis.roc import RATES, RocCurve

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#6B6B6B"
# Yellow is too pale for a line on white; grey stands in for it.
CYCLE = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)
DASHES = ("-", "--", "-.", ":", "-", "--", "-.", ":")

_SERIES = (
    ("retention", "retention of the emptied group", BLUE, "o", "-"),
    ("dsc_labelled", "DSC, labelled group", GREEN, "s", "--"),
    ("dsc_emptied", "DSC, emptied group", ORANGE, "^", ":"),
)

PANELS = (
    ("retention", "Retention of the emptied group", "1 ignores the emptied maps, 0 learnt empty"),
    ("dsc_labelled", "DSC of the labelled group", "without collapsed trials"),
    ("collapse", "Share of trials that collapsed", "the labelled group is lost as well"),
)
"""The heat maps of a plane: the figure, its title, what it says."""
NUMBER_DECADES = 0.4
"""Width of a heat map's cell, in decades as drawn, from which its number lies across."""
LEAST_CELL = 0.02
"""Of an axis's length: narrower cells of a heat map are drawn without their number."""
LEAST_APART = 0.045
"""Of an axis's length, between the marks of a heat map."""

# Blue through grey to yellow after Nuñez et al. (cividis), and white to a dark red: even in lightness, so that they
# read the same without colour.
_CIVIDIS = ((0, 34, 78), (66, 78, 108), (124, 123, 120), (187, 173, 108), (254, 232, 56))
_REDS = ((250, 250, 250), (253, 208, 162), (240, 130, 60), (170, 55, 10), (90, 20, 0))


def shade(value: float | None, name: str) -> tuple[str, str]:
    """Colour of a heat map's cell for a value in [0, 1], and of the ink on it; light grey where there is none."""
    if value is None or value != value:
        return "#E8E8E8", GREY
    stops = _REDS if name == "collapse" else _CIVIDIS
    place = min(max(value, 0.0), 1.0) * (len(stops) - 1)
    left = min(int(place), len(stops) - 2)
    red, green, blue = (round(a + (place - left) * (b - a)) for a, b in zip(stops[left], stops[left + 1], strict=True))
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    return f"#{red:02x}{green:02x}{blue:02x}", "#FFFFFF" if dark else "#000000"


def new_figure(width: float = 6.4, height: float = 4.3) -> tuple[Figure, Axes]:
    """Make an empty figure [inches] of one pair of axes, without any global state."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def draw_transition(axes: Axes, found: Mapping[str, Any]) -> None:
    """Draw one slice of the map: retention and both groups' DSC over ε [voxels], v̂, the crossing and collapse.

    Lines join the means over the trials that did not collapse; small marks are single trials; a cross marks
    each collapsed trial at its labelled DSC. The thin line is the fitted curve, the band the crossing's interval, the
    dotted red line the share that collapsed, with its own band.
    """
    points = [point for point in found["points"] if point["eps"]]
    _log_axis(axes)
    axes.set_ylim(-0.04, 1.04)
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)))
    _draw_crossing(axes, found)
    for name, text, colour, marker, dash in _SERIES:
        means = [(point["eps"], point[name]) for point in points if point[name] is not None]
        if not means:
            continue
        single = [
            (point["eps"], trial[name])
            for point in points
            for trial in point["trials"]
            if trial[name] is not None and trial["outcome"] != "collapsed"
        ]
        axes.plot(*zip(*single, strict=True), marker, color=colour, markersize=4, alpha=0.4, markeredgewidth=0)
        axes.plot(*zip(*means, strict=True), dash, marker=marker, color=colour, markersize=6, linewidth=1.8, label=text)
    _draw_curve(axes, found, points)
    lost = [
        (point["eps"], trial["dsc_labelled"] or 0.0)
        for point in points
        for trial in point["trials"]
        if trial["outcome"] == "collapsed"
    ]
    if lost:
        style: dict[str, Any] = {"markersize": 9, "markeredgewidth": 2.2, "clip_on": False}
        axes.plot(*zip(*lost, strict=True), "x", color=RED, label="collapsed trial", zorder=5, **style)
        _draw_collapse(axes, points)
    v_hat = found["v_hat"]
    if v_hat:
        axes.axvline(v_hat, color=BLACK, linewidth=1, linestyle=(0, (4, 2)), label=f"v̂ = {v_hat:.4g} voxels")
    axes.set_xlabel("ε [voxels]")
    axes.set_ylabel("mean over cases [1]")
    axes.grid(visible=True, axis="y", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    _legend_below(axes)


def draw_roc(axes: Axes, curves: Sequence[RocCurve], labels: Sequence[str]) -> None:
    """Draw ROC curves, one label each; the diagonal is what guessing gives."""
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 3)))
    for number, (curve, text) in enumerate(zip(curves, labels, strict=True)):
        style: dict[str, Any] = {"color": CYCLE[number % len(CYCLE)], "linestyle": DASHES[number % len(DASHES)]}
        axes.plot(RATES, curve.true, linewidth=1.8, label=text, **style)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("emptied cases above the threshold [1]")
    axes.set_ylabel("labelled cases above the threshold [1]")
    axes.grid(visible=True, color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    _legend_below(axes, columns=1)


def draw_push(axes: Axes, curves: Sequence[Mapping[str, Any]]) -> None:
    """Draw the push on emptied maps over ε [voxels]; marks are a study's cells, arrows those beyond the axis.

    A curve has ``name``, ``eps`` and ``push`` along it, ``cells`` as (ε, push), and ``v_hat``.
    """
    _log_axis(axes)
    for curve, colour, dash in zip(curves, itertools.cycle(CYCLE), itertools.cycle(DASHES), strict=False):
        axes.plot(curve["eps"], curve["push"], dash, color=colour, linewidth=1.8, label=curve["name"])
        first, last = curve["eps"][0], curve["eps"][-1]
        for eps, push in curve["cells"]:
            marker = "<" if eps < first else ">" if eps > last else "o"
            axes.plot(min(max(eps, first), last), push, marker, color=colour, markersize=6)
    for number, v_hat in enumerate(sorted({round(float(curve["v_hat"]), 3) for curve in curves})):
        label = "v̂" if number == 0 else None
        axes.axvline(v_hat, color=BLACK, linewidth=1, linestyle=(0, (4, 2)), label=label)
    axes.set_xlabel("ε [voxels]")
    axes.set_ylabel("push on emptied against labelled maps [1]")
    axes.grid(visible=True, axis="y", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    if curves:
        _legend_below(axes)


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


def draw_learning(axes: Axes, curves: Sequence[LearningCurve], labels: Mapping[str, str]) -> None:
    """Draw validation DSC over epochs: a colour a cell, by its label; the emptied group dashed."""
    colours: dict[str, str] = {}
    for curve in curves:
        colour = colours.setdefault(curve.cell, CYCLE[len(colours) % len(CYCLE)])
        text = f"{labels.get(curve.cell, curve.cell)}, {curve.group}{' (emptied)' if curve.emptied else ''}"
        axes.plot(curve.epochs, curve.dsc, "--" if curve.emptied else "-", color=colour, linewidth=1.6, label=text)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation DSC [1]")
    axes.grid(visible=True, axis="y", color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    _legend_below(axes, columns=1)


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


def _draw_row(axes: Axes, axis: EpsAxis, row: Mapping[str, Any], number: int) -> None:
    crossing = row["crossing"]
    if crossing is not None:
        scanned = 10 ** axis.log10_eps[0], 10 ** axis.log10_eps[-1]
        low, high = (
            axis.place(scanned[side] if crossing[end] is None else crossing[end])
            for side, end in enumerate(("low", "high"))
        )
        band: dict[str, Any] = {"facecolor": PURPLE, "alpha": 0.35, "edgecolor": "white"}
        axes.add_patch(Rectangle((low, number - 0.46), high - low, 0.92, **band))
        if not crossing["step"]:
            _draw_mark(axes, axis.place(crossing["eps"]), number, color=PURPLE, linewidth=2)
    for root in row["roots"]:
        for eps in root["eps"]:
            style = (0, (4, 2)) if len(root["eps"]) == 1 else (0, (1, 1.5))
            _draw_mark(axes, axis.place(eps), number, color=BLACK, linewidth=1.2, linestyle=style)


def _draw_mark(axes: Axes, place: float, number: int, **style: Any) -> None:
    """A line across a row, with a white one beneath that sets it off from dark cells."""
    ends = [place, place], [number - 0.5, number + 0.5]
    axes.plot(*ends, color="white", linewidth=style["linewidth"] + 1.2)
    axes.plot(*ends, **style)


def _draw_curve(axes: Axes, found: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
    fitted = found["curve"]
    if fitted is None or fitted["width"] is None:  # a step has no shape to draw
        return
    eps = np.geomspace(points[0]["eps"], points[-1]["eps"], 200)
    curve = Curve(**{**fitted, "middle": float(np.log10(fitted["middle"]))})
    axes.plot(eps, curve.at(np.log10(eps)), color=BLACK, linewidth=0.9, label=f"fitted curve, R² {fitted['r2']:.2f}")


def _draw_collapse(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    known = [point for point in points if point["collapse"]["share"] is not None]
    eps = [point["eps"] for point in known]
    low, share, high = ([point["collapse"][name] for point in known] for name in ("low", "share", "high"))
    axes.vlines(eps, low, high, color=RED, alpha=0.35, linewidth=1)
    axes.plot(eps, share, ":", color=RED, linewidth=1.6, label="share that collapsed (95 %)")


def _draw_crossing(axes: Axes, found: Mapping[str, Any]) -> None:
    crossing = found["crossing"]
    if crossing is None:
        return
    eps = [point["eps"] for point in found["points"]]
    low = crossing["low"] if crossing["low"] is not None else min(eps)
    high = crossing["high"] if crossing["high"] is not None else max(eps)
    text = "retention crosses ½ in here (95 %)"
    axes.axvspan(low, high, color=PURPLE, alpha=0.22, linewidth=0, label=text)
    if not crossing["step"]:  # else its place inside the bracket is a convention
        axes.axvline(crossing["eps"], color=PURPLE, linewidth=1.6, label=f"crossing, ε = {crossing['eps']:.3g}")


def _log_axis(axes: Axes) -> None:
    """A logarithmic axis of ε whose ticks read as numbers do elsewhere, without the marks between decades."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def _legend_below(axes: Axes, columns: int = 2) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
