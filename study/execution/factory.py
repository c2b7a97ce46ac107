"""The engine that an address names."""

from __future__ import annotations

from study.execution.engine import Engine
from study.execution.inline import InlineEngine

INLINE = "inline"
"""An address that runs everything in the launching process, one after the other."""


def engine_at(address: str | None) -> Engine:
    """The engine of an address: this machine's Ray, a cluster's, or ``inline``."""
    from study.execution.ray_tune import RayEngine

    return InlineEngine() if address == INLINE else RayEngine(address)
