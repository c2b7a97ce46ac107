"""The crossing of a slice whose trials were placed one by one, each with a seed of its own.

``analysis.transition.fit`` finds each seed's own crossing, which needs every seed at several ε; here no seed has more
than one, and what all of them say together is the posterior of ``analysis.transition.posterior``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.transition.fit import Transition, eps_text
from analysis.transition.posterior import Posterior, code_of

FEWEST_PLACED = 4
"""So many trials of one seed each at two ε or more are taken for placed."""
HARDLY = 0.05
"""Under this chance that the crossing lies in the range scanned, there is none."""


def is_placed(log10_eps: Sequence[float], units: Sequence[str]) -> bool:
    """Whether no seed and fold was trained at more than one ε."""
    return len(units) >= FEWEST_PLACED and len(set(units)) == len(units) and len(set(log10_eps)) > 1


def fit_placed(fit: Transition, log10_eps: Sequence[float], retention: Sequence[float]) -> Transition:
    """``fit`` with the crossing and interval of the posterior in place of its own; an end outside the scan is open."""
    first, last = min(log10_eps), max(log10_eps)
    posterior = Posterior(first, last)
    for x, y in zip(log10_eps, retention, strict=True):
        posterior.see(x, code_of(y))
    at = posterior.locate()
    if at.inside < HARDLY:
        side = "above" if at.crossing > last else "below"
        reason = (
            f"no crossing in the range scanned: retention stays {side} ½ from {eps_text(first)} to {eps_text(last)}"
        )
        return replace(fit, crossing=None, low=None, high=None, reason=reason, bracket=None, step=False, curve=None)
    places = np.unique(log10_eps)
    split = int(np.clip(np.searchsorted(places, at.crossing), 1, len(places) - 1))
    return replace(
        fit,
        crossing=at.crossing,
        low=at.low if at.low >= first else -np.inf,
        high=at.high if at.high <= last else np.inf,
        reason=None,
        bracket=(float(places[split - 1]), float(places[split])),
        step=False,
        units=len(log10_eps),
    )
