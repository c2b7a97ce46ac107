"""ROC curves and the area under them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.stats.bootstrap import FloatArray, Interval, Resamples, _alike, _finite, _intervals, _vector


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Area under the ROC curve, P(positive > negative) + ½ P(equal): Mann–Whitney's U over n·m.

    NaN are left out; NaN where a side is then empty. ½ tells nothing, 1 tells all.
    """
    above, below = _finite(positive), _finite(negative)
    if not len(above) or not len(below):
        return float("nan")
    ranks = stats.rankdata(np.concatenate([above, below]))[: len(above)].sum()
    return float((ranks - len(above) * (len(above) + 1) / 2) / (len(above) * len(below)))


def resampled_aucs(
    volumes: FloatArray,
    positive: npt.NDArray[np.bool_],
    subjects: npt.NDArray[np.intp],
    members: Sequence[npt.NDArray[np.intp]],
    drawn: Resamples,
) -> list[Interval]:
    """Mean over a cell's trials of the AUC within each, with the two-way bootstrap interval; n counts the scores.

    volumes: (trial, case); positive, subjects: of each case; members: trials of each cell. Volumes are ranked
    within a trial only: networks may differ in scale. A subject drawn k times stands k times.
    """
    seen = np.isfinite(volumes)
    areas = np.full(len(volumes), np.nan)

    def draws(rows: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """The AUC of these trials on the subjects drawn, (trial, resample), and whether there is one."""
        won, there = np.zeros((2, len(rows), len(drawn.subjects)))
        for same, columns in _alike(seen[rows]):
            above, below = columns[positive[columns]], columns[~positive[columns]]
            if not len(above) or not len(below):
                continue
            left, right = drawn.subjects[:, subjects[above]].T, drawn.subjects[:, subjects[below]].T
            weight = left.sum(axis=0) * right.sum(axis=0)
            gap = volumes[np.ix_(rows[same], below)][:, :, None] - volumes[np.ix_(rows[same], above)][:, None, :]
            wins = (gap < 0) + 0.5 * (gap == 0)
            areas[rows[same]] = wins.mean(axis=(1, 2))
            for row, own in zip(same, wins, strict=True):
                won[row] = ((own @ left) * right).sum(axis=0)
            won[same] /= np.maximum(weight, 1.0)
            there[same] = weight > 0
        return won, there

    n = np.array([int(seen[rows].sum()) for rows in members])
    found = _intervals(members, [np.nan] * len(members), n, draws, drawn, fewest=2)
    return [
        Interval(
            float(np.nanmean(areas[rows])) if np.isfinite(areas[rows]).any() else np.nan,
            *((each.low, each.high) if each.n > 2 else (np.nan, np.nan)),
            each.n,
        )
        for each, rows in zip(found, members, strict=True)
    ]


def roc_curve(positive: npt.ArrayLike, negative: npt.ArrayLike, rates: npt.ArrayLike) -> FloatArray:
    """Read the true positive rate at each false positive rate, linear between the thresholds; NaN without cases."""
    above, below = _finite(positive), _finite(negative)
    grid = _vector(rates)
    if not len(above) or not len(below):
        return np.full(len(grid), np.nan)
    thresholds = np.unique(np.concatenate([above, below]))[::-1]
    false = np.concatenate([[0.0], (below[None, :] >= thresholds[:, None]).mean(axis=1)])
    true = np.concatenate([[0.0], (above[None, :] >= thresholds[:, None]).mean(axis=1)])
    return np.asarray(np.interp(grid, false, true), dtype=np.float64)
