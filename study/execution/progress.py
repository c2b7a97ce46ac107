"""The live line of a launch: a bar in a terminal, a plain line a trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from study.storage.journal import LATEST, pace_of


@dataclass
class Counts:
    """Where a launch stands; ``seconds`` are those of the trials that ended in it.

    ``paces``: by key, the seconds that trials take by their last epochs, which are asked for before the first ended;
    ``heard``: when those epochs were heard of.
    """

    total: int
    done: int = 0
    failed: int = 0
    lost: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    paces: dict[str, float] = field(default_factory=dict)
    heard: dict[str, deque[float]] = field(default_factory=dict)
    most: int = 0
    best: str = ""

    def hear_epoch(self, key: str, epochs: int) -> None:
        """A trial of so many epochs has a new one; tells how fast it goes while no trial has ended."""
        if self.seconds:
            return
        times = self.heard.setdefault(key, deque(maxlen=LATEST))
        times.append(time.monotonic())
        if (pace := pace_of(list(times), epochs)) is not None:
            self.paces[key] = pace

    @property
    def over(self) -> int:
        """Trials that have an ending."""
        return self.done + self.failed + len(self.lost)

    @property
    def eta(self) -> float | None:
        """Seconds until the last trial ends, judged by those that ended, before the first by those that run."""
        known = self.seconds or list(self.paces.values())
        if not known:
            return None
        # Those that run are halfway, as far as we know.
        left = self.total - self.over - len(self.running) / 2
        return left * sum(known) / len(known) / max(self.side_by_side, 1)

    @property
    def side_by_side(self) -> int:
        """The most trials seen running at once."""
        return max(self.most, len(self.running))

    def __str__(self) -> str:
        parts = [f"done {self.done}/{self.total}", f"running {len(self.running)}"]
        parts += [f"failed {self.failed}"] if self.failed else []
        parts += [f"lost {len(self.lost)}"] if self.lost else []
        parts += [f"ETA {clock(self.eta)}"] if self.eta is not None and self.over < self.total else []
        parts += [f"best {self.best}"] if self.best else []
        return " · ".join(parts)


class ProgressLine:
    """Shows ``Counts``; use as a context."""

    def __init__(self, counts: Counts, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.counts, self.quiet = counts, quiet
        self.stream = stream or sys.stderr
        console = Console(file=self.stream)
        self._bar = Progress(
            BarColumn(bar_width=24), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
        self._live = console.is_terminal and not quiet
        self._task = self._bar.add_task(str(counts), total=counts.total, completed=counts.over)

    def __enter__(self) -> ProgressLine:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._bar.stop()

    def show(self) -> None:
        """Refresh the bar; elsewhere nothing, since only endings are worth a line there."""
        self.counts.most = self.counts.side_by_side
        if self._live:
            self._bar.update(self._task, description=str(self.counts), completed=self.counts.over)

    def ended(self, text: str) -> None:
        """A trial is over."""
        if self._live:
            self.show()
        elif not self.quiet:
            print(f"{text}  [{self.counts}]", file=self.stream, flush=True)


@contextmanager
def step_bar(title: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how many steps of how many are done; shows a bar in a terminal once it is."""
    console = Console(file=sys.stderr)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    with Progress(BarColumn(bar_width=24), TextColumn(title), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task(title, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def clock(seconds: float | None) -> str:
    """``1:05`` or ``2:00:10``."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
