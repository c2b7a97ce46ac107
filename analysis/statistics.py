"""Means with bootstrap intervals, paired tests, AUC and Holm's correction; numbers only.

Scores come from trials (a fold and a seed) and from subjects, and both are drawn from larger populations:
another seed and another patient would have given another mean. So intervals resample both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
"""Level of all intervals: percentiles 2.5 and 97.5."""
RESAMPLES = 1_000
"""Resamples of an interval: its ends then move by about a tenth of its width from one rng to the next."""
SWAPS = 20_000
"""Random swaps of a paired test; a p-value near 0.05 is then known to ±0.003."""
SIGNIFICANT = 0.05
"""p below this is marked as significant."""
FEWEST_SUBJECTS = 6
"""Five pairs can be swapped in 32 ways, so a two-sided p is never below 2/32 = 0.06; six can reach 0.03."""


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` scores with its interval; NaN where there are too few scores to tell."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Resamples:
    """How often each trial, (resample, trial), and each subject, (resample, subject), was drawn."""

    trials: FloatArray
    subjects: FloatArray


def draw_resamples(trials: int, subjects: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Resamples:
    """Draw trials and subjects with replacement, each apart: the pigeonhole bootstrap of two-way data.

    Source: A. B. Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007) 386. It errs on the wide side.
    """
    return Resamples(_draw(trials, rng, resamples), _draw(subjects, rng, resamples))


def bootstrap_mean(
    values: npt.ArrayLike, trials: npt.ArrayLike, subjects: npt.ArrayLike, rng: np.random.Generator
) -> Interval:
    """Mean of scores and its percentile interval by two-way bootstrap over trials and subjects.

    ``values``: one score each; NaN (no score) is left out and not counted. ``trials``, ``subjects``: whose it
    is, any labels. With one trial only the subjects vary, and the interval says nothing about other seeds;
    with one subject only the trials vary; with a single score there is no interval (NaN), with none no mean.
    Two or three trials give intervals that are too narrow: n of them cannot show the spread of all seeds.

    Raises: ValueError if the lengths differ.
    """
    scores = _vector(values)
    trial_codes, trial_count = _codes(trials)
    subject_codes, subject_count = _codes(subjects)
    if not len(scores) == len(trial_codes) == len(subject_codes):
        lengths = f"{len(scores)}, {len(trial_codes)} and {len(subject_codes)}"
        raise ValueError(f"values, trials and subjects must be equally long, got {lengths}")
    drawn = draw_resamples(trial_count, subject_count, rng)
    return resampled_mean(scores, trial_codes, subject_codes, drawn)


def resampled_mean(
    values: npt.NDArray[np.floating], trials: npt.NDArray[np.intp], subjects: npt.NDArray[np.intp], drawn: Resamples
) -> Interval:
    """As ``bootstrap_mean``, with resamples that several scores share; trials and subjects are indices.

    mean* = Σ_ts w_t v_s x_ts / Σ_ts w_t v_s over the scores x that are there, with w and v the counts drawn.
    """
    there = np.isfinite(values)
    values, trials, subjects = values[there], trials[there], subjects[there]
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, np.nan, np.nan, 1)
    shape = (drawn.trials.shape[1], drawn.subjects.shape[1])
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (trials, subjects), values - mean)
    np.add.at(count, (trials, subjects), 1.0)
    weight = ((drawn.trials @ count) * drawn.subjects).sum(axis=1)
    # A resample may hold no score at all (its subjects were tested in folds not drawn): it says nothing.
    some = weight > 0
    shifts = ((drawn.trials @ total) * drawn.subjects).sum(axis=1)[some] / weight[some]
    low, high = percentile_interval(mean + shifts)
    return Interval(mean, low, high, len(values))


def percentile_interval(draws: FloatArray) -> tuple[float, float]:
    """Take the percentile interval of these draws at ``LEVEL``; NaN where there are none. Infinite draws may stand."""
    if not len(draws):
        return np.nan, np.nan
    tail = (1 - LEVEL) / 2
    # Order statistics, not interpolated ones: between −inf and a number nothing can be interpolated.
    low = np.quantile(draws, tail, method="inverted_cdf")
    high = np.quantile(draws, 1 - tail, method="inverted_cdf")
    return float(low), float(high)


def paired_bootstrap(a: npt.ArrayLike, b: npt.ArrayLike, subjects: npt.ArrayLike, rng: np.random.Generator) -> float:
    """Two-sided p for a difference of the means of ``a`` and ``b``, paired by case and swapped by subject.

    Resamples by swapping a and b in whole subjects, each with probability ½, as the released scripts of
    Tilborghs et al. (2023) swap the two settings of a case: p = P(|Σ ±d| ≥ |Σ d|), d the sum of a − b over a
    subject's cases. Swapping is exact under the hypothesis that the setting makes no difference, at any number
    of subjects, where resampling subjects rejects too often when they are few. All 2ⁿ swaps are counted
    where there are no more than ``SWAPS``; else random ones, p = (1 + hits)/(1 + swaps), which is never 0
    (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39).

    A pair with a NaN is left out. Without any pair p is NaN; identical scores give 1. The test speaks of the
    networks at hand: seeds are not resampled.

    Raises: ValueError if the lengths differ.
    """
    first, second = _vector(a), _vector(b)
    codes, _ = _codes(subjects)
    if not len(first) == len(second) == len(codes):
        raise ValueError(f"a, b and subjects must be equally long, got {len(first)}, {len(second)} and {len(codes)}")
    difference = first - second
    there = np.isfinite(difference)
    if not there.any():
        return float("nan")
    sums = np.bincount(codes[there], weights=difference[there])
    sums = sums[np.unique(codes[there])]
    observed = abs(sums.sum())
    # Sums that are equal but for rounding count as equal.
    bar = observed - 1e-12 * np.abs(sums).sum()
    if 2 ** len(sums) <= SWAPS:
        signs = 1.0 - 2.0 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float((np.abs(signs @ sums) >= bar).mean())
    hits = 0
    for start in range(0, SWAPS, 2_000):
        flips = rng.integers(0, 2, size=(min(2_000, SWAPS - start), len(sums)), dtype=np.int8)
        hits += int((np.abs((1.0 - 2.0 * flips) @ sums) >= bar).sum())
    return (1 + hits) / (1 + SWAPS)


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Area under the ROC curve, P(positive > negative) + ½ P(equal): Mann–Whitney's U over n·m.

    NaN are left out; NaN where a side is then empty. ½ tells nothing, 1 tells all.
    """
    above, below = _finite(positive), _finite(negative)
    if not len(above) or not len(below):
        return float("nan")
    ranks = stats.rankdata(np.concatenate([above, below]))[: len(above)].sum()
    return float((ranks - len(above) * (len(above) + 1) / 2) / (len(above) * len(below)))


