"""Logarithm and power, finite with a finite gradient for everything in [0, 1]."""

from __future__ import annotations

from torch import Tensor

LOG_FLOOR = 1e-30
"""Smallest probability whose logarithm is taken, which caps an entropy at 69; a normal number in float32, so
that 1/s is finite, and far below what a sigmoid in float32 gives a wrong voxel."""

ROOT_FLOOR = 1e-7
"""Below it the slope of a root stays what it is here: a perfect map would otherwise get an infinite gradient."""


def log(values: Tensor) -> Tensor:
    """Take ln of values in [0, 1], cut off at ``LOG_FLOOR``."""
    return values.clamp_min(LOG_FLOOR).log()


def power(values: Tensor, exponent: float) -> Tensor:
    """Take ``values ** exponent`` of values ≥ 0; for an exponent under 1, a straight line to 0 below ``ROOT_FLOOR``."""
    if exponent >= 1 or exponent == 0:
        return values.clamp_min(0) ** exponent
    # By the product rule the slope above the floor is the power's own.
    return values * values.clamp_min(ROOT_FLOOR) ** (exponent - 1)
