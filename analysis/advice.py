"""Which ε to choose for an image-wise loss: to ignore emptied maps, or to learn empty ones without collapse.

Where a slice turns comes from ``analysis.explain``; how far to stay away from there, and which ε learnt empty maps
in all trials at the least cost to the labelled group, was measured on generated brains (docs/gallery.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.labels import figure

IGNORE_MARGIN = 4.0
"""The ε that is advised for ignoring lies this factor below the crossing: twice the largest error of the predicted
crossing [decades, as a factor]."""
LEARN_FROM = 5.0
"""The least ε advised for learning empty maps [v̂]: beyond the peak of the empty map's gradient."""
COLLAPSED_FROM, COLLAPSED_TO = 0.03, 5.0
"""ε [v̂] between which trials collapsed where batches without any labelled map are frequent."""
RESTS_ON = "Dice at Φ = I on generated brains: seeds differ, and other data, networks and optimisers were not studied"


@dataclass(frozen=True)
class Advice:
    """ε [voxels] for both goals. ``ignore_to``: at most; ``learn_from``: at least; ``avoid``: where training was in
    danger of collapse, None where it is not.
    """  # noqa: D205

    ignore_to: float
    learn_from: float
    avoid: tuple[float, float] | None
    rests_on: str = RESTS_ON


def advise(crossing: float | None, v_hat: float, *, risky: bool) -> Advice | None:
    """Advise on ε where a loss turns at ``crossing`` [voxels]; None where it does not.

    v_hat: v̂ [voxels] under the labeling in force; risky: batches without a labelled map are frequent
    (``analysis.explain.collapse_threatens``).
    """
    if crossing is None or v_hat <= 0:
        return None
    learn_from = max(LEARN_FROM * v_hat, crossing * IGNORE_MARGIN)
    avoid = (min(COLLAPSED_FROM * v_hat, crossing), COLLAPSED_TO * v_hat) if risky else None
    return Advice(crossing / IGNORE_MARGIN, learn_from, avoid)


def advice_text(name: str, advice: Advice, v_hat: float) -> str:
    """Write the advice for a slice on one line."""

    def both(eps: float) -> str:
        return f"{figure(eps)} voxels ({figure(eps / v_hat)} v̂)"

    text = f"{name}: to ignore emptied maps ε ≤ {both(advice.ignore_to)}; to learn empty ones ε ≥ "
    text += both(advice.learn_from)
    if advice.avoid is not None:
        low, high = advice.avoid
        text += f", and not {figure(low)} to {figure(high)}, where trainings collapsed"
    return text
