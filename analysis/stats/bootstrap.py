"""Means with bootstrap intervals, paired tests, AUC and Holm's correction; numbers only.

Scores come from trials (a fold and a seed) and from subjects, and both are drawn from larger populations:
another seed and another patient would have given another mean. So intervals resample both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]

SEED = 0
"""Of all that an answer draws: the same study gives the same answers."""
LEVEL = 0.95
"""Level of all intervals: percentiles 2.5 and 97.5."""
RESAMPLES = 1_000
"""Resamples of an interval: its ends then move by about a tenth of its width from one rng to the next."""
SUBJECT_RESAMPLES = 200
"""Resamples of subjects where only a variance is taken from them."""
BLOCK = 256
"""Trials whose resamples are in memory at a time."""


def seeded() -> np.random.Generator:
    """The numbers that each answer draws."""
    return np.random.default_rng(SEED)


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` scores with its interval; NaN where there are too few scores to tell."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Resamples:
    """How often each subject, (resample, subject), was drawn, and each of n trials, (resample, trial) by n."""

    subjects: FloatArray
    trials: Mapping[int, FloatArray]


def draw_resamples(
    trials: Iterable[int], subjects: int, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Resamples:
    """Draw trials and subjects with replacement, each apart: the pigeonhole bootstrap of two-way data.

    ``trials``: the numbers of trials that cells have; cells with as many share their resamples.
    Source: A. B. Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007) 386. It errs on the wide side.
    """
    of_subjects = _draw(subjects, rng, resamples)
    return Resamples(of_subjects, {count: _draw(count, rng, resamples) for count in sorted(set(trials))})


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
    spread = np.full((trial_count, len(scores)), np.nan)
    spread[trial_codes, np.arange(len(scores))] = scores
    drawn = draw_resamples([trial_count], subject_count, rng)
    return resampled_means(spread, subject_codes, [np.arange(trial_count)], drawn)[0]


def resampled_means(
    values: FloatArray,
    subjects: npt.NDArray[np.intp],
    members: Sequence[npt.NDArray[np.intp]],
    drawn: Resamples,
) -> list[Interval]:
    """As ``bootstrap_mean`` for many cells at once. values: (trial, case); subjects: of each case; members: trials.

    mean* = Σ_ts w_t v_s x_ts / Σ_ts w_t v_s over the scores x that are there, with w and v the counts drawn.
    """
    count, total = np.isfinite(values).sum(axis=1), np.nansum(values, axis=1)
    n = np.array([int(count[rows].sum()) for rows in members])
    means = [float(total[rows].sum() / k) if k else np.nan for rows, k in zip(members, n, strict=True)]

    def draws(rows: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        return _drawn_sums(values[rows], subjects, drawn)

    return _intervals(members, means, n, draws, drawn, fewest=2)


def resampled_rows(values: FloatArray, subjects: npt.NDArray[np.intp], drawn: Resamples) -> FloatArray:
    """Mean of each row on the subjects drawn, (resample, row); NaN where none of its subjects was.

    values: (row, case); subjects: of each case.
    """
    sums, weight = _drawn_sums(values, subjects, drawn)
    return np.divide(sums, weight, out=np.full_like(sums, np.nan), where=weight > 0).T


def wilson(hits: int, n: int) -> tuple[float, float, float]:
    """Share of hits among n, with Wilson's interval at ``LEVEL``; NaN without any n.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209. It holds for few trials and for shares of 0 and 1.
    """
    if not n:
        return np.nan, np.nan, np.nan
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * float(np.sqrt(hits * (n - hits) / n + z * z / 4))
    return hits / n, max(0.0, middle - half), min(1.0, middle + half)


def _drawn_sums(values: FloatArray, subjects: npt.NDArray[np.intp], drawn: Resamples) -> tuple[FloatArray, FloatArray]:
    """Σ_s v_s x_ts and Σ_s v_s over the scores that each row t has, (row, resample)."""
    seen = np.isfinite(values)
    if seen.all():  # as it mostly is: nothing to be told apart
        times = drawn.subjects[:, subjects]
        sums = values @ times.T
        return sums, np.broadcast_to(times.sum(axis=1), sums.shape)
    sums, weight = np.zeros((2, len(values), len(drawn.subjects)))
    for same, columns in _alike(seen):
        times = drawn.subjects[:, subjects[columns]]
        sums[same] = values[same][:, columns] @ times.T
        weight[same] = times.sum(axis=1)
    return sums, weight


def _intervals(
    members: Sequence[npt.NDArray[np.intp]],
    means: Sequence[float],
    n: npt.NDArray[np.intp],
    draws: Callable[[npt.NDArray[np.intp]], tuple[FloatArray, FloatArray]],
    drawn: Resamples,
    fewest: int,
) -> list[Interval]:
    """Percentile interval of Σ_t w_t a_t / Σ_t w_t b_t per cell; ``draws`` gives a and b, (trial, resample).

    Cells are taken in blocks of as many trials as fit the processor's cache.
    """
    found = [Interval(mean, np.nan, np.nan, int(k)) for mean, k in zip(means, n, strict=True)]
    by_size: dict[int, list[int]] = {}
    for cell, rows in enumerate(members):
        if n[cell] >= fewest:
            by_size.setdefault(len(rows), []).append(cell)
    for size, cells in by_size.items():
        block, times = max(1, BLOCK // size), drawn.trials[size].T
        for start in range(0, len(cells), block):
            chosen = cells[start : start + block]
            a, b = draws(np.concatenate([members[cell] for cell in chosen]))
            shape = (len(chosen), size, -1)
            sums, weight = (a.reshape(shape) * times).sum(axis=1), (b.reshape(shape) * times).sum(axis=1)
            # A resample may hold no score at all (its subjects were tested in folds not drawn): it says nothing.
            ratio = np.divide(sums, weight, out=np.full_like(sums, np.nan), where=weight > 0)
            for cell, low, high in zip(chosen, *_percentiles(ratio), strict=True):
                found[cell] = Interval(means[cell], float(low), float(high), int(n[cell]))
    return found


def _alike(seen: npt.NDArray[np.bool_]) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Group rows that have scores in the same columns: the rows, and the columns; rows without any are left out."""
    patterns, which = np.unique(seen, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            yield np.flatnonzero(which.ravel() == number), np.flatnonzero(pattern)


def percentile_interval(draws: FloatArray) -> tuple[float, float]:
    """Take the percentile interval of these draws at ``LEVEL``; NaN where there are none. Infinite draws may stand."""
    if not len(draws):
        return np.nan, np.nan
    low, high = _percentiles(np.asarray(draws, dtype=np.float64)[None, :])
    return float(low[0]), float(high[0])


def _percentiles(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Take the interval of every row, NaN left out: order statistics, as nothing lies between −inf and a number."""
    ranked = np.sort(draws, axis=1)  # NaN at the end
    n = (~np.isnan(draws)).sum(axis=1)
    tail = (1 - LEVEL) / 2
    ends = [
        np.take_along_axis(ranked, np.clip(np.ceil(share * n).astype(int) - 1, 0, None)[:, None], axis=1)[:, 0]
        for share in (tail, 1 - tail)
    ]
    return ends[0], ends[1]


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
