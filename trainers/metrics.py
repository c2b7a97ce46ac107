"""Scores of hard predictions against the full labels: a row per case and class, and their summary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from trainers.data.base import CaseInfo
from trainers.metric_names import metric_name
from trainers.spec import EmptySpec

Metrics = dict[str, float]


@dataclass(frozen=True)
class CaseScore:
    """How one map of one held-out case was predicted.

    dsc: 2|P∩G| / (|P|+|G|) of a drawn map, NaN where the true map is empty. Two conventions for rightly empty maps
    stand beside it, both 0 where any voxel is predicted: ``dsc_empty_missing`` is NaN where both maps are empty,
    ``dsc_empty_1`` is 1 there. Volumes [ml]. ``pred_empty``: no more is predicted than the trial's tolerance
    (``ProtocolSpec.tolerance_ml``, 0 unless said). ``emptied``: the labeling in force would hide this map, which
    tells it apart from one that is rightly empty (``gt_empty``).
    """

    case: str
    subject: str
    group: str
    class_: str
    dsc: float
    dsc_empty_missing: float
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
    tolerance_ml: float = 0.0,
) -> list[CaseScore]:
    """Scores of one case from its voxel counts per class: |P∩G|, |P|, |G|."""
    return [
        CaseScore(
            case=info.case,
            subject=info.subject,
            group=info.group,
            class_=name,
            dsc=2 * o / (p + t) if t else math.nan,
            dsc_empty_missing=2 * o / (p + t) if p + t else math.nan,
            dsc_empty_1=2 * o / (p + t) if p + t else 1.0,
            dv_ml=(p - t) * voxel_ml,
            pred_ml=p * voxel_ml,
            true_ml=t * voxel_ml,
            gt_empty=t == 0,
            emptied=bool(e),
            pred_empty=p * voxel_ml <= tolerance_ml,
        )
        for name, o, p, t, e in zip(classes, overlap, predicted, true, emptied, strict=True)
    ]


def mean_dsc(scores: Iterable[CaseScore]) -> Metrics:
    """``dsc.<group>.<class>``: means over the cases of each group; only drawn maps count."""
    return _group_means(scores, "dsc")


def summarise(scores: Sequence[CaseScore], empty: EmptySpec) -> Metrics:
    """Final figures of a trial: means per group and class, and what became of the emptied group.

    ``dsc.<group>.<class>``, over drawn maps alone; ``dv_ml.<group>.<class>`` [ml]. Where a group has maps of a class
    that are rightly empty: ``specificity.<group>.<class>``, the share of these that is predicted empty;
    ``fp_ml.<group>.<class>``, the mean volume [ml] predicted on them; and, by the two other conventions of
    ``CaseScore``, ``dsc_empty_missing.<group>.<class>`` and ``dsc_empty_1.<group>.<class>``. Where a class has rightly
    empty maps in any group, detection with the case as unit: ``sensitivity.<group>.<class>``, the share of drawn maps
    that is not predicted empty, and ``detection_auc.<class>``, the chance that a drawn map has the larger predicted
    volume than a rightly empty one, ties counting half. Sensitivity and specificity are those of Metrics Reloaded's
    image-level classification (Maier-Hein et al., Nature Methods 2024), with predicted volume as the score; as it
    recommends, DSC is not taken of empty references. ``retention.<class>``: mean over the
    emptied group of predicted / true volume, clipped to [0, 1]; ``auc.<class>``: chance that a case of another
    group has the larger predicted volume than one of the emptied group, ties counting half. Groups and classes are
    spelled as ``trainers.metric_names`` does.
    """
    empty_maps = [score for score in scores if score.gt_empty]
    touched = {(score.group, score.class_) for score in empty_maps}
    figures = _group_means(scores, "dsc") | _group_means(scores, "dv_ml")
    with_empty = [score for score in scores if (score.group, score.class_) in touched]
    figures |= _group_means(with_empty, "dsc_empty_missing") | _group_means(with_empty, "dsc_empty_1")
    figures |= _detection(scores)
    figures |= {name.replace("pred_ml", "fp_ml"): value for name, value in _group_means(empty_maps, "pred_ml").items()}
    for name in empty.classes:
        rows = [score for score in scores if score.class_ == name]
        emptied = [score for score in rows if score.group == empty.group]
        others = [score.pred_ml for score in rows if score.group != empty.group]
        kept = [min(score.pred_ml / score.true_ml, 1.0) for score in emptied if not score.gt_empty]
        if kept:
            figures[metric_name("retention", name)] = float(np.mean(kept))
        if emptied and others:
            figures[metric_name("auc", name)] = _auc(others, [score.pred_ml for score in emptied])
    return figures


def _auc(larger: Sequence[float], smaller: Sequence[float]) -> float:
    u = mannwhitneyu(larger, smaller, method="asymptotic").statistic
    return float(u) / (len(larger) * len(smaller))


def _detection(scores: Sequence[CaseScore]) -> Metrics:
    """Specificity and sensitivity by group, and the AUC over volume, of each class that has rightly empty maps."""
    found: dict[str, list[bool]] = {}
    figures: Metrics = {}
    for class_ in sorted({score.class_ for score in scores if score.gt_empty}):
        rows = [score for score in scores if score.class_ == class_]
        for score in rows:
            name = "specificity" if score.gt_empty else "sensitivity"
            right = score.pred_empty == score.gt_empty
            found.setdefault(metric_name(name, score.group, class_), []).append(right)
        drawn, empty = ([score.pred_ml for score in rows if score.gt_empty == kind] for kind in (False, True))
        if drawn:
            figures[metric_name("detection_auc", class_)] = _auc(drawn, empty)
    return figures | {name: float(np.mean(entries)) for name, entries in sorted(found.items())}


def _group_means(scores: Iterable[CaseScore], field: str) -> Metrics:
    values: dict[str, list[float]] = {}
    for score in scores:
        value = getattr(score, field)
        if not math.isnan(value):
            values.setdefault(metric_name(field, score.group, score.class_), []).append(value)
    return {name: float(np.mean(entries)) for name, entries in sorted(values.items())}
