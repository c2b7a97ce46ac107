"""The parts by name, each a function that yields rows, with its share of the time."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.gpu.record import Row


@dataclass(frozen=True)
class Budget:
    """What one part may take: ``seconds`` from its start; ``quick``: small shapes; acdc: the challenge's folder."""

    seconds: float
    device: str
    quick: bool
    acdc: Path | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds left; a part begins nothing that it does not expect to end in them."""
        return self.seconds - (time.monotonic() - self.started)


@dataclass(frozen=True)
class Part:
    """One part: the function ``module:name`` and its share of the time, relative to the others."""

    home: str
    share: float

    def load(self) -> Callable[[Budget], Iterator[Row]]:
        """The function, imported in the part's own process alone."""
        module, name = self.home.split(":")
        function: Callable[[Budget], Iterator[Row]] = getattr(importlib.import_module(f"bench.gpu.{module}"), name)
        return function


PARTS = {
    "tests": Part("exactness:tests", 1.0),
    "determinism": Part("exactness:determinism", 1.0),
    "losses": Part("steps:losses", 1.0),
    "steps": Part("steps:modes", 2.0),
    "loops": Part("steps:loops", 2.5),
    "sharing": Part("trials:sharing", 1.5),
    "memory": Part("trials:memory", 1.0),
    "plan": Part("trials:plan", 0.7),
    "ray": Part("trials:ray_fractions", 1.5),
    "acdc": Part("trials:acdc", 2.0),
}


def run_part(name: str, budget: Budget) -> Iterator[Row]:
    """The rows of one part, as they are measured."""
    yield from PARTS[name].load()(budget)
