"""Scores of hard predictions against the full labels: a row per case and class, and their summary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from trainers.data.base import CaseInfo
from trainers.spec import EmptySpec

Metrics = dict[str, float]


@dataclass(frozen=True)
class CaseScore:
    """How one map of one held-out case was predicted.

    dsc: 2|P∩G| / (|P|+|G|), NaN where both are empty; dsc_empty_1: the same, 1 where both are empty;
    volumes [ml]; ``emptied``: the labeling in force would hide this map, which tells it apart from one that
    is rightly empty (``gt_empty``).
    """

    case: str
    subject: str
    group: str
    class_: str
    dsc: float
    dsc_empty_1: float
    dv_ml: float
    pred_ml: float
    true_ml: float
    gt_empty: bool
    emptied: bool
    pred_empty: bool

    def row(self, key: str) -> dict[str, object]:
        """The row of the per-case table, with the trial's key."""
        row = {"key": key, **asdict(self)}
        row["class"] = row.pop("class_")
        return row


def score_case(
    info: CaseInfo,
    classes: Sequence[str],
    overlap: Sequence[int],
    predicted: Sequence[int],
    true: Sequence[int],
    emptied: Sequence[bool],
    voxel_ml: float,
) -> list[CaseScore]:
    """Scores of one case from its voxel counts per class: |P∩G|, |P|, |G|."""
    return [
        CaseScore(
            case=info.case,
            subject=info.subject,
            group=info.group,
            class_=name,
            dsc=2 * o / (p + t) if p + t else math.nan,
            dsc_empty_1=2 * o / (p + t) if p + t else 1.0,
            dv_ml=(p - t) * voxel_ml,
            pred_ml=p * voxel_ml,
            true_ml=t * voxel_ml,
            gt_empty=t == 0,
            emptied=bool(e),
            pred_empty=p == 0,
        )
        for name, o, p, t, e in zip(classes, overlap, predicted, true, emptied, strict=True)
    ]


def mean_dsc(scores: Iterable[CaseScore]) -> Metrics:
    """``dsc.<group>.<class>``: means over the cases of each group; cases empty in both are left out."""
    return _group_means(scores, "dsc")


def summarise(scores: Sequence[CaseScore], empty: EmptySpec) -> Metrics:
    """Final figures of a trial: means per group and class, and what became of the emptied group.

    ``dsc.<group>.<class>``, ``dv_ml.<group>.<class>`` [ml]; where a group has maps of a class that are rightly
    empty, ``dsc_empty_1.<group>.<class>``, in which two empty maps count 1 instead of being left out, and
    ``fp_ml.<group>.<class>``, the mean volume [ml] predicted on those maps; ``retention.<class>``: mean over the
    emptied group of predicted / true volume, clipped to [0, 1]; ``auc.<class>``: chance that a case of another
    group has the larger predicted volume than one of the emptied group, ties counting half.
    """
    empty_maps = [score for score in scores if score.gt_empty]
    touched = {(score.group, score.class_) for score in empty_maps}
    figures = _group_means(scores, "dsc") | _group_means(scores, "dv_ml")
    figures |= _group_means([score for score in scores if (score.group, score.class_) in touched], "dsc_empty_1")
    figures |= {name.replace("pred_ml", "fp_ml"): value for name, value in _group_means(empty_maps, "pred_ml").items()}
    for name in empty.classes:
        rows = [score for score in scores if score.class_ == name]
        emptied = [score for score in rows if score.group == empty.group]
        others = [score.pred_ml for score in rows if score.group != empty.group]
        kept = [min(score.pred_ml / score.true_ml, 1.0) for score in emptied if not score.gt_empty]
        if kept:
            figures[f"retention.{name}"] = float(np.mean(kept))
        if emptied and others:
            u = mannwhitneyu(others, [score.pred_ml for score in emptied], method="asymptotic").statistic
            figures[f"auc.{name}"] = float(u) / (len(others) * len(emptied))
    return figures


def _group_means(scores: Iterable[CaseScore], field: str) -> Metrics:
    values: dict[str, list[float]] = {}
    for score in scores:
        value = getattr(score, field)
        if not math.isnan(value):
            values.setdefault(f"{field}.{score.group}.{score.class_}", []).append(value)
    return {name: float(np.mean(entries)) for name, entries in sorted(values.items())}
