"""Where the next trials tell most about a crossing, and what those that are over say of it: numbers only.

The model: at all else fixed, each trial ignores the emptied maps below a place t of its own and learns them above
it, x = log10 ε; places of trials scatter as N(μ, s²), and μ is the crossing. A trial at x is then seen to

    ignore      with Φ((μ − x − h) / s)        h: half the width of one trial's own switch
    learn empty with Φ((x − h − μ) / s)
    lie between with what is left

and with a small chance it does anything, whatever x is. A collapsed trial says nothing of the side it is on. The
posterior of μ and s is kept on a grid; every trial counts for itself, so no seed should come twice in a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis.outcomes import IGNORES_FROM, LEARNS_EMPTY_TO
from analysis.stats.bootstrap import LEVEL, FloatArray

STEP = 0.05
"""Decades between two places of the grid."""
SPREADS = np.array([0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7])
"""s [decades]: generated brains showed 0.15 to 0.3 between seeds; wider ones leave room for other data."""
SPREAD_WEIGHTS = np.array([0.02, 0.08, 0.18, 0.26, 0.26, 0.14, 0.06])
HALF_SWITCH = 0.08
"""h [decades]: one trial falls from 0.7 to 0.3 of its retention within about this on both sides."""
LAPSE = 0.02
"""Chance of an outcome that has nothing to do with ε, such as a run that ends half collapsed."""
PRIOR_SCALE = 1.0
"""Decades around the predicted crossing that hold half of the prior; its tails are Cauchy's."""
PRIOR_FLOOR = 0.15
"""Share of the prior that is even over the whole range, whatever was predicted."""

NEAR = 0.3
"""Decades around an ε in which collapses are counted for it."""

IGNORED, MIXED, LEARNT, LOST = range(4)
"""What a trial was seen to do; LOST: collapsed, diverged or failed, which tells of no side."""
Codes = npt.NDArray[np.intp]


def code_of(retention: float, *, lost: bool = False) -> int:
    """What a trial did, by its retention."""
    if lost or not 0.0 <= retention <= 1.0:
        return LOST
    return IGNORED if retention >= IGNORES_FROM else LEARNT if retention <= LEARNS_EMPTY_TO else MIXED


@dataclass(frozen=True)
class Located:
    """The crossing in log10 ε with its 95 % interval; ``inside``: the chance that it lies in the range at all."""

    crossing: float
    low: float
    high: float
    inside: float
    n: int

    @property
    def width(self) -> float:
        """Decades from end to end."""
        return self.high - self.low


