"""The names of goals that a search may have."""

from __future__ import annotations

from collections.abc import Iterator

from study.config.messages import Path, unknown
from study.config.spec import StudySpec
from trainers.metric_names import metric_name

GOALS = ("ignore", "empty", "dice", "emptied", "labelled", "auc")
"""``ignore``: the lower of the mean DSC of the emptied group and of the others, so that neither is paid for with the
other. ``empty``: AUC − retention, 1 at best. ``dice``: mean DSC of all groups and classes. ``emptied``, ``labelled``:
mean DSC of the emptied group's emptied classes, and of the other groups'. ``auc``: of the others against the emptied
group by predicted volume. Else a metric's name: ``dsc.GROUP.CLASS``, ``retention.CLASS``, ``auc.CLASS``, the lowest
first with a leading ``-``; ``dv_ml.GROUP.CLASS``, the closest to 0 first."""


def unknown_goals(study: StudySpec) -> Iterator[tuple[Path, str, str]]:
    """Goals that the study's data does not have: path in the file, fault, remedy."""
    if not study.search.rules.has_goals:
        return
    if study.search.early_stopping and study.folds * study.seeds > 1:
        fault = "compares single trainings, and a setting here is trained for every fold and seed"
        yield ("search", "early_stopping"), fault, "take folds: 1 and seeds: 1, or leave it out"
    known = [*GOALS, *metric_names(study)]
    for goal in study.search.goals:
        if goal.removeprefix("-") not in known or (goal.removeprefix("-") in GOALS and goal.startswith("-")):
            yield ("search", "goal"), *unknown("goal", goal, known)


def metric_names(study: StudySpec) -> list[str]:
    """Final metrics that can be a goal."""
    groups, classes = study.data.groups, study.data.classes
    both = [metric_name(kind, group, name) for kind in ("dsc", "dv_ml") for group in groups for name in classes]
    return both + [metric_name(kind, name) for kind in ("retention", "auc") for name in study.labeling.empty.classes]
