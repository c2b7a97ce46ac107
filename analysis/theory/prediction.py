"""What a loss will do with emptied maps, from the labels' volumes alone, before any training.

The model is that of eq. 5 in Tilborghs et al., MICCAI 2022, for a network in the middle of its training: on a
labelled map of volume v it predicts v voxels and hits half of them (a = ½, b = 2); on an emptied map it predicts
what it has learnt to see, the volume that the label hides. The **push** compares, at voxels that the label calls
background, the gradient that emptied maps get with the gradient that their rivals get, summed over an epoch:

    push = (emptied maps / rivals) · E[∂L/∂s | emptied map] / E[∂L/∂s | labelled map]

with expectations over the batches that the sampling makes. Rivals are the labelled maps that a network cannot tell
from the emptied ones: those of the emptied group, where only a share is emptied, and a few of all others. 0: the
emptied maps are ignored. Against a push near 1 the network cannot keep predicting what these maps call empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import hypergeom

from analysis.theory.gradients import (
    DICE,
    IOU,
    Member,
    asymmetric,
    empty_map_gradient,
    family_gradient,
    focal_tversky,
    tversky,
)

HIT = 0.5
"""Share of a labelled map that is hit in the middle of training: a of eq. 5."""
LOOKALIKE = 0.1
"""Share of the labelled maps outside the emptied group that look as if they were of it. So many do in the generated
brains; for other data it is a guess."""
IGNORED_BELOW, LEARNT_ABOVE = 0.51, 1.53
"""Push of Φ = I and CI, fitted by ``python -m bench.explain`` to ten slices of generated brains (B 1 to 4, 67 % or all
of a group emptied, rates of 0.002 to 0.01, 11 to 44 epochs, v̂ from 89 to 341 voxels): they crossed at a push of 0.45
to 2.1. That the push it takes falls with rate · steps foretold slices that the fit did not see no better."""
BATCH_IGNORED_BELOW, BATCH_LEARNT_ABOVE = 1.5, 4.0
"""Push of Φ = BI and BCI, which comes in some batches and not in others: 4.8 (half emptied, B = 2) learnt empty
maps, 3.1 (a third emptied) ended in between."""
COLLAPSE_NEAR = 0.85
"""Share of its largest value, 1/(4v̂), over which the empty map's gradient is in danger of pulling everything down."""
COLLAPSE_ALONE, COLLAPSE_ALONE_CLIPPED = 0.2, 0.4
"""Share of batches without any labelled map over which collapse was seen at such ε: without clipping of the
gradient 4 of 10 at B = 2 (a quarter of the batches) and none at B = 4 (1 in 16); with clipping at B = 1 only."""


@dataclass(frozen=True)
class LabelStatistics:
    """What an epoch sees of one class: numbers of maps, and their mean volumes [voxels].

    labelled: maps with a label that is not empty; emptied: maps that the labeling hides; empty: rightly empty
    maps. ``labelled_volume``; ``hidden_volume``: what the hidden labels hold; ``other_volume``: the mean volume of
    all the other classes of a case, which a φ over classes joins. ``in_group``: labelled maps of the emptied group.
    """

    labelled: int
    emptied: int
    empty: int
    labelled_volume: float
    hidden_volume: float
    other_volume: float = 0.0
    in_group: int = 0

    @property
    def rivals(self) -> float:
        """Labelled maps that a network cannot tell from emptied ones."""
        return self.in_group + LOOKALIKE * (self.labelled - self.in_group)

    @property
    def v_hat(self) -> float:
        """v̂ [voxels]: the mean volume of a map, the empty ones counted as 0."""
        return self.labelled * self.labelled_volume / max(self.labelled + self.emptied + self.empty, 1)


@dataclass(frozen=True)
class Prediction:
    """push: see the module; both: share of batches with a labelled and an emptied map; alone: share of batches
    with none but unlabelled maps; outcome: ignores, between, learns_empty or collapse_risk.
    """  # noqa: D205

    push: float
    both: float
    alone: float
    outcome: str


def member_of(loss: str, parameters: dict[str, Any]) -> Member | None:
    """The member of the region family that a loss is, or None where no closed form is at hand."""
    makers: dict[str, Callable[..., Member]] = {
        "dice": lambda: DICE,
        "iou": lambda: IOU,
        "tversky": tversky,
        "focal_tversky": focal_tversky,
        "asymmetric": asymmetric,
    }
    if loss not in makers:
        return None
    shape = {name: value for name, value in parameters.items() if name in ("alpha", "beta", "gamma")}
    return makers[loss](**shape)


def predict(
    statistics: LabelStatistics,
    phi: str,
    eps: float,
    batch_size: int,
    member: Member = DICE,
    *,
    clipped: bool = False,
) -> Prediction:
    """Predict what becomes of the emptied maps of one class.

    eps: [voxels]; clipped: whether gradients are.
    """
    both, alone = _mixtures(statistics, batch_size)
    push = _push(statistics, phi, eps, batch_size, member)
    return Prediction(push, both, alone, _outcome(statistics, phi, eps, push, alone, clipped))


