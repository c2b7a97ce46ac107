"""The figures of each cell: means over its trials with intervals, outcomes counted, doubts named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.outcomes import Outcome, case_retention, trial_scores
from analysis.statistics import Interval, draw_resamples, resampled_auc, resampled_mean
from analysis.table import DERIVED, DONE, StudyTables, plain, settings_of


def safe_names(names: Sequence[str]) -> dict[str, str]:
    """Map groups or classes to parts of a metric's name: letters, digits, ``_`` and ``-``, no two alike."""
    safe: dict[str, str] = {}
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_-]+", "_", name) or "_"
        part, number = base, 2
        while part in safe.values():
            part, number = f"{base}_{number}", number + 1
        safe[name] = part
    return safe


def cell_metrics(
    tables: StudyTables, rng: np.random.Generator, scores: pd.DataFrame | None = None
) -> list[dict[str, Any]]:
    """Each cell's figures, in the order of the settings; ``scores`` saves computing ``trial_scores`` again.

    ``cell``; ``params``: settings, ε and v̂ in voxels [means over the trials]; ``n``: trials done; ``trials``:
    trials in all; ``metrics``: per name ``mean``, ``low``, ``high`` and ``n``, the scores averaged, with names
    ``dsc.<group>.<class>``, ``dv_ml.<group>.<class>`` [ml], ``retention.<class>``, ``auc.<class>``;
    ``outcomes``: how many trials (and emptied classes) ended in each; ``valid``: whether the means speak of one
    behaviour, all trials done, scored and none collapsed, else ``doubts`` says why not.

    Means run over all trials done, the collapsed included: where ``outcomes`` counts collapsed ones, the mean
    is that of a mixture. Intervals: two-way bootstrap over trials and subjects.
    """
    scores = trial_scores(tables) if scores is None else scores
    outcomes = {str(cell): part for cell, part in scores.groupby("cell", sort=False)}
    cases = _CaseArrays(tables)
    return [
        _cell(tables, str(cell), trials, outcomes.get(str(cell)), cases, rng)
        for cell, trials in tables.trials.groupby("cell", sort=False)
    ]


class _CaseArrays:
    """The table of cases as arrays sorted by trial, so that a cell's scores are taken without a search."""

    def __init__(self, tables: StudyTables) -> None:
        cases = tables.cases
        self.retention = case_retention(cases).to_numpy(dtype=np.float64)
        self.score = {name: cases[name].to_numpy(dtype=np.float64) for name in ("dsc", "dv_ml", "pred_ml")}
        self.group = pd.Categorical(cases["group"], categories=list(tables.groups)).codes
        self.class_ = pd.Categorical(cases["class"], categories=list(tables.classes)).codes
        self.subject = pd.factorize(cases["subject"])[0]
        self._rows = {str(key): rows for key, rows in cases.groupby("key", sort=False).indices.items()}

    def rows(self, keys: Sequence[str]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows of these trials' cases, and which of the trials each belongs to."""
        parts = [self._rows.get(key, np.empty(0, dtype=np.intp)) for key in keys]
        which = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        rows = np.concatenate(parts) if parts else np.empty(0, dtype=np.intp)
        return rows.astype(np.intp), which.astype(np.intp)


def _cell(
    tables: StudyTables,
    cell: str,
    trials: pd.DataFrame,
    scores: pd.DataFrame | None,
    cases: _CaseArrays,
    rng: np.random.Generator,
) -> dict[str, Any]:
    done = trials[trials["state"] == DONE]
    counted = _count_outcomes(trials, scores)
    doubts = [
        f"{counted[outcome]} {word}"
        for outcome, word in (
            (Outcome.FAILED, "failed"),
            (Outcome.COLLAPSED, "collapsed"),
            (Outcome.UNSCORED, "without a score"),
        )
        if outcome in counted
    ]
    if done.empty:
        doubts.insert(0, "no trial is done")
    metrics = _metrics(tables, cases, list(done["key"]), rng)
    return {
        "cell": cell,
        "params": cell_params(tables, trials),
        "n": len(done),
        "trials": len(trials),
        "metrics": {name: plain(vars(interval)) for name, interval in metrics.items()},
        "outcomes": counted,
        "valid": not doubts,
        "doubts": doubts,
    }


def cell_params(tables: StudyTables, trials: pd.DataFrame) -> dict[str, Any]:
    """Gather the settings of one cell's trials, and the means of its ε and v̂ [voxels], which differ between folds."""
    first = trials.iloc[0]
    params = settings_of(first, tables.settings)
    # Twelve digits: the mean of 0.2, 0.2 and 0.2 is 0.2 again.
    means = {name: plain(float(f"{trials[name].mean():.12g}")) for name in DERIVED}
    order = ("loss", "phi", "eps", *DERIVED, *(name for name in params if name not in ("loss", "phi", "eps")))
    return {name: means[name] if name in means else params[name] for name in order}


def _count_outcomes(trials: pd.DataFrame, scores: pd.DataFrame | None) -> dict[str, int]:
    if scores is None or scores.empty:
        failed = int((trials["state"] != DONE).sum())
        return {str(Outcome.FAILED): failed} if failed else {}
    counts = scores["outcome"].value_counts()
    return {str(outcome): int(counts[outcome]) for outcome in Outcome if outcome in counts.index}


def _metrics(tables: StudyTables, cases: _CaseArrays, keys: list[str], rng: np.random.Generator) -> dict[str, Interval]:
    rows, which = cases.rows(keys)
    if not len(rows):
        return {}
    seen, subject = np.unique(cases.subject[rows], return_inverse=True)
    drawn = draw_resamples(len(keys), len(seen), rng)
    group, class_ = cases.group[rows], cases.class_[rows]
    groups, classes = safe_names(tables.groups), safe_names(tables.classes)

    def mean(values: npt.NDArray[np.floating], chosen: npt.NDArray[np.bool_]) -> Interval:
        return resampled_mean(values[rows][chosen], which[chosen], subject[chosen], drawn)

    metrics: dict[str, Interval] = {}
    for score in ("dsc", "dv_ml"):
        for i, group_name in enumerate(tables.groups):
            for j, class_name in enumerate(tables.classes):
                chosen = (group == i) & (class_ == j)
                if chosen.any():
                    name = f"{score}.{groups[group_name]}.{classes[class_name]}"
                    metrics[name] = mean(cases.score[score], chosen)
    if tables.emptied is None:
        return metrics
    hidden = group == tables.groups.index(tables.emptied.group)
    for class_name in tables.emptied.classes:
        of_class = class_ == tables.classes.index(class_name)
        metrics[f"retention.{classes[class_name]}"] = mean(cases.retention, of_class & hidden)
        volumes = cases.score["pred_ml"][rows][of_class]
        metrics[f"auc.{classes[class_name]}"] = resampled_auc(
            volumes, ~hidden[of_class], which[of_class], subject[of_class], drawn
        )
    return metrics