def resampled_auc(
    volumes: FloatArray,
    positive: npt.NDArray[np.bool_],
    trials: npt.NDArray[np.intp],
    subjects: npt.NDArray[np.intp],
    drawn: Resamples,
) -> Interval:
    """Mean over trials of the AUC within each, with the two-way bootstrap interval; n counts the scores.

    Volumes are ranked within a trial only: networks may differ in scale. A subject drawn k times stands k times.
    """
    there = np.isfinite(volumes)
    count = int(there.sum())
    areas = np.full(drawn.trials.shape[1], np.nan)
    drawn_areas = np.full(drawn.trials.shape, np.nan)
    for trial in np.unique(trials[there]):
        above = there & positive & (trials == trial)
        below = there & ~positive & (trials == trial)
        if not above.any() or not below.any():
            continue
        gap = volumes[above][:, None] - volumes[below][None, :]
        wins = (gap > 0) + 0.5 * (gap == 0)
        areas[trial] = wins.mean()
        left, right = drawn.subjects[:, subjects[above]], drawn.subjects[:, subjects[below]]
        weight = left.sum(axis=1) * right.sum(axis=1)
        won = ((left @ wins) * right).sum(axis=1)
        drawn_areas[:, trial] = np.divide(won, weight, out=np.full_like(won, np.nan), where=weight > 0)
    if np.isnan(areas).all():
        return Interval(np.nan, np.nan, np.nan, count)
    weights = np.where(np.isfinite(drawn_areas), drawn.trials, 0.0)
    total = weights.sum(axis=1)
    some = total > 0
    draws = (weights * np.nan_to_num(drawn_areas)).sum(axis=1)[some] / total[some]
    low, high = percentile_interval(draws) if count > 2 else (np.nan, np.nan)
    return Interval(float(np.nanmean(areas)), low, high, count)


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


def holm(p: Sequence[float] | FloatArray) -> FloatArray:
    """Holm's step-down correction for testing many hypotheses at once; NaN (not tested) stays and counts for none.

    The i-th smallest of m becomes max over j ≤ i of min(1, (m − j + 1) p_j).
    Source: S. Holm, Scand. J. Stat. 6 (1979) 65.
    """
    values = _vector(p)
    adjusted = np.full(len(values), np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * values[order]))
    return adjusted


def _draw(count: int, rng: np.random.Generator, resamples: int) -> FloatArray:
    if count <= 1:
        return np.ones((resamples, count))
    picks = rng.integers(0, count, size=(resamples, count)) + count * np.arange(resamples)[:, None]
    return np.bincount(picks.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def _codes(labels: npt.ArrayLike) -> tuple[npt.NDArray[np.intp], int]:
    listed: list[Any] = np.asarray(labels).tolist()
    seen: dict[Any, int] = {}
    codes = np.array([seen.setdefault(label, len(seen)) for label in listed], dtype=np.intp)
    return codes, len(seen)


def _vector(values: npt.ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64).ravel()


def _finite(values: npt.ArrayLike) -> FloatArray:
    vector = _vector(values)
    return vector[np.isfinite(vector)]
