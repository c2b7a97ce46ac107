"""Where retention, as a function of log10 ε at all else fixed, crosses ½: numbers only.

Each trial switches as a whole, from ignoring the emptied maps to learning them, within less than half a decade
of ε, and seeds differ in where. So the crossing is a quantity of the population of seeds, of which a study has a
few, and a coarse grid sees a step: then all that the trials show is the bracket, the two grid points around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.formatting import figure
from analysis.stats.bootstrap import LEVEL, FloatArray
from analysis.transition.curve import Curve, fit_curve

HALF = 0.5
"""The retention that the transition crosses."""
RESAMPLES = 1_000
"""Resamples of the trials, to tell several crossings from noise."""
ONCE = 0.05
"""If at least this share of the resamples crosses once, a rise in between is taken for noise."""
STEP_SHARE = 0.75
"""If more than this share of the whole drop falls between two neighbouring ε, the step is narrower than the grid."""
STEP_SHARE_OF_ALL = 0.5
"""The same where every seed crosses between these two: then a line between them is all that places it inside."""
FEW_UNITS = 2
"""Two seeds that switch between the same two ε do not show how far seeds spread: the interval goes on to the next."""
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
    whole bracket and the place of ``crossing`` inside it is a convention. ``units``: how many seeds (and folds) the
    interval rests on; with one it is the bracket, and says nothing about other seeds.
    """

    crossing: float | None
    low: float | None
    high: float | None
    reason: str | None
    bracket: tuple[float, float] | None
    points: tuple[Point, ...]
    step: bool = False
    units: int = 0
    curve: Curve | None = None


def fit_transition(
    log10_eps: npt.ArrayLike,
    retention: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    units: npt.ArrayLike | None = None,
    resampled: npt.ArrayLike | None = None,
) -> Transition:
    """Fit the ε at which mean retention falls through ½, one value a trial; leave collapsed trials out beforehand.

    The means per ε are fitted by the closest curve that never rises (isotonic regression, weighted by trials),
    and the crossing is interpolated linearly in log10 ε between the two points around ½.

    ``units``: whose trial each is (its fold and seed); without, the i-th trial of every ε is one unit: seeds come in
    the same order, and trials that have nothing in common may be joined in any way. ``resampled``: (resample, trial),
    the retention of each trial on resampled subjects.

    Interval: each unit has a crossing of its own, found alike; mean ± t √(s²/n + v), s their standard deviation, n
    their number, t of n − 1 degrees of freedom, v the variance of the mean over the resampled subjects. So seeds may
    differ in where they switch, as those of the same seed at several ε do, or trials at each ε anew. It is widened
    to the bracket where the step is narrower than the grid, and to the points beside it where no more than
    ``FEW_UNITS`` say so. Units that do not cross count as half a gap beyond the scan, and open that end.

    Several crossings of the means are reported as such unless ``ONCE`` of the resamples of trials within each ε
    cross just once. Trials with NaN retention are left out.

    Raises: ValueError if the lengths differ, an ε is not finite or a retention lies outside [0, 1].
    """
    x, y, unit, drawn = _checked(log10_eps, retention, units, resampled)
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
    reason, around = _no_crossing(places, means, _resample(y, which, counts, means, rng))
    if reason is not None:
        return Transition(None, None, None, reason, around, points)
    split = int(_last_above(means[None, :], counts)[0])
    if split in (0, len(places)):
        # The means cross once, but the monotone fit does not: a rise pools with the fall.
        return Transition(None, None, None, _one_sided(places, above=split > 0), None, points)
    crossing = float(_crossings(places, means[None, :], counts)[0])
    bracket = (float(places[split - 1]), float(places[split]))
    codes = _in_order(which) if unit is None else np.unique(unit, return_inverse=True)[1]
    each = _unit_crossings(places, split, which, codes, np.vstack([y[None, :], drawn]))
    n = each.shape[1]
    together = n >= FEW_UNITS and bool(((each[0] >= bracket[0]) & (each[0] <= bracket[1])).all())
    share = STEP_SHARE_OF_ALL if together else STEP_SHARE
    step = bool(fitted[split - 1] - fitted[split] > share * (fitted[0] - fitted[-1]))
    low, high = _interval(places, each) if n >= FEW_UNITS else bracket
    low, high = min(low, crossing), max(high, crossing)
    if step or n < FEW_UNITS:
        beyond = int(n == FEW_UNITS)
        low = min(low, float(places[split - 1 - beyond]) if split - 1 - beyond >= 0 else -np.inf)
        high = max(high, float(places[split + beyond]) if split + beyond < len(places) else np.inf)
    curve = fit_curve(x, y, bracket, step=step)
    low = low if low >= places[0] else -np.inf
    high = high if high <= places[-1] else np.inf
    return Transition(crossing, low, high, None, bracket, points, step, n, curve)


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


