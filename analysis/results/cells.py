"""The figures of each cell: means over its trials with intervals, outcomes counted, doubts named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from analysis.outcomes import Outcome, failure_outcome, trial_scores
from analysis.results.score_matrix import StudyScores, study_scores
from analysis.stats.bootstrap import Interval, draw_resamples, resampled_means
from analysis.stats.roc import resampled_aucs
from analysis.tables import DERIVED, DONE, StudyTables, plain


def cell_metrics(
    tables: StudyTables,
    rng: np.random.Generator,
    scores: pd.DataFrame | None = None,
    matrices: StudyScores | None = None,
) -> list[dict[str, Any]]:
    """Each cell's figures, in the order of the settings.

    ``cell``; ``params``: settings, ε and v̂ in voxels [means over the trials]; ``n``: trials done; ``trials``:
    trials in all; ``metrics``: per name ``mean``, ``low``, ``high`` and ``n``, the scores averaged, with names
    ``dsc.<group>.<class>``, ``dv_ml.<group>.<class>`` [ml], ``retention.<class>``, ``auc.<class>``;
    ``outcomes``: how many trials (and emptied classes) ended in each; ``valid``: whether the means speak of one
    behaviour, all trials done, scored and none collapsed, else ``doubts`` says why not.

    Means run over all trials done, the collapsed included: where ``outcomes`` counts collapsed ones, the mean
    is that of a mixture. Intervals: two-way bootstrap over trials and subjects, which cells share.
    ``scores``, ``matrices``: of ``trial_scores`` and ``study_scores``, if they are at hand.
    """
    scores = trial_scores(tables) if scores is None else scores
    counted = _outcomes_by_cell(tables, scores)
    metrics = _metrics(tables, study_scores(tables) if matrices is None else matrices, rng)
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for trial in tables.trials[["cell", "state", *tables.settings, *DERIVED]].to_dict("records"):
        by_cell.setdefault(trial["cell"], []).append({str(name): value for name, value in trial.items()})
    return [_cell(tables, cell, trials, counted[cell], metrics[cell]) for cell, trials in by_cell.items()]


def _cell(
    tables: StudyTables,
    cell: str,
    trials: list[dict[str, Any]],
    outcomes: dict[str, int],
    metrics: dict[str, Interval],
) -> dict[str, Any]:
    done = sum(trial["state"] == DONE for trial in trials)
    doubts = [
        f"{outcomes[outcome]} {word}"
        for outcome, word in (
            (Outcome.FAILED, "failed"),
            (Outcome.DIVERGED, "diverged"),
            (Outcome.COLLAPSED, "collapsed"),
            (Outcome.UNSCORED, "without a score"),
        )
        if outcome in outcomes
    ]
    if not done:
        doubts.insert(0, "no trial is done")
    return {
        "cell": cell,
        "params": cell_params(tables, trials),
        "n": done,
        "trials": len(trials),
        "metrics": {name: plain(vars(interval)) for name, interval in metrics.items()},
        "outcomes": outcomes,
        "valid": not doubts,
        "doubts": doubts,
    }


def cell_params(tables: StudyTables, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Gather the settings of one cell's trials, and the means of its ε and v̂ [voxels], which differ between folds."""
    params = {name: plain(trials[0][name]) for name in tables.settings}
    for name in DERIVED:
        known = [trial[name] for trial in trials if math.isfinite(trial[name])]
        # Twelve digits: the mean of 0.2, 0.2 and 0.2 is 0.2 again.
        params[name] = float(f"{np.mean(known):.12g}") if known else None
    first = ("loss", "phi", "eps", *DERIVED)
    return {name: params[name] for name in (*first, *(name for name in params if name not in first))}


def _outcomes_by_cell(tables: StudyTables, scores: pd.DataFrame) -> dict[str, dict[str, int]]:
    counted: dict[str, dict[str, int]] = {str(cell): {} for cell in tables.trials["cell"].unique()}
    if scores.empty:  # nothing is emptied, so only failures can be told
        judged = [failure_outcome(reason) for reason in tables.trials.loc[tables.trials["state"] != DONE, "reason"]]
        pairs = pd.DataFrame({"cell": tables.trials.loc[tables.trials["state"] != DONE, "cell"], "outcome": judged})
    else:
        pairs = scores[["cell", "outcome"]]
    for cell, outcome in zip(pairs["cell"], pairs["outcome"], strict=True):
        counted[cell][outcome] = counted[cell].get(outcome, 0) + 1
    return {cell: {str(o): counts[o] for o in Outcome if o in counts} for cell, counts in counted.items()}


def _metrics(tables: StudyTables, found: StudyScores, rng: np.random.Generator) -> dict[str, dict[str, Interval]]:
    done = (tables.trials["state"] == DONE).to_numpy()
    members = [rows[done[rows]] for rows in found.cells.values()]
    drawn = draw_resamples([len(rows) for rows in members], found.subjects, rng)
    by_name: dict[str, list[Interval]] = {}
    for score in ("dsc", "dv_ml"):
        for number, group in enumerate(tables.groups):
            for class_ in tables.classes:
                own = found.classes[class_].of_group(number)
                name = tables.metric_name(score, group, class_)
                by_name[name] = resampled_means(own.scores[score], own.subject, members, drawn)
    if tables.emptied is not None:
        hidden = tables.groups.index(tables.emptied.group)
        for class_ in tables.emptied.classes:
            whole = found.classes[class_]
            own = whole.of_group(hidden)
            by_name[tables.metric_name("retention", class_)] = resampled_means(
                own.scores["retention"], own.subject, members, drawn
            )
            by_name[tables.metric_name("auc", class_)] = resampled_aucs(
                whole.scores["pred_ml"], whole.group != hidden, whole.subject, members, drawn
            )
    return {
        cell: {name: listed[number] for name, listed in by_name.items() if listed[number].n}
        for number, cell in enumerate(found.cells)
    }