class Posterior:
    """What is known of one slice: weights over places of the crossing and spreads, (place, spread), summing to 1."""

    def __init__(self, low: float, high: float, predicted: float | None = None) -> None:
        """``low``, ``high``: log10 of the range of ε; ``predicted``: of the expected crossing, None without."""
        self.low, self.high = low, high
        # A decade beyond each end: a crossing outside the range is a finding of its own.
        count = round((high - low + 2) / STEP) + 1
        self.places = np.linspace(low - 1, high + 1, count)
        self.weights = prior_of(self.places, predicted)[:, None] * SPREAD_WEIGHTS[None, :]
        self.n = 0
        self._seen: list[tuple[float, float]] = []

    def see(self, log10_eps: float, code: int) -> None:
        """Take in one trial."""
        self._seen.append((log10_eps, float(code == LOST)))
        if code == LOST:
            return
        self.weights = self.weights * self.chances(np.array([log10_eps]))[0, code]
        self.weights /= self.weights.sum()
        self.n += 1

    def locate(self) -> Located:
        """The median and the shortest interval that holds ``LEVEL`` of the posterior."""
        over = self.weights.sum(axis=1)
        sums, edges = _cumulated(self.places, over)
        inside = float(over[(self.places >= self.low) & (self.places <= self.high)].sum())
        middle = float(np.interp(0.5, sums, edges))
        return Located(middle, *_shortest(sums, edges), inside, self.n)

    def candidates(self) -> FloatArray:
        """Places of ε inside the range that are worth asking: between the posterior's outer quantiles."""
        sums = np.cumsum(self.weights.sum(axis=1))
        first, last = np.searchsorted(sums, [0.005, 0.995])
        inside = self.places[max(first - 2, 0) : last + 3]
        inside = inside[(inside >= self.low) & (inside <= self.high)]
        if not len(inside):
            return np.array([self.low, self.high])
        return np.asarray(inside[:: max(1, len(inside) // 48)], dtype=np.float64)

    def support(self) -> slice:
        """The places that hold all but a hundred-thousandth of the posterior at either end."""
        sums = np.cumsum(self.weights.sum(axis=1))
        first, last = np.searchsorted(sums, [1e-5, 1 - 1e-5])
        return slice(int(first), int(last) + 1)

    def loss_rate(self, log10_eps: FloatArray) -> FloatArray:
        """Share of trials near each ε that collapsed or diverged, drawn to a tenth of one."""
        if not self._seen:
            return np.full(len(log10_eps), 0.1)
        x, lost = np.array(self._seen).T
        near = np.abs(log10_eps[:, None] - x[None, :]) <= NEAR
        return np.asarray((near @ lost + 0.1) / (near.sum(axis=1) + 1), dtype=np.float64)

    def chances(self, x: FloatArray) -> FloatArray:
        """Chances of each outcome at each ε under each place and spread, (ε, outcome, place, spread)."""
        z = (self.places[None, :, None] - x[:, None, None]) / SPREADS[None, None, :]
        h = HALF_SWITCH / SPREADS[None, None, :]
        ignores, learns = ndtr(z - h), ndtr(-z - h)
        seen = np.stack([ignores, np.maximum(1 - ignores - learns, 0.0), learns], axis=1)
        return np.asarray((1 - LAPSE) * seen + LAPSE / 3, dtype=np.float64)


def _cumulated(places: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The weights up to each edge between two places, and those edges."""
    edges = np.concatenate([places - STEP / 2, [places[-1] + STEP / 2]])
    return np.concatenate([[0.0], np.cumsum(weights)]), edges


def _shortest(sums: FloatArray, edges: FloatArray) -> tuple[float, float]:
    """The ends of the shortest interval that holds ``LEVEL``."""
    ends = np.interp(np.minimum(sums + LEVEL, 1.0), sums, edges)
    ends[sums + LEVEL > 1.0 + 1e-12] = np.inf
    start = int(np.argmin(ends - edges))
    return float(edges[start]), float(ends[start])


def prior_of(places: FloatArray, predicted: float | None) -> FloatArray:
    """Weights of the places before any trial: a Cauchy about the prediction over an even floor, or even."""
    even = np.full(len(places), 1.0 / len(places))
    if predicted is None:
        return even
    peak = 1.0 / (1.0 + ((places - predicted) / PRIOR_SCALE) ** 2)
    return np.asarray(PRIOR_FLOOR * even + (1 - PRIOR_FLOOR) * peak / peak.sum(), dtype=np.float64)


def choose(posterior: Posterior, pending: Sequence[float] = ()) -> tuple[float, float]:
    """The ε [log10] that tells most beside the ``pending`` ones, and the bits it is expected to tell.

    What the pending trials will have told is not known, so the gain is the mean over their likely outcomes, each
    taken in as if it had been seen: trials that are asked at once spread by themselves.
    """
    places = posterior.candidates()
    kept = posterior.support()
    chances = posterior.chances(places)[:, :, kept]
    measure = _narrowing if posterior.locate().width <= NARROW else _gains
    gains = np.mean([measure(chances, weights[kept]) for weights in _suppose(posterior, pending)], axis=0)
    # A trial that collapses tells nothing.
    gains = gains * (1 - posterior.loss_rate(places))
    best = int(np.argmax(gains))
    return float(places[best]), float(gains[best])


NARROW = 1.5
"""Decades of the interval under which the next trial is to narrow it, rather than to tell the most bits about μ:
at the middle every trial tells as much, but those beside it show how far trials scatter, which sets its ends."""
TIE = 0.1
"""How much the bits count beside the narrowing, whose steps are those of the grid."""


def _gains(chances: FloatArray, weights: FloatArray) -> FloatArray:
    """Bits about the crossing that one trial at each ε is expected to tell: the information I(outcome; μ)."""
    joint = np.einsum("aops,ps->aop", chances, weights, optimize=True)
    return _information(joint, weights.sum(axis=1))


def _narrowing(chances: FloatArray, weights: FloatArray) -> FloatArray:
    """The same in octaves of the central interval's width, as expected after one trial at each ε."""
    joint = np.einsum("aops,ps->aop", chances, weights, optimize=True)
    total, over = joint.sum(axis=2), weights.sum(axis=1)
    sums = np.cumsum(joint, axis=2) / total[:, :, None]
    after = (total * _central(sums)).sum(axis=1) / total.sum(axis=1)
    before = _central(np.cumsum(over) / over.sum())
    return np.asarray(np.log2(before / after) + TIE * _information(joint, over), dtype=np.float64)


def _central(sums: FloatArray) -> FloatArray:
    """Width [steps] between the outer quantiles of cumulated weights."""
    tail = (1 - LEVEL) / 2
    return np.asarray((sums < 1 - tail).sum(axis=-1) - (sums < tail).sum(axis=-1) + 1, dtype=np.float64)


def _information(joint: FloatArray, over: FloatArray) -> FloatArray:
    return np.asarray(
        _bits(joint.sum(axis=2)).sum(axis=1) - _bits(joint).sum(axis=(1, 2)) + _bits(over).sum(), dtype=np.float64
    )


def _bits(chance: FloatArray) -> FloatArray:
    """−p log2 p."""
    return np.asarray(-chance * np.log2(np.maximum(chance, 1e-300)), dtype=np.float64)


SUPPOSED = 24
"""Draws of what the pending trials will have told."""


def chance_to_place(posterior: Posterior, pending: Sequence[float], precision: float) -> float:
    """How likely the interval is at most ``precision`` [decades] wide once the pending trials are over."""
    ends = [_shortest(*_cumulated(posterior.places, weights.sum(axis=1))) for weights in _suppose(posterior, pending)]
    return float(np.mean([high - low <= precision for low, high in ends]))


def _suppose(posterior: Posterior, pending: Sequence[float]) -> FloatArray:
    """The weights after the pending trials, (draw, place, spread): their outcomes drawn from what is known.

    Each draw takes a place and a spread from the posterior, evenly over its weights, and outcomes that follow from
    them. The same trials give the same draws.
    """
    weights: FloatArray = posterior.weights
    if not len(pending):
        return weights[None]
    rng = np.random.default_rng([posterior.n, len(pending)])
    even = (np.arange(SUPPOSED) + rng.random(SUPPOSED)) / SUPPOSED
    sums = np.cumsum(weights)
    place, spread = np.unravel_index(np.searchsorted(sums, even * sums[-1]), weights.shape)
    supposed = np.repeat(weights[None], SUPPOSED, axis=0)
    for chances in posterior.chances(np.asarray(pending, dtype=np.float64)):
        ends = np.cumsum(chances[:, place, spread], axis=0)
        outcomes = (rng.random(SUPPOSED) * ends[-1] >= ends[:-1]).sum(axis=0)
        supposed *= chances[outcomes]
        supposed /= supposed.sum(axis=(1, 2), keepdims=True)
    return np.asarray(supposed, dtype=np.float64)


def shifted_predictions(predicted: Sequence[float | None], located: Sequence[Located | None]) -> list[float | None]:
    """Predictions moved by what the slices found so far have in common: how far off theirs were.

    The mean shift of those located to within a decade, drawn to 0 as if one slice had shown none. A slice of which
    nothing was predicted takes the mean crossing of the others.
    """
    shifts = [
        found.crossing - expected
        for expected, found in zip(predicted, located, strict=True)
        if expected is not None and found is not None and found.width < 1.0
    ]
    shift = sum(shifts) / (len(shifts) + 1)
    known = [found.crossing for found in located if found is not None and found.width < 1.0]
    anywhere = sum(known) / len(known) if known else None
    return [anywhere if expected is None else expected + shift for expected in predicted]