def predict_crossing(statistics: LabelStatistics, phi: str, batch_size: int, member: Member = DICE) -> float | None:
    """The ε [voxels] at which the push leaves the middle (in log) of "between", or None if no ε does that."""
    low, high = _thresholds(phi)
    return crossing_at(statistics, phi, batch_size, math.sqrt(low * high), member)


def collapse_threatens(phi: str, alone: float, *, clipped: bool) -> bool:
    """Whether batches without a labelled map, a share ``alone`` of all, come often enough to lose everything."""
    return "B" not in phi and alone > (COLLAPSE_ALONE_CLIPPED if clipped else COLLAPSE_ALONE)


def crossing_at(
    statistics: LabelStatistics, phi: str, batch_size: int, push: float, member: Member = DICE
) -> float | None:
    """The smallest ε [voxels] that gives this push, or None if no ε does, or every one gives more."""

    def excess(log10_eps: float) -> float:
        return _push(statistics, phi, 10**log10_eps, batch_size, member) - push

    # The push of an image-wise loss grows with ε up to the hidden volume; beyond, all maps are pushed alike.
    ends = -9.0, math.log10(max(statistics.hidden_volume, 1e-8))
    if statistics.emptied == 0 or excess(ends[0]) > 0 or excess(ends[1]) < 0:
        return None
    return float(10 ** brentq(excess, *ends))


def _thresholds(phi: str) -> tuple[float, float]:
    """The push below which maps are ignored and above which they are learnt empty."""
    return (BATCH_IGNORED_BELOW, BATCH_LEARNT_ABOVE) if "B" in phi else (IGNORED_BELOW, LEARNT_ABOVE)


def _outcome(
    statistics: LabelStatistics,
    phi: str,
    eps: float,
    push: float,
    alone: float,
    clipped: bool,
) -> str:
    low, high = _thresholds(phi)
    if push < low:
        return "ignores"
    volume = statistics.hidden_volume
    near_peak = float(empty_map_gradient(eps, volume)) * 4 * volume > COLLAPSE_NEAR
    if near_peak and collapse_threatens(phi, alone, clipped=clipped):
        return "collapse_risk"
    return "learns_empty" if push > high else "between"


def _push(statistics: LabelStatistics, phi: str, eps: float, batch_size: int, member: Member) -> float:
    if statistics.emptied == 0 or statistics.labelled == 0:
        return 0.0
    emptied = _expected_gradient(statistics, phi, eps, batch_size, member, own_labelled=False)
    labelled = _expected_gradient(statistics, phi, eps, batch_size, member, own_labelled=True)
    return statistics.emptied / statistics.rivals * emptied / labelled


def _expected_gradient(
    statistics: LabelStatistics, phi: str, eps: float, batch_size: int, member: Member, own_labelled: bool
) -> float:
    """E[∂L/∂s] at a background voxel of a labelled, or an emptied, map over the batches that hold it."""
    classes = int("C" in phi)
    if "B" not in phi:
        return _gradient(statistics, eps, member, int(own_labelled), 1 - int(own_labelled), classes)
    others = batch_size - 1
    total = statistics.labelled + statistics.emptied + statistics.empty - 1
    if own_labelled:
        labelled_left, emptied_left = statistics.labelled - 1, statistics.emptied
    else:
        labelled_left, emptied_left = statistics.labelled, statistics.emptied - 1
    expected = 0.0
    for labelled in range(others + 1):
        chance = hypergeom.pmf(labelled, total, labelled_left, min(others, total))
        # Of those that are not labelled, as many are emptied as their share says.
        emptied = (others - labelled) * emptied_left / max(total - labelled_left, 1)
        cases = classes * batch_size
        expected += chance * _gradient(
            statistics, eps, member, labelled + int(own_labelled), emptied + 1 - int(own_labelled), cases
        )
    return float(expected)


def _gradient(
    statistics: LabelStatistics, eps: float, member: Member, labelled: int, emptied: float, cases_with_others: int
) -> float:
    """∂L/∂s at a background voxel of a φ with so many labelled and emptied maps, and other classes beside them."""
    true = labelled * statistics.labelled_volume + cases_with_others * statistics.other_volume
    predicted = true + emptied * statistics.hidden_volume
    return float(family_gradient(member, 0, both=HIT * true, predicted=predicted, true=true, eps=eps))


def _mixtures(statistics: LabelStatistics, batch_size: int) -> tuple[float, float]:
    """Shares of batches with both a labelled and an emptied map, and with no labelled one."""
    total = statistics.labelled + statistics.emptied + statistics.empty
    size = min(batch_size, total)
    none_labelled = float(hypergeom.pmf(0, total, statistics.labelled, size))
    none_emptied = float(hypergeom.pmf(0, total, statistics.emptied, size))
    neither = float(hypergeom.pmf(0, total, statistics.labelled + statistics.emptied, size))
    return max(0.0, 1 - none_labelled - none_emptied + neither), none_labelled


def push_curve(
    statistics: LabelStatistics, phi: str, batch_size: int, eps: np.ndarray[Any, Any], member: Member = DICE
) -> list[float]:
    """The push at every ε [voxels], for the picture."""
    return [_push(statistics, phi, float(value), batch_size, member) for value in eps]
