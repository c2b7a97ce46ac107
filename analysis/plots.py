"""Drawing on axes that are given: no maths, no saving.

Colours after Okabe and Ito, which colour-blind readers can tell apart; marks and dashes differ as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def new_figure(width: float = 6.4, height: float = 4.3) -> tuple[Figure, Axes]:
    """Make an empty figure [inches] of one pair of axes, without any global state."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def draw_transition(axes: Axes, found: Mapping[str, Any]) -> None:
    """Draw one slice of the map: retention and both groups' DSC over ε [voxels], v̂, the crossing and collapse.

    Lines join the means over the trials that did not collapse; small marks are single trials; a cross marks
    each collapsed trial at its labelled DSC. The band is the crossing's interval.
    """
    points = [point for point in found["points"] if point["eps"]]
    axes.set_xscale("log")
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
    lost = [
        (point["eps"], trial["dsc_labelled"] or 0.0)
        for point in points
        for trial in point["trials"]
        if trial["outcome"] == "collapsed"
    ]
    if lost:
        style: dict[str, Any] = {"markersize": 9, "markeredgewidth": 2.2, "clip_on": False}
        axes.plot(*zip(*lost, strict=True), "x", color=RED, label="collapsed trial", zorder=5, **style)
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
    axes.set_xscale("log")
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


def _draw_crossing(axes: Axes, found: Mapping[str, Any]) -> None:
    crossing = found["crossing"]
    if crossing is None:
        return
    eps = [point["eps"] for point in found["points"]]
    low = crossing["low"] if crossing["low"] is not None else min(eps)
    high = crossing["high"] if crossing["high"] is not None else max(eps)
    text = "retention crosses ½ in here (95 %)"
    axes.axvspan(low, high, color=PURPLE, alpha=0.22, linewidth=0, label=text)
    if not crossing["step"]:
        axes.axvline(crossing["eps"], color=PURPLE, linewidth=1.6, label=f"crossing, ε = {crossing['eps']:.3g}")


def _legend_below(axes: Axes, columns: int = 2) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
