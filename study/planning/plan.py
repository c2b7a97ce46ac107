"""What a launch would do, before it does it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from study.config.search_space import enumerate_trials, representative_trials
from study.config.spec import StudySpec
from study.execution.resources import local_gpus
from study.planning.data import key_of_sound
from study.search.references import known_trials
from study.storage.folders import Storage
from study.storage.suggestions import SuggestionRecord
from trainers.result import TrialResult
from trainers.spec import TrialSpec


@dataclass(frozen=True)
class Plan:
    """The trials of a study, and those that are over.

    ``results`` holds the ending of each trial that has one; ``to_run`` the others. Of a search, ``trials`` are those
    that it has come to so far, and ``range_ends`` show what else it may run; of a grid the two are the same.
    """

    study: StudySpec
    trials: tuple[TrialSpec, ...]
    results: dict[str, TrialResult]
    range_ends: tuple[TrialSpec, ...] = ()

    def refreshed(self, storage: Storage) -> Plan:
        """The same study, with the endings that the storage has now, and what a search has come to since."""
        trials = self.trials
        if self.is_search:
            known = {spec.key: spec for spec in (*trials, *SuggestionRecord.of(self.study, storage).read())}
            trials = tuple(known.values())
        return replace(self, trials=trials, results=_results(trials, storage))

    @property
    def is_search(self) -> bool:
        """Whether the trials are chosen while it runs."""
        return self.study.search.is_search

    @property
    def representatives(self) -> tuple[TrialSpec, ...]:
        """Trials that show all that may run: every setting of a grid, every value of a search's space."""
        if not self.range_ends:
            return self.trials
        return tuple({spec.key: spec for spec in (*self.trials, *self.range_ends)}.values())

    @property
    def total(self) -> int:
        """Trials in all; of a search the most that it may take."""
        return max(len(self.trials), self.study.search.trials or 0)

    @property
    def remaining(self) -> int:
        """How many of them have no ending yet."""
        return self.total - len(self.results)

    @property
    def to_run(self) -> list[TrialSpec]:
        """Trials without an ending, in the study's order."""
        return [spec for spec in self.trials if spec.key not in self.results]

    @property
    def cells(self) -> int:
        """Number of settings."""
        return len({spec.cell for spec in self.trials})

    @property
    def seconds_per_trial(self) -> float | None:
        """Mean time of the trials that are done, None before the first."""
        times = [result.all_seconds for result in self.results.values() if result.state == "DONE"]
        return sum(times) / len(times) if times else None

    def concurrent(self) -> tuple[int, str]:
        """Trials that run side by side on this machine, and what limits them."""
        resources = self.study.resources
        limits = {"cpus": int((os.cpu_count() or 1) / resources.cpus)}
        if resources.gpus:
            limits["gpus"] = int(local_gpus() / resources.gpus)
        if resources.concurrent is not None:
            limits["resources.concurrent"] = resources.concurrent
        limits["trials"] = max(self.remaining, 1)
        name = min(limits, key=lambda entry: limits[entry])
        return max(limits[name], 1), name

    def as_dict(self) -> dict[str, object]:
        """The contract's ``plan``."""
        concurrent, limited_by = self.concurrent()
        seconds = self.seconds_per_trial
        return {
            "trials": self.total,
            "cells": self.cells,
            "done": sum(result.state == "DONE" for result in self.results.values()),
            "failed": sum(result.state == "FAILED" for result in self.results.values()),
            "to_run": self.remaining,
            "hours": None if seconds is None else self.remaining * seconds / concurrent / 3600,
            "concurrent": concurrent,
            "limited_by": limited_by,
        }


def make_plan(study: StudySpec, storage: Storage) -> Plan:
    """Enumerate the study and look up what is over; writes nothing.

    Raises: InputError with every fault of the data's layout.
    """
    if not study.search.is_search:
        trials = enumerate_trials(study, key_of_sound)
        return Plan(study, tuple(trials), _results(trials, storage))
    trials = known_trials(study, storage, key_of_sound)
    return Plan(study, tuple(trials), _results(trials, storage), tuple(representative_trials(study, key_of_sound)))


def _results(trials: Sequence[TrialSpec], storage: Storage) -> dict[str, TrialResult]:
    found = {spec.key: storage.result(spec.key) for spec in trials}
    return {key: result for key, result in found.items() if result is not None}
