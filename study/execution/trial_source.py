"""Who says which trial comes next: a list, or a search that learns from those that are over."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from trainers.result import TrialResult
from trainers.spec import TrialSpec


class TrialSource(Protocol):
    """Trials one at a time, asked for when there is room for one; used by one thread, the launching one."""

    @property
    def over(self) -> bool:
        """Whether ``next`` will never give a trial again, whatever is told."""

    def next(self) -> TrialSpec | None:
        """The next trial; None for nothing now: ask again once a result was told, unless the supply is over."""

    def tell(self, key: str, result: TrialResult | None) -> None:
        """The ending of a trial that was given; None where it has none, stopped or lost by the engine."""

    def should_prune(self, key: str) -> bool:
        """Whether a trial is to be ended now; asked after each of its epochs. It is then told without a result."""


class GridSource:
    """A list, in its order; it learns nothing."""

    def __init__(self, trials: Iterable[TrialSpec]) -> None:
        self._left = deque(trials)

    @property
    def over(self) -> bool:
        """Whether all were given."""
        return not self._left

    def next(self) -> TrialSpec | None:
        """The next of the list."""
        return self._left.popleft() if self._left else None

    def tell(self, key: str, result: TrialResult | None) -> None:
        """Nothing to learn."""

    def should_prune(self, key: str) -> bool:  # noqa: ARG002
        """Never: all are wanted."""
        return False
