"""Depth and pooling of the networks. No torch, so that a patch that does not fit is refused at once."""

from __future__ import annotations

from collections.abc import Sequence

FEATURES: dict[str, tuple[int, ...]] = {"tiny": (8, 16, 32)}
"""Channels of each level, by the network's name."""


def pool_factors(shape: Sequence[int], steps: int) -> list[tuple[int, int, int]]:
    """Factors of each max-pooling: an axis is halved once it is at least half as long as the longest.

    So a flat volume (32×32×8) is first pooled 2×2×1, and its voxels become nearly isotropic on the way down.

    Raises: ValueError if an axis would have to be halved while odd.
    """
    sizes = list(shape)
    pools = []
    for _ in range(steps):
        factors = [2 if 2 * size >= max(sizes) else 1 for size in sizes]
        if any(size % factor for size, factor in zip(sizes, factors, strict=True)):
            raise ValueError(
                f"a patch of {'×'.join(map(str, shape))} voxels cannot be halved {steps} times by the network; "
                f"choose sizes divisible by {2**steps}"
            )
        sizes = [size // factor for size, factor in zip(sizes, factors, strict=True)]
        pools.append((factors[0], factors[1], factors[2]))
    return pools
