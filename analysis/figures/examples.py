"""Which cases and which setups a report shows as pictures: one setup for each thing that training did.

The pictures themselves come with the trials; here they are only chosen and laid out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.contours import draw_contours
from analysis.outcomes import Outcome, trial_scores
from analysis.tables import StudyTables

SHOWN = (Outcome.SEGMENTS, Outcome.IGNORES, Outcome.LEARNS_EMPTY, Outcome.COLLAPSED, Outcome.BETWEEN)
"""Outcomes in the order of their panels; the first ``MOST_SETUPS`` that the study has are shown."""
MOST_SETUPS, MOST_CASES = 4, 4
CELL_INCHES = 2.1
"""Side of a panel in a figure of all of them."""


@dataclass(frozen=True)
class Setup:
    """A cell that stands for an outcome, by one of its trials."""

    cell: str
    key: str
    outcome: str


@dataclass(frozen=True, eq=False)
class Panel:
    """What a setup's trial found in a slice, (row, column); ``dsc``: of the whole case, None where it has none."""

    setup: Setup
    found: npt.NDArray[np.bool_]
    dsc: float | None


@dataclass(frozen=True, eq=False)
class ExampleCase:
    """One slice of a case: image and full label (row, column), and a panel a setup. aspect: height of a pixel over
    its width; ml: the label's volume in the whole case; emptied: whether ``partial`` hides it.
    """  # noqa: D205

    case: str
    group: str
    class_: str
    emptied: bool
    ml: float | None
    aspect: float
    image: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.bool_]
    panels: tuple[Panel, ...]


def choose_setups(
    tables: StudyTables, class_: str, kept: Collection[str], scores: pd.DataFrame | None = None
) -> list[Setup]:
    """For each outcome of ``SHOWN`` the cell that ended so most often, by its first trial that did.

    kept: keys of the trials that have pictures; only those of the lowest fold are taken, so that all show the same
    cases. Ties go to the cell that comes first in the order of the settings. ``scores``: of ``trial_scores``, if at
    hand.
    """
    scores = trial_scores(tables) if scores is None else scores
    own = scores[(scores["class"] == class_) & scores["key"].isin(list(kept))] if len(scores) else scores
    if own.empty:
        return []
    own = own[own["fold"] == own["fold"].min()]
    chosen: list[Setup] = []
    for outcome in SHOWN:
        so = own[own["outcome"] == outcome]
        if len(so) and len(chosen) < MOST_SETUPS:
            share = so.groupby("cell", sort=False).size() / own.groupby("cell", sort=False).size()
            # The first of the highest; cells that never ended so are not in ``so``.
            cell = str(share[so["cell"].unique()].idxmax())
            first = so[so["cell"] == cell].sort_values("seed", kind="stable").iloc[0]
            chosen.append(Setup(cell, str(first["key"]), str(outcome)))
    return chosen


def choose_slices(slices: Sequence[tuple[str, float]], emptied: str | None) -> list[int]:
    """Choose among kept slices, (group, quartile) each: a small and a large one of the emptied group, middle others.

    Returns: their places, ``MOST_CASES`` at most.
    """
    hidden = [number for number, (group, _) in enumerate(slices) if group == emptied]
    ends = sorted(hidden, key=lambda number: slices[number][1])
    others: dict[str, int] = {}
    for number, (group, quartile) in enumerate(slices):
        nearest = others.get(group)
        if group != emptied and (nearest is None or abs(quartile - 0.5) < abs(slices[nearest][1] - 0.5)):
            others[group] = number
    return list(dict.fromkeys([*ends[:1], *ends[-1:], *others.values()]))[:MOST_CASES]


def draw_examples(cases: Sequence[ExampleCase], names: Mapping[str, str]) -> Figure:
    """Draw a row a case: the full label on the image, then each setup's outline beside it. names: of cells."""
    columns = 1 + max(len(case.panels) for case in cases)
    figure = Figure(figsize=(CELL_INCHES * columns, (CELL_INCHES + 0.5) * len(cases)), layout="constrained")
    grid = figure.subplots(len(cases), columns, squeeze=False)
    for row, case in zip(grid, cases, strict=True):
        for axes in row:
            axes.set_axis_off()
        draw_contours(row[0], case.image, case.truth, {}, aspect=case.aspect, legend=False)
        row[0].set_title(case_text(case).replace(", ", "\n", 1), fontsize=7)
        for axes, panel in zip(row[1:], case.panels, strict=False):
            draw_contours(axes, case.image, case.truth, {"": panel.found}, aspect=case.aspect, legend=False)
            axes.set_title(f"{names.get(panel.setup.cell, panel.setup.cell)}\n{panel_text(panel)}", fontsize=7)
    return figure


def shown_cells(cases: Sequence[ExampleCase]) -> list[str]:
    """The cells that these examples show."""
    return list(dict.fromkeys(panel.setup.cell for case in cases for panel in case.panels))


def case_text(case: ExampleCase) -> str:
    """Name a case: ``B012, group B (emptied), 5.2 ml``."""
    volume = "" if case.ml is None else f", {case.ml:.3g} ml"
    return f"{case.case}, group {case.group}{' (emptied)' if case.emptied else ''}{volume}"


def panel_text(panel: Panel) -> str:
    """Say how a setup did: ``learns empty; DSC 0.10``, and whether it finds nothing in the slice."""
    dsc = "no DSC" if panel.dsc is None else f"DSC {panel.dsc:.2f}"
    return f"{panel.setup.outcome.replace('_', ' ')}; {dsc}{'' if panel.found.any() else ', empty'}"


def examples_sentence(cases: Sequence[ExampleCase]) -> str:
    """Say what the pictures show."""
    outcomes = list(dict.fromkeys(panel.setup.outcome.replace("_", " ") for case in cases for panel in case.panels))
    return f"{len(cases)} held-out cases under setups that did different things: {', '.join(outcomes)}."
