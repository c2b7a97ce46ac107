"""What a trial did to the emptied group: ignored the empty maps, learnt them, lay between, collapsed or diverged.

A collapsed trial has lost the labelled group too. Its emptied group looks exactly like one that was learnt
empty, so averaging over both is wrong: collapse is an outcome of its own. So is divergence, a loss that left the
finite numbers: it is the setting's doing, where other failures are the machine's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from analysis.tables import DONE, FULL, StudyTables, is_partial

IGNORES_FROM = 0.7
"""Retention from which the emptied maps count as ignored: the network still draws at least 70 % of the volume."""
LEARNS_EMPTY_TO = 0.3
"""Retention up to which the empty maps count as learnt; between the two lies a trial that did neither."""
COLLAPSE_SHARE = 0.5
"""Under this share of the labelled DSC under full labeling, the labelled group is lost. Learning empty costs
it a tenth at most in what has been measured, and collapsed trials end near 0, so a half separates them."""
COLLAPSE_FLOOR = 0.2
"""The labelled DSC that stands in where no trial under full labeling reached this much: lower is no segmentation."""

DIVERGED_REASON = "diverged"
"""What the reason of a trial begins with whose loss left the finite numbers."""
SCORE_COLUMNS = (
    "retention",
    "auc",
    "dsc_labelled",
    "dsc_emptied",
    "dv_labelled",
    "dv_emptied",
    "reference",
    "outcome",
    "outcome_reason",
)


class Outcome(StrEnum):
    """What one trial did."""

    IGNORES = "ignores"
    BETWEEN = "between"
    LEARNS_EMPTY = "learns_empty"
    COLLAPSED = "collapsed"
    DIVERGED = "diverged"
    FAILED = "failed"  # for any other reason: memory, a lost machine
    SEGMENTS = "segments"  # under full labeling nothing is emptied, so nothing can be ignored or learnt empty
    UNSCORED = "unscored"  # done, but without a case that could tell


NOT_TOLD = (Outcome.COLLAPSED, Outcome.DIVERGED, Outcome.FAILED)
"""Outcomes whose figures say nothing of the emptied maps: means over ε and the fit leave them out."""


@dataclass(frozen=True)
class Verdict:
    """An outcome and the figures that it rests on."""

    outcome: Outcome
    reason: str


def classify(
    retention: float, dsc_labelled: float, reference: float, *, partial: bool = True, failure: str | None = None
) -> Verdict:
    """Judge the outcome of one trial.

    ``reference``: labelled DSC under full labeling, NaN where there is none. ``failure``: why the trial failed,
    None where it is done. Asked in this order: diverged, where the failure begins with ``DIVERGED_REASON``; failed;
    collapsed, the labelled DSC under ``COLLAPSE_SHARE`` of the reference (of ``COLLAPSE_FLOOR`` itself where the
    reference does not reach it); then by retention.
    """
    if failure is not None:
        return Verdict(failure_outcome(failure), failure or "no reason was recorded")
    bar = COLLAPSE_SHARE * reference if reference >= COLLAPSE_FLOOR else COLLAPSE_FLOOR
    if dsc_labelled < bar:
        against = f"half of the {reference:.2f} under full labeling" if reference >= COLLAPSE_FLOOR else "the floor"
        return Verdict(Outcome.COLLAPSED, f"labelled DSC {dsc_labelled:.2f} is under {bar:.2f}, {against}")
    if not partial:
        if math.isnan(dsc_labelled):
            return Verdict(Outcome.UNSCORED, "no labelled case has a DSC")
        return Verdict(Outcome.SEGMENTS, f"labelled DSC {dsc_labelled:.2f} under full labeling")
    if math.isnan(retention):
        return Verdict(Outcome.UNSCORED, "no case of the emptied group has a non-empty label")
    doubt = "; no labelled case has a DSC, so collapse cannot be told" if math.isnan(dsc_labelled) else ""
    if retention >= IGNORES_FROM:
        return Verdict(Outcome.IGNORES, f"retention {retention:.2f} is at least {IGNORES_FROM}{doubt}")
    if retention <= LEARNS_EMPTY_TO:
        return Verdict(Outcome.LEARNS_EMPTY, f"retention {retention:.2f} is at most {LEARNS_EMPTY_TO}{doubt}")
    between = f"retention {retention:.2f} lies between {LEARNS_EMPTY_TO} and {IGNORES_FROM}"
    return Verdict(Outcome.BETWEEN, between + doubt)


def failure_outcome(reason: str) -> Outcome:
    """Tell divergence from other failures by the recorded reason."""
    return Outcome.DIVERGED if reason.startswith(DIVERGED_REASON) else Outcome.FAILED


def case_retention(cases: pd.DataFrame) -> pd.Series[float]:
    """clip(predicted / true volume, 0, 1) of each case; NaN where the true map is empty."""
    true = cases["true_ml"].where(~cases["gt_empty"] & (cases["true_ml"] > 0))
    return (cases["pred_ml"] / true).clip(0.0, 1.0)


def trial_scores(tables: StudyTables) -> pd.DataFrame:
    """One row a trial and emptied class, failed trials included: its settings, scores and outcome.

    ``class``; ``retention``: mean over the emptied group's cases with non-empty truth of ``case_retention``;
    ``auc``: of labelled against emptied cases by predicted volume; ``dsc_*``, ``dv_*`` [ml]: means over the
    cases of that class in the emptied group, and in all other groups (labelled), cases without a score left out.
    Where the emptied group is the only one, its classes that are never emptied are the labelled ones: other cases of
    an emptied class look the same to the network, so they are lost in learning empty as in collapse. Without
    such a class the labelled DSC is NaN, and collapse cannot be told.
    ``reference``: the labelled DSC under full labeling that ``outcome`` was judged by.
    Scores are NaN where no case can tell. Without an emptied group there are no rows.
    """
    emptied = tables.emptied
    if emptied is None or not emptied.classes:
        columns = [*tables.trials.columns, "class", *SCORE_COLUMNS]
        return pd.DataFrame(columns=list(dict.fromkeys(columns)))
    parts = [_scores_of_class(tables, emptied.group, class_) for class_ in emptied.classes]
    return pd.concat(parts, ignore_index=True)


def labelled_references(scores: pd.DataFrame, settings: tuple[str, ...]) -> pd.Series[float]:
    """Find the labelled DSC that full labeling reached in each row's circumstances; NaN where it was not trained.

    The highest of the cells' medians under ``full`` that agree in all settings but loss, Φ, ε, labeling and the
    loss's own parameters (full labeling gives the same under any of these); where none agrees, the highest of
    the study.
    """
    loss = ("loss", "phi", "eps", "labeling")
    context = [name for name in settings if name not in loss and not name.startswith("loss.")]
    where = pd.Series(list(zip(*(scores[name].map(str) for name in context), strict=True)), index=scores.index)
    full = scores[(scores["labeling"] == FULL) & scores["dsc_labelled"].notna()]
    if full.empty:
        return pd.Series(np.nan, index=scores.index)
    medians = full.groupby("cell", sort=False)["dsc_labelled"].transform("median")
    highest = medians.groupby(where[full.index], sort=False).max()
    return where.map(highest).astype("float64").fillna(float(medians.max()))


def _scores_of_class(tables: StudyTables, group: str, class_: str) -> pd.DataFrame:
    cases = tables.cases[tables.cases["class"] == class_]
    hidden = cases["group"] == group
    labelled = cases[~hidden] if len(tables.groups) > 1 else _never_emptied(tables)
    scores = tables.trials.copy()
    scores["class"] = class_
    scores["retention"] = _mean_by_trial(scores, cases[hidden]["key"], case_retention(cases[hidden]))
    scores["auc"] = scores["key"].map(_auc_by_trial(cases, ~hidden))
    for name, part in (("labelled", labelled), ("emptied", cases[hidden])):
        scores[f"dsc_{name}"] = _mean_by_trial(scores, part["key"], part["dsc"])
        scores[f"dv_{name}"] = _mean_by_trial(scores, part["key"], part["dv_ml"])
    scores["reference"] = labelled_references(scores, tables.settings)
    verdicts = [
        classify(kept, labelled, reference, partial=is_partial(labeling), failure=None if state == DONE else reason)
        for kept, labelled, reference, labeling, state, reason in zip(
            scores["retention"],
            scores["dsc_labelled"],
            scores["reference"],
            scores["labeling"],
            scores["state"],
            scores["reason"],
            strict=True,
        )
    ]
    scores["outcome"] = pd.Series([str(verdict.outcome) for verdict in verdicts], index=scores.index, dtype=object)
    scores["outcome_reason"] = pd.Series([verdict.reason for verdict in verdicts], index=scores.index, dtype=object)
    return scores


def _never_emptied(tables: StudyTables) -> pd.DataFrame:
    """Cases of the classes that no labeling of the study empties."""
    return tables.cases[~tables.cases["class"].isin(tables.emptied_classes)]


def _mean_by_trial(scores: pd.DataFrame, keys: pd.Series[str], values: pd.Series[float]) -> pd.Series[float]:
    return scores["key"].map(values.groupby(keys, sort=False).mean()).astype("float64")


def _auc_by_trial(cases: pd.DataFrame, labelled: pd.Series[bool]) -> pd.Series[float]:
    """Mann–Whitney within each trial at once: (rank sum of the labelled − n(n + 1)/2) / nm, ties half."""
    seen = cases["pred_ml"].notna()
    keys, labelled = cases["key"][seen], labelled[seen]
    ranks = cases["pred_ml"][seen].groupby(keys, sort=False).rank()
    sums = ranks.where(labelled, 0.0).groupby(keys, sort=False).sum()
    n = labelled.groupby(keys, sort=False).sum()
    m = (~labelled).groupby(keys, sort=False).sum()
    pairs = (n * m).where(n * m > 0)
    return ((sums - n * (n + 1) / 2) / pairs).astype("float64")