def _unit_crossings(
    places: FloatArray,
    split: int,
    which: npt.NDArray[np.intp],
    units: npt.NDArray[np.intp],
    values: FloatArray,
) -> FloatArray:
    """Where each unit crosses by each row of values, (row, unit); −inf below the scan, inf above.

    Only the units that were trained on both sides of the mean's crossing: the others cannot tell.
    """
    observed = np.zeros((units.max() + 1, len(places)))
    np.add.at(observed, (units, which), 1.0)
    telling = np.flatnonzero(observed[:, :split].any(axis=1) & observed[:, split:].any(axis=1))
    sums = np.zeros((*observed.shape, len(values)))
    np.add.at(sums, (units, which), values.T)
    each = np.empty((len(values), len(telling)))
    for column, unit in enumerate(telling):
        seen = observed[unit] > 0
        own = _interpolated(places, places[seen], (sums[unit, seen] / observed[unit, seen, None]).T)
        each[:, column] = _crossings(places, own, np.ones(len(places)))
    return each


def _interval(places: FloatArray, each: FloatArray) -> tuple[float, float]:
    """Interval of the mean over units, (row, unit): the first row as scored, the others on resampled subjects."""
    open_low, open_high = bool(np.isneginf(each[0]).any()), bool(np.isposinf(each[0]).any())
    beyond_low, beyond_high = places[0] - (places[1] - places[0]) / 2, places[-1] + (places[-1] - places[-2]) / 2
    each = np.clip(each, beyond_low, beyond_high)
    n = each.shape[1]
    of_subjects = each[1:].mean(axis=1).var(ddof=1) if len(each) > 2 else 0.0
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(each[0].var(ddof=1) / n + of_subjects)
    middle = float(each[0].mean())
    return -np.inf if open_low else middle - half, np.inf if open_high else middle + half


def _interpolated(places: FloatArray, seen: FloatArray, values: FloatArray) -> FloatArray:
    """Fill in the points that a unit lacks, (row, point), linearly from its own around them."""
    right = np.clip(np.searchsorted(seen, places), 1, max(len(seen) - 1, 1))
    left = right - 1
    share = np.clip((places - seen[left]) / (seen[right] - seen[left]), 0.0, 1.0)
    return np.asarray(values[:, left] * (1 - share) + values[:, right] * share, dtype=np.float64)


def _in_order(which: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Number the trials of each ε in the order in which they came."""
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], which[order])
    numbers = np.empty(len(which), dtype=np.intp)
    numbers[order] = np.arange(len(which)) - starts
    return numbers


def _checked(
    log10_eps: npt.ArrayLike, retention: npt.ArrayLike, units: npt.ArrayLike | None, resampled: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.str_] | None, FloatArray]:
    x = np.asarray(log10_eps, dtype=np.float64).ravel()
    y = np.asarray(retention, dtype=np.float64).ravel()
    if len(x) != len(y):
        raise ValueError(f"log10_eps and retention must be equally long, got {len(x)} and {len(y)}")
    unit = None if units is None else np.asarray(units).astype(str).ravel()
    drawn = np.empty((0, len(y))) if resampled is None else np.asarray(resampled, dtype=np.float64)
    if unit is not None and len(unit) != len(y):
        raise ValueError(f"units must name one unit a trial, got {len(unit)} for {len(y)} trials")
    if drawn.ndim != 2 or drawn.shape[1] != len(y):
        raise ValueError(f"resampled must be (resample, trial), got {drawn.shape} for {len(y)} trials")
    there = ~np.isnan(y)
    x, y, unit, drawn = x[there], y[there], unit if unit is None else unit[there], drawn[:, there]
    if not np.isfinite(x).all():
        raise ValueError("log10_eps must be finite; leave out trials whose loss has no ε, or an ε of 0")
    if ((y < 0) | (y > 1)).any():
        raise ValueError(f"retention must lie in [0, 1], got {y.min():.3g} to {y.max():.3g}")
    # A resample without any subject of a trial says nothing about it: the trial keeps its score there.
    return x, y, unit, np.where(np.isnan(drawn), y, drawn)


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
    if once.mean() >= ONCE:
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
