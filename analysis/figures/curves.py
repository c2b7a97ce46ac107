"""ROC, push and learning curves."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from analysis.figures.style import BLACK, CYCLE, DASHES, GREY, _legend_below, _log_axis
from analysis.results.learning_curves import LearningCurve
from analysis.results.roc_curves import RATES, RocCurve


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
