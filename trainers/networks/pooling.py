"""How far the networks pool each axis. No torch, so that a patch that does not fit is refused at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

Factors = tuple[int, ...]
"""Of one max-pooling, along each axis."""


def pool_factors(shape: Sequence[int], steps: int) -> list[Factors]:
    """Factors of each max-pooling: an axis is halved once it is at least half as long as the longest.

    So a flat volume (32×32×8) is first pooled 2×2×1, and its voxels become nearly isotropic on the way down.

    Raises: ValueError if an axis would have to be halved while odd.
    """
    sizes = list(shape)
    pools = []
    for _ in range(steps):
        factors = tuple(2 if 2 * size >= max(sizes) else 1 for size in sizes)
        if any(size % factor for size, factor in zip(sizes, factors, strict=True)):
            raise ValueError(_refusal(shape, steps, str(2**steps)))
        sizes = [size // factor for size, factor in zip(sizes, factors, strict=True)]
        pools.append(factors)
    return pools


def fixed_factors(shape: Sequence[int], steps: int, flat_steps: int) -> list[Factors]:
    """Factors of each max-pooling whatever the shape: 2, but for the third axis in the first ``flat_steps``.

    Raises: ValueError if an axis cannot be halved as often.
    """
    pools = [tuple(1 if axis == 2 and step < flat_steps else 2 for axis in range(len(shape))) for step in range(steps)]
    totals = [math.prod(factors) for factors in zip(*pools, strict=True)]
    if any(size % total for size, total in zip(shape, totals, strict=True)):
        raise ValueError(_refusal(shape, steps, format_shape(totals) if len(set(totals)) > 1 else str(totals[0])))
    return pools


def format_shape(sizes: Sequence[int]) -> str:
    """``24×24×16``."""
    return "×".join(map(str, sizes))


def _refusal(shape: Sequence[int], steps: int, divisor: str) -> str:
    return (
        f"a patch of {format_shape(shape)} voxels cannot be halved {steps} times by the network; "
        f"choose sizes divisible by {divisor}"
    )
