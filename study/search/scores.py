"""What a search looks for: numbers that are always finite, from how a trial ended.

Larger is better in all of them. A trial that diverged or collapsed did so because of its setting, so it counts with
the worst that its goal knows, and the sampler keeps away from there; one that failed for another reason (memory, a
file) says nothing of the goal, and is told as failed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.outcomes import Outcome, classify
from study.config.spec import StudySpec
from trainers.metric_names import metric_name
from trainers.result import TrialResult

WORST = {"empty": -1.0} | dict.fromkeys(("ignore", "dice", "emptied", "labelled", "auc"), 0.0)


@dataclass(frozen=True)
class Figures:
    """What one trial's metrics say of the emptied maps; NaN where no case can tell."""

    retention: float
    emptied: float
    labelled: float
    auc: float
    dice: float
    outcome: str


def figures_of(result: TrialResult, study: StudySpec, reference: float = math.nan, partial: bool = True) -> Figures:
    """The figures of one trial; ``reference``: labelled DSC under full labeling, NaN without."""
    empty, metrics = study.labeling.empty, result.metrics
    others = [group for group in study.data.groups if group != empty.group]
    labelled_classes = empty.classes if others else [name for name in study.data.classes if name not in empty.classes]
    labelled = _mean([metrics.get(metric_name("dsc", g, c)) for g in others or [empty.group] for c in labelled_classes])
    retention = _mean([metrics.get(metric_name("retention", name)) for name in empty.classes])
    if result.state == "DONE":
        outcome = str(classify(retention, labelled, reference, partial=partial).outcome)
    else:
        diverged = result.ending == "diverged"
        outcome = str(Outcome.DIVERGED if diverged else Outcome.FAILED)
    return Figures(
        retention,
        _mean([metrics.get(metric_name("dsc", empty.group, name)) for name in empty.classes]),
        labelled,
        _mean([metrics.get(metric_name("auc", name)) for name in empty.classes]),
        _mean([value for name, value in metrics.items() if name.startswith("dsc.")]),
        str(Outcome.COLLAPSED) if result.ending == "all_empty" else outcome,
    )


def goal_value(goal: str, figures: Figures, result: TrialResult) -> float | None:
    """The value of one trial, always finite; None where it says nothing of the goal."""
    if figures.outcome == Outcome.FAILED:
        return None
    lost = figures.outcome == Outcome.DIVERGED or (figures.outcome == Outcome.COLLAPSED and goal not in ("auc",))
    if lost and goal in WORST:
        return WORST[goal]
    named = {
        "ignore": min(figures.emptied, figures.labelled),
        "empty": figures.auc - figures.retention,
        "dice": figures.dice,
        "emptied": figures.emptied,
        "labelled": figures.labelled,
        "auc": figures.auc,
    }
    if goal in named:
        # A group whose maps are all predicted empty has volumes that tell nothing apart: no score is the worst one.
        return named[goal] if math.isfinite(named[goal]) else WORST[goal]
    name = goal.removeprefix("-")
    value = result.metrics.get(name, math.nan)
    if not math.isfinite(value):
        return None
    return -abs(value) if name.startswith("dv_ml") and name == goal else -value if name != goal else value


def goal_values(goals: Sequence[str], trials: Sequence[tuple[Figures, TrialResult]]) -> list[float] | None:
    """Means over the trials of one setting, a value a goal; None where a goal has none."""
    values = []
    for goal in goals:
        known = [value for figures, result in trials if (value := goal_value(goal, figures, result)) is not None]
        if not known:
            return None
        values.append(float(np.mean(known)))
    return values


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan
