"""Where retention, as a function of log10 ε at all else fixed, crosses ½: numbers only.

Each trial switches as a whole, from ignoring the emptied maps to learning them, within less than half a decade
of ε, and trials differ in where. So the crossing is a property of the mean over trials, and a coarse grid sees
a step: then all that can be known is the bracket, the two grid points around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.labels import figure
from analysis.statistics import FloatArray, percentile_interval

HALF = 0.5
"""The retention that the transition crosses."""
RESAMPLES = 2_000
"""Resamples of the crossing's interval."""
STEP_SHARE = 0.5
"""If more than this share of the whole drop falls between two neighbouring ε, the step is narrower than the grid."""
SAME_EPS = 6
"""Decimals of log10 ε to which two ε count as one point."""


@dataclass(frozen=True)
class Point:
    """One ε of the scan: log10 ε, the mean retention over its ``n`` trials, and its monotone fit."""

    log10_eps: float
    mean: float
    fitted: float
    n: int


@dataclass(frozen=True)
class Transition:
    """The crossing and its interval in log10 of ε's unit, or the reason why there is none.

    ``crossing`` and ``reason``: exactly one is None. ``low``, ``high``: −inf or inf where the interval leaves
    the range scanned. ``bracket``: the neighbouring points of the scan around the crossing; of several
    crossings, the points around all. ``step``: the drop is narrower than the grid, so the interval holds the
    whole bracket and the place of ``crossing`` inside it is a convention.
    """

    crossing: float | None
    low: float | None
    high: float | None
    reason: str | None
    bracket: tuple[float, float] | None
    points: tuple[Point, ...]
    step: bool = False


def fit_transition(log10_eps: npt.ArrayLike, retention: npt.ArrayLike, rng: np.random.Generator) -> Transition:
    """Fit the ε at which mean retention falls through ½, one value a trial; leave collapsed trials out beforehand.

    The means per ε are fitted by the closest curve that never rises (isotonic regression, weighted by trials),
    and the crossing is interpolated linearly in log10 ε between the two points around ½. No logistic curve is
    fitted: on a grid wider than the step any slope fits it, and its precision would be the formula's own.

    Interval: percentiles of the crossing over resamples of the trials within each ε, where deviations are
    scaled by √(n/(n − 1)), since n trials resampled vary less than n new ones would; it is widened to the
    bracket where the step is narrower than the grid or a point of the bracket has a single trial. Single trials
    do not vary when resampled: with one trial a point the interval is the bracket, and says nothing about seeds.

    Several crossings of the means are reported as such unless at least 5 % of the resamples cross just once.
    Trials with NaN retention are left out.

    Raises: ValueError if the lengths differ, an ε is not finite or a retention lies outside [0, 1].
    """
    x, y = _checked(log10_eps, retention)
    rounded, which = np.unique(np.round(x, SAME_EPS), return_inverse=True)
    counts = np.bincount(which, minlength=len(rounded)).astype(np.float64)
    places = np.asarray(np.bincount(which, weights=x, minlength=len(rounded)) / counts, dtype=np.float64)
    if len(places) < 2:
        points = tuple(Point(float(x0), float(y.mean()), float(y.mean()), len(y)) for x0 in places)
        return Transition(None, None, None, _too_few(points), None, points)
    means = np.bincount(which, weights=y, minlength=len(places)) / counts
    fitted = falling_fit(means, counts)
    points = tuple(
        Point(float(at), float(mean), float(fit), int(n))
        for at, mean, fit, n in zip(places, means, fitted, counts, strict=True)
    )
    draws = _resample(y, which, counts, means, rng)
    reason, around = _no_crossing(places, means, draws)
    if reason is not None:
        return Transition(None, None, None, reason, around, points)
    split = int(_last_above(means[None, :], counts)[0])
    if split in (0, len(places)):
        # The means cross once, but the monotone fit does not: a rise pools with the fall.
        return Transition(None, None, None, _one_sided(places, above=split > 0), None, points)
    crossing = float(_crossings(places, means[None, :], counts)[0])
    low, high = percentile_interval(_crossings(places, draws, counts))
    bracket = (float(places[split - 1]), float(places[split]))
    step = bool(fitted[split - 1] - fitted[split] > STEP_SHARE * (fitted[0] - fitted[-1]))
    low, high = min(low, crossing), max(high, crossing)
    if step or min(counts[split - 1], counts[split]) < 2:
        low, high = min(low, bracket[0]), max(high, bracket[1])
    return Transition(crossing, low, high, None, bracket, points, step)


def falling_fit(means: FloatArray, weights: FloatArray) -> FloatArray:
    """Fit by weighted least squares the curve that never rises: min over a ≤ i of max over b ≥ i of mean(a…b).

    Source: R. E. Barlow et al., Statistical Inference under Order Restrictions (1972).
    """
    total = np.concatenate([[0.0], np.cumsum(weights * means)])
    weight = np.concatenate([[0.0], np.cumsum(weights)])
    count = len(means)
    average = np.full((count, count), -np.inf)
    for start in range(count):
        ends = slice(start + 1, count + 1)
        average[start, start:] = (total[ends] - total[start]) / (weight[ends] - weight[start])
    best_end = np.maximum.accumulate(average[:, ::-1], axis=1)[:, ::-1]
    return np.array([best_end[: i + 1, i].min() for i in range(count)])


