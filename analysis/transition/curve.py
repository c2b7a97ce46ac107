"""The falling curve through a scan over ε: asymptotes, middle, width and goodness; numbers only.

The curve describes, it does not decide: where retention crosses ½, and how sure that is, comes from the trials
themselves (``analysis.transition.fit``), since on a grid wider than the step any slope fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.stats.bootstrap import FloatArray

GRID = 41
"""Values of the middle and of the width that are tried at a time; each zoom then looks between the neighbours."""
ZOOMS = 5
TEN_TO_NINETY = 2 * np.log10(9.0)
"""Decades of a logistic curve in log10 ε of scale 1, from 90 % of its fall left to 10 %."""


@dataclass(frozen=True)
class Curve:
    """retention = lower + (upper − lower) / (1 + 10^((x − middle)/scale)), x = log10 ε; closest to all trials.

    ``width`` [decades]: from 90 to 10 % of the fall; None where the fall lies between two neighbouring ε, and
    then ``narrower_than`` is their distance. ``r2``: share of the variance between trials that the curve explains.
    """

    upper: float
    lower: float
    middle: float
    width: float | None
    narrower_than: float | None
    r2: float

    def at(self, log10_eps: FloatArray) -> FloatArray:
        """Evaluate the curve; a step where its width is not known."""
        scale = (self.width or 0.0) / TEN_TO_NINETY
        return self.lower + (self.upper - self.lower) * _shares(log10_eps, self.middle, max(scale, 1e-6))


def fit_curve(x: FloatArray, y: FloatArray, bracket: tuple[float, float], *, step: bool) -> Curve | None:
    """Fit the curve by least squares; None where no falling curve explains more than the mean does.

    ``x``: log10 ε, ``y``: retention, one a trial. ``bracket``: the points around the crossing; ``step``: the fall
    is narrower than they are apart, so the middle is theirs by convention and the width is not fitted.
    """
    total = float(((y - y.mean()) ** 2).sum())
    if total < 1e-12:
        return None
    if step:
        middle = sum(bracket) / 2
        upper, lower = float(y[x < middle].mean()), float(y[x > middle].mean())
        left = float(((y - np.where(x < middle, upper, lower)) ** 2).sum())
        return Curve(upper, lower, middle, None, bracket[1] - bracket[0], 1 - left / total)
    middle, scale = _search(x, y)
    share = _shares(x, middle, scale)
    centred = share - share.mean()
    if not (slope := float(centred @ y / (centred @ centred))) > 0:
        return None
    lower = float(y.mean() - slope * share.mean())
    left = float(((y - lower - slope * share) ** 2).sum())
    return Curve(lower + slope, lower, middle, float(TEN_TO_NINETY * scale), None, 1 - left / total)


def _search(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Find middle and scale: for each pair the asymptotes are linear, so two numbers are left to search."""
    places = np.unique(x)
    gap = float(np.diff(places).min())
    low = np.array([places[0], np.log(gap / 10)])
    high = np.array([places[-1], np.log(places[-1] - places[0])])
    best = (low + high) / 2
    for _ in range(ZOOMS):
        middles, scales = np.linspace(low[0], high[0], GRID), np.linspace(low[1], high[1], GRID)
        share = _shares(x[None, None, :], middles[:, None, None], np.exp(scales)[None, :, None])
        centred = share - share.mean(axis=2, keepdims=True)
        explained = np.maximum(centred @ y, 0.0) ** 2 / np.maximum((centred**2).sum(axis=2), 1e-12)
        i, j = np.unravel_index(int(explained.argmax()), explained.shape)
        best = np.array([middles[i], scales[j]])
        reach = 2 * (high - low) / (GRID - 1)
        low, high = np.maximum(best - reach, low), np.minimum(best + reach, high)
    return float(best[0]), float(np.exp(best[1]))


def _shares(x: FloatArray, middle: FloatArray | float, scale: FloatArray | float) -> FloatArray:
    """Share of the fall that is left at x."""
    # Beyond 300 the power leaves the finite numbers, and nothing of the fall.
    return np.asarray(1 / (1 + 10 ** np.clip((x - middle) / scale, -300, 300)), dtype=np.float64)
