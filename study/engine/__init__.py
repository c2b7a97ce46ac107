"""Where trials run: on Ray, this machine's or a cluster's, or in the launching process. Ray is imported here alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from study.engine.supply import Supply
from study.spec import ResourceSpec
from study.storage import Storage
from trainers.data.preparation import Work, one_by_one


@dataclass(frozen=True)
class Event:
    """What happened to a trial.

    It started, has a new epoch, waits for the storage, ended with a result, or was lost without one.
    """

    kind: Literal["started", "epoch", "waits", "ended", "lost"]
    key: str
    reason: str = ""


Listener = Callable[[Event], None]
INLINE = "inline"
"""An address that runs everything in the launching process, one after the other."""


@dataclass(frozen=True)
class Circumstances:
    """Where trials run and who hears of it.

    ``listen`` hears of every trial's life in the launching process. Once ``should_stop`` says so, no trial starts
    and those that run are ended; their checkpoints stay. ``scratch`` is a folder for the engine's own files.
    """

    storage: Storage
    resources: ResourceSpec
    listen: Listener
    should_stop: Callable[[], bool]
    scratch: Path


@dataclass(frozen=True)
class Node:
    """One machine of an engine: its identity there, its address, and the GPUs that the engine counts on it."""

    id: str
    address: str
    gpus: float = 0.0

    def __str__(self) -> str:
        return f"node {self.address}"


class Engine(Protocol):
    """Where work is done; use as a context."""

    def __enter__(self) -> Engine: ...
    def __exit__(self, *_: object) -> None: ...

    def spread(self, work: Work, numbers: Sequence[int]) -> Iterable[dict[str, Any]]:
        """Do the work on every number, in any order; the results as they come."""

    def ask_nodes(self, question: Callable[[str], Any]) -> Iterable[tuple[Node, Any]]:
        """Put a question to every machine, which gets its identity; its answer, or in words why there is none."""

    def run_trials(self, supply: Supply, given: Circumstances) -> None:
        """Run what the supply gives, and tell it how each trial ended; returns when it is over and all are."""


class _BehindError(BaseException):
    """Ends a trial from within; no fault of the trial's, so nothing that it catches."""


class InlineEngine:
    """The same in this process, one after the other: for tests and debuggers."""

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def spread(self, work: Work, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Do the work here."""
        return one_by_one(work, numbers)

    def ask_nodes(self, question: Callable[[str], Any]) -> Iterator[tuple[Node, Any]]:
        """Ask this process."""
        here = Node("here", "here")
        yield here, question(here.id)

    def run_trials(self, supply: Supply, given: Circumstances) -> None:
        """Run the trials here."""
        from study.worker import work

        # Nothing runs beside this, so a supply that has nothing now has nothing to wait for either.
        while not given.should_stop() and (spec := supply.next()) is not None:
            given.listen(Event("started", spec.key))

            def tell(_: object, key: str = spec.key) -> None:
                given.listen(Event("epoch", key))
                if supply.is_behind(key):
                    raise _BehindError

            with suppress(_BehindError):
                work(
                    spec,
                    given.storage,
                    tell=tell,
                    complain=lambda why, key=spec.key: given.listen(Event("waits", key, why)),  # type: ignore[misc]
                )
            supply.tell(spec.key, given.storage.result(spec.key))
            given.listen(Event("ended", spec.key))


def engine_at(address: str | None) -> Engine:
    """The engine of an address: this machine's Ray, a cluster's, or ``inline``."""
    from study.engine.tune import RayEngine

    return InlineEngine() if address == INLINE else RayEngine(address)
