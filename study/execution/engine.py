"""Where trials run: on Ray, this machine's or a cluster's, or in the launching process. Ray is imported here alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from study.config.spec import ResourceSpec
from study.execution.trial_source import TrialSource
from study.storage.folders import Storage
from trainers.data.prepared.write import Work


@dataclass(frozen=True)
class Event:
    """What happened to a trial.

    It started, has a new epoch, waits for the storage, ended with a result, or was lost without one.
    """

    kind: Literal["started", "epoch", "waits", "ended", "lost"]
    key: str
    reason: str = ""


Listener = Callable[[Event], None]


@dataclass(frozen=True)
class RunContext:
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

    def run_trials(self, source: TrialSource, context: RunContext) -> None:
        """Run what the supply gives, and tell it how each trial ended; returns when it is over and all are."""
