"""Drawing on axes that are given: no statistics, no saving.

Colours after Okabe and Ito, which colour-blind readers can tell apart; marks and dashes differ as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from analysis.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, _legend_below, _log_axis
from analysis.results.planes import EpsAxis
from analysis.transition.curve import Curve

_SERIES = (
    ("retention", "retention of the emptied group", BLUE, "o", "-"),
    ("dsc_labelled", "DSC, labelled group", GREEN, "s", "--"),
    ("dsc_emptied", "DSC, emptied group", ORANGE, "^", ":"),
)


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
