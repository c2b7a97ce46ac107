"""Which ε to choose for an image-wise loss: to ignore emptied maps, or to learn empty ones without collapse.

Where a slice turns comes from ``analysis.theory.prediction``; how far to stay away from there, and which ε learnt
empty maps reliably at the least cost to the labelled group, was measured on generated brains (docs/gallery.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.formatting import figure

MARGIN = 4.0
"""Factor between the expected crossing and either advice: its largest error (2.6) and half of the fall on top."""
COLLAPSED_ALONE, COLLAPSED_ELSE = (11, 65), (3, 100)
"""Trials that collapsed, of those beyond the crossing: at B = 1, where half of the batches hold nothing but an emptied
map, and at B = 2 and 4. Neither number falls with ε, from there to 16 v̂."""
RESTS_ON = (
    "Dice at Φ = I on generated brains, ten seeds. On hearts (ACDC, 40 epochs, two seeds) what is said of ignoring "
    "held, but every training from ε = 0.3 v̂ on lost the class in both groups: take Φ = BI there to learn empty maps"
)


@dataclass(frozen=True)
class Advice:
    """ε [voxels] for both goals, and what it rests on.

    ``ignore_to``: at most; ``learn_from``, ``learn_to``: between, since beyond v̂ the labelled group pays more and
    nothing is gained; ``collapsed``: trials that collapsed there, of how many.
    """

    ignore_to: float
    learn_from: float
    learn_to: float
    collapsed: tuple[int, int]
    rests_on: str = RESTS_ON


def advise(crossing: float | None, v_hat: float, *, risky: bool) -> Advice | None:
    """Advise on ε where a loss turns at ``crossing`` [voxels]; None where it does not.

    v_hat: v̂ [voxels] under the labeling in force; risky: batches without a labelled map are frequent
    (``analysis.theory.prediction.collapse_threatens``).
    """
    if crossing is None or v_hat <= 0:
        return None
    learn_from = crossing * MARGIN
    collapsed = COLLAPSED_ALONE if risky else COLLAPSED_ELSE
    return Advice(crossing / MARGIN, learn_from, max(v_hat, learn_from), collapsed)


def advice_text(name: str, advice: Advice, v_hat: float) -> str:
    """Write the advice for a slice on one line."""

    def both(eps: float) -> str:
        return f"{figure(eps)} voxels ({figure(eps / v_hat)} v̂)"

    lost, of = advice.collapsed
    return (
        f"{name}: to ignore emptied maps ε ≤ {both(advice.ignore_to)}; to learn empty ones ε from "
        f"{both(advice.learn_from)} to {both(advice.learn_to)}, where {lost} of {of} trainings collapsed"
    )