def _checked(log10_eps: npt.ArrayLike, retention: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x = np.asarray(log10_eps, dtype=np.float64).ravel()
    y = np.asarray(retention, dtype=np.float64).ravel()
    if len(x) != len(y):
        raise ValueError(f"log10_eps and retention must be equally long, got {len(x)} and {len(y)}")
    there = ~np.isnan(y)
    x, y = x[there], y[there]
    if not np.isfinite(x).all():
        raise ValueError("log10_eps must be finite; leave out trials whose loss has no ε, or an ε of 0")
    if ((y < 0) | (y > 1)).any():
        raise ValueError(f"retention must lie in [0, 1], got {y.min():.3g} to {y.max():.3g}")
    return x, y


def _resample(
    y: FloatArray, which: npt.NDArray[np.intp], counts: FloatArray, means: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Means per ε, (resample, point), of trials drawn with replacement within each ε."""
    draws = np.empty((RESAMPLES, len(means)))
    for point, n in enumerate(counts.astype(int)):
        values = y[which == point]
        picks = values[rng.integers(0, n, size=(RESAMPLES, n))].mean(axis=1)
        scale = np.sqrt(n / (n - 1)) if n > 1 else 1.0
        draws[:, point] = np.clip(means[point] + scale * (picks - means[point]), 0.0, 1.0)
    return draws


def _last_above(means: FloatArray, counts: FloatArray) -> npt.NDArray[np.intp]:
    """How many points of each row's monotone fit lie at or above ½.

    They are the prefix with the largest Σ n (mean − ½): the fit's level sets are those prefixes, so ½ can be
    found without the fit itself.
    """
    sums = np.cumsum(counts * (means - HALF), axis=1)
    sums = np.concatenate([np.zeros((len(means), 1)), sums], axis=1)
    # The longest of equally good prefixes: a mean of exactly ½ has not crossed yet.
    last = sums.shape[1] - 1 - np.argmax((sums >= sums.max(axis=1, keepdims=True) - 1e-12)[:, ::-1], axis=1)
    return np.asarray(last, dtype=np.intp)


def _crossings(places: FloatArray, means: FloatArray, counts: FloatArray) -> FloatArray:
    """Each row's crossing of ½; −inf where its fit lies below throughout, inf where above."""
    splits = _last_above(means, counts)
    crossings = np.where(splits == 0, -np.inf, np.inf)
    for split in np.unique(splits):
        if split in (0, len(places)):
            continue
        rows = splits == split
        before, after = slice(split - 1, None, -1), slice(split, None)
        # The fit beside ½: the lowest mean of any run that ends before it, the highest of any that starts after.
        above = _running(means[rows][:, before], counts[before]).min(axis=1)
        below = _running(means[rows][:, after], counts[after]).max(axis=1)
        share = np.clip((above - HALF) / np.maximum(above - below, 1e-12), 0.0, 1.0)
        crossings[rows] = places[split - 1] + share * (places[split] - places[split - 1])
    return crossings


def _running(means: FloatArray, counts: FloatArray) -> FloatArray:
    return np.asarray(np.cumsum(means * counts, axis=1) / np.cumsum(counts), dtype=np.float64)


def _no_crossing(
    places: FloatArray, means: FloatArray, draws: FloatArray
) -> tuple[str | None, tuple[float, float] | None]:
    """Why the means have no single downward crossing, and the points around what they have instead."""
    above = means >= HALF
    changes = np.flatnonzero(above[1:] != above[:-1])
    if not len(changes):
        return _one_sided(places, above=bool(above[0])), None
    around = float(places[changes[0]]), float(places[changes[-1] + 1])
    if len(changes) == 1:
        if above[0]:
            return None, around
        return f"retention rises through ½ {_between(around)} and never falls", around
    drawn = draws >= HALF
    once = ((drawn[:, 1:] != drawn[:, :-1]).sum(axis=1) == 1) & drawn[:, 0]
    if once.mean() >= 0.05:
        return None, around
    each = [f"{'down' if above[i] else 'up'} {_between((float(places[i]), float(places[i + 1])))}" for i in changes]
    return f"retention crosses ½ {len(changes)} times: {', '.join(each)}", around


def _one_sided(places: FloatArray, *, above: bool) -> str:
    scanned = f"from {eps_text(places[0])} to {eps_text(places[-1])}"
    return f"no crossing in the range scanned: retention stays {'above' if above else 'below'} ½ {scanned}"


def _too_few(points: Sequence[Point]) -> str:
    if not points:
        return "no trial to fit: none has a retention"
    return f"fewer than two ε: only {eps_text(points[0].log10_eps)} was scanned"


def _between(ends: tuple[float, float]) -> str:
    return f"between {eps_text(ends[0])} and {eps_text(ends[1])}"


def eps_text(log10_eps: float) -> str:
    """ε in its own unit, to three digits."""
    return f"ε = {figure(10.0**log10_eps)}" if abs(log10_eps) < 300 else f"ε = 10^{log10_eps:.3g}"
