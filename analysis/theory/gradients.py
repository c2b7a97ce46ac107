"""The gradients of the region losses in closed form, and what ε does to an empty map. numpy only.

Every function takes the sums over one voxel's φ [voxels]: ``both`` = Σgs, ``predicted`` = Σs, ``true`` = Σg;
``phis`` = |Φ|, the number of subsets that the loss averages over; and ``g``, ``s`` at the voxel. It returns
∂L/∂s there [1/voxel] and broadcasts over arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

DOUBLE_ROOT_TOLERANCE = 1e-9
"""|1 − 4k| under which the two roots count as one: they would differ by less than 1e-4 of v̂."""


@dataclass(frozen=True)
class Member:
    """A loss of the family, mean_φ (1 − score)^(1/γ), score = (k·TP+ε)/(k·(TP + α·FP + β·FN)+ε), k = ``scale``."""

    alpha: float
    beta: float
    scale: float = 1.0
    gamma: float = 1.0


DICE = Member(0.5, 0.5, scale=2.0)
IOU = Member(1.0, 1.0)


def tversky(alpha: float = 0.3, beta: float = 0.7) -> Member:
    """Tversky (Salehi 2017): α weighs false positives, β false negatives."""
    return Member(alpha, beta)


def focal_tversky(alpha: float = 0.3, beta: float = 0.7, gamma: float = 4 / 3) -> Member:
    """Focal Tversky (Abraham 2018)."""
    return Member(alpha, beta, gamma=gamma)


def asymmetric(beta: float = 1.5) -> Member:
    """Asymmetric similarity (Hashemi 2019): false negatives weigh β² times false positives."""
    return Member(1 / (1 + beta**2), beta**2 / (1 + beta**2))


def family_gradient(
    member: Member,
    g: ArrayLike,
    *,
    both: ArrayLike,
    predicted: ArrayLike,
    true: ArrayLike,
    eps: ArrayLike,
    phis: ArrayLike = 1,
) -> FloatArray:
    """Differentiate a member of the family: two values per φ, one for g = 0 and one for g = 1.

    For Dice, −(1/|Φ|) [2g/(S+ε) − (2I+ε)/(S+ε)²] with I = Σgs, S = Σg+Σs. Where focal Tversky's loss is 0 its
    slope is infinite; so is this, or nan where the gradient of the score is 0 there.
    """
    g, both, predicted, true, eps = _arrays(g, both, predicted, true, eps)
    alpha, beta, scale = member.alpha, member.beta, member.scale
    hit = scale * both + eps
    whole = hit + scale * (alpha * (predicted - both) + beta * (true - both))
    slope = -scale * (g / whole - hit * ((1 - alpha - beta) * g + alpha) / whole**2)
    if member.gamma != 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = slope * (1 - hit / whole) ** (1 / member.gamma - 1) / member.gamma
    return np.asarray(slope / np.asarray(phis, dtype=float))


def squared_dice_gradient(
    g: ArrayLike, s: ArrayLike, *, both: ArrayLike, squares: ArrayLike, eps: ArrayLike, phis: ArrayLike = 1
) -> FloatArray:
    """Differentiate Dice with squares (Milletari 2016), ``squares`` = Σg²+Σs²: −(2/|Φ|) [g/(Q+ε) − (2I+ε)s/(Q+ε)²]."""
    g, s, both, squares, eps = _arrays(g, s, both, squares, eps)
    whole = squares + eps
    return np.asarray(-2 * (g / whole - (2 * both + eps) * s / whole**2) / np.asarray(phis, dtype=float))


def sensitivity_specificity_gradient(
    g: ArrayLike,
    s: ArrayLike,
    *,
    true: ArrayLike,
    voxels: ArrayLike,
    eps: ArrayLike,
    w: float = 0.05,
    phis: ArrayLike = 1,
) -> FloatArray:
    """Differentiate sensitivity-specificity (Brosch 2015), ``voxels`` = Σ1 over φ.

    −(2/|Φ|) (g−s) [w g/(Σg+ε) + (1−w)(1−g)/(Σ(1−g)+ε)].
    """
    g, s, true, voxels, eps = _arrays(g, s, true, voxels, eps)
    weights = w * g / (true + eps) + (1 - w) * (1 - g) / (voxels - true + eps)
    return np.asarray(-2 * (g - s) * weights / np.asarray(phis, dtype=float))


def generalised_dice_gradient(
    g: ArrayLike,
    weight: ArrayLike,
    *,
    weighted_both: ArrayLike,
    weighted_total: ArrayLike,
    eps: ArrayLike,
    phis: ArrayLike = 1,
) -> FloatArray:
    """Differentiate generalised Dice (Sudre 2017) at a voxel of a class with this ``weight`` w_c.

    ``weighted_both`` = Σ_c w_c Σgs, ``weighted_total`` = Σ_c w_c Σ(g+s); Dice's gradient times w_c.
    """
    g, weight, both, total, eps = _arrays(g, weight, weighted_both, weighted_total, eps)
    whole = total + eps
    return np.asarray(-weight * (2 * g / whole - (2 * both + eps) / whole**2) / np.asarray(phis, dtype=float))


def penalty_factor(loss: ArrayLike, k: float = 2.5) -> FloatArray:
    """What the penalty loss (Su 2019) multiplies generalised Dice's gradient by: (1+k)/(1+k(1−L))², L its value."""
    return np.asarray((1 + k) / (1 + k * (1 - np.asarray(loss, dtype=float))) ** 2)


def empty_map_gradient(eps: ArrayLike, predicted_volume: ArrayLike) -> FloatArray:
    """Push on every voxel of an empty map under Dice, of which ``predicted_volume`` v̂ [voxels] is predicted.

    ε/(v̂+ε)² [1/voxel], before the mean over φ; its maximum over ε is 1/(4v̂), at ε = v̂.
    """
    eps, volume = _arrays(eps, predicted_volume)
    return np.asarray(eps / (volume + eps) ** 2)


def eps_roots(a: float, b: float, v_hat: float) -> tuple[float, ...]:
    """Find the ε [voxels] at which an empty map is pushed as hard as a labelled one: 2a·v̂/(b·v̂)² = ε/(v̂+ε)².

    a: overlap Σgs of the labelled map, and b: its Σg+Σs, both in units of v̂ (½ and 2: half of it overlaps).
    With k = 2a/b² the equation is kε² + (2k−1)v̂ε + kv̂² = 0.

    Returns: none for k > ¼, where the labelled map is pushed harder than an empty one can be; v̂ for k = ¼; for
    k < ¼ the two roots, ascending, whose product is v̂².
    Raises: ValueError unless all three are above 0.
    """
    if not (a > 0 and b > 0 and v_hat > 0):
        raise ValueError(f"a, b and v_hat must be above 0, got {a:g}, {b:g} and {v_hat:g}")
    k = 2 * a / b**2
    discriminant = 1 - 4 * k
    if abs(discriminant) < DOUBLE_ROOT_TOLERANCE:
        return (v_hat,)
    if discriminant < 0:
        return ()
    upper = v_hat * (1 - 2 * k + discriminant**0.5) / (2 * k)
    # From the product: the difference would cancel where k is small.
    return (v_hat**2 / upper, upper)


def _arrays(*values: ArrayLike) -> tuple[FloatArray, ...]:
    return tuple(np.asarray(value, dtype=float) for value in values)
