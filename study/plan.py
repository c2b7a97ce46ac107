"""What a launch would do, before it does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from study.search.record import AskedRecord, known_trials
from study.space import enumerate_trials, sample_trials
from study.spec import StudySpec
from study.storage import Storage
from trainers.assignment import assign, divide
from trainers.data.base import DataSpec
from trainers.data.inspection import inspect
from trainers.data.preparation import Progress, Run, one_by_one, prepare, prepare_distances
from trainers.data.prepared import PreparedData, is_prepared, open_prepared
from trainers.errors import Fault, InputError
from trainers.networks import check_network
from trainers.outcome import TrialResult
from trainers.spec import TrialSpec


@dataclass(frozen=True)
class Plan:
    """The trials of a study, and those that are over.

    ``results`` holds the ending of each trial that has one; ``to_run`` the others. Of a search, ``trials`` are those
    that it has come to so far, and ``samples`` show what else it may run; of a grid the two are the same.
    """

    study: StudySpec
    trials: tuple[TrialSpec, ...]
    results: dict[str, TrialResult]
    samples: tuple[TrialSpec, ...] = ()

    def renewed(self, storage: Storage) -> Plan:
        """The same study, with the endings that the storage has now, and what a search has come to since."""
        trials = self.trials
        if self.is_search:
            known = {spec.key: spec for spec in (*trials, *AskedRecord.of(self.study, storage).read())}
            trials = tuple(known.values())
        return replace(self, trials=trials, results=_results(trials, storage))

    @property
    def is_search(self) -> bool:
        """Whether the trials are chosen while it runs."""
        return self.study.search.strategy != "grid"

    @property
    def shown(self) -> tuple[TrialSpec, ...]:
        """Trials that show all that may run: every setting of a grid, every value of a search's space."""
        if not self.samples:
            return self.trials
        return tuple({spec.key: spec for spec in (*self.trials, *self.samples)}.values())

    @property
    def expected(self) -> int:
        """Trials in all; of a search the most that it may take."""
        return max(len(self.trials), self.study.search.trials or 0)

    @property
    def to_come(self) -> int:
        """How many of them have no ending yet."""
        return self.expected - len(self.results)

    @property
    def to_run(self) -> list[TrialSpec]:
        """Trials without an ending, in the study's order."""
        return [spec for spec in self.trials if spec.key not in self.results]

    @property
    def cells(self) -> int:
        """Number of settings."""
        return len({spec.cell for spec in self.trials})

    @property
    def seconds_a_trial(self) -> float | None:
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
        limits["trials"] = max(self.to_come, 1)
        name = min(limits, key=lambda entry: limits[entry])
        return max(limits[name], 1), name

    def as_dict(self) -> dict[str, object]:
        """The contract's ``plan``."""
        concurrent, limited_by = self.concurrent()
        seconds = self.seconds_a_trial
        return {
            "trials": self.expected,
            "cells": self.cells,
            "done": sum(result.state == "DONE" for result in self.results.values()),
            "failed": sum(result.state == "FAILED" for result in self.results.values()),
            "to_run": self.to_come,
            "hours": None if seconds is None else self.to_come * seconds / concurrent / 3600,
            "concurrent": concurrent,
            "limited_by": limited_by,
        }


def make_plan(study: StudySpec, storage: Storage) -> Plan:
    """Enumerate the study and look up what is over; writes nothing.

    Raises: InputError with every fault of the data's layout.
    """
    if study.search.strategy == "grid":
        trials = enumerate_trials(study, key_of_sound)
        return Plan(study, tuple(trials), _results(trials, storage))
    trials = known_trials(study, storage, key_of_sound)
    return Plan(study, tuple(trials), _results(trials, storage), tuple(sample_trials(study, key_of_sound)))


def _results(trials: Sequence[TrialSpec], storage: Storage) -> dict[str, TrialResult]:
    found = {spec.key: storage.result(spec.key) for spec in trials}
    return {key: result for key, result in found.items() if result is not None}


def check_settings(trials: Sequence[TrialSpec]) -> None:
    """See that each setting fits its data's cases, as far as that can be known without their voxels.

    Raises: InputError with every setting that does not.
    """
    cases = {spec.data_key: spec.data.list_cases() for spec in trials}
    _raise_all(trials, lambda spec: divide(spec, cases[spec.data_key]))


def local_gpus() -> int:
    """GPUs that this machine's driver shows."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()])


def _raise_all(trials: Sequence[TrialSpec], check: Callable[[TrialSpec], object]) -> None:
    faults: list[Fault] = []
    for spec in {spec.cell: spec for spec in reversed(trials)}.values():
        try:
            check(spec)
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(list(dict.fromkeys(faults)))


def inspect_data(trials: Sequence[TrialSpec], storage: Storage, progress: Progress | None = None) -> None:
    """Look whole at every source of the trials that is not prepared yet; what is prepared has been looked at.

    Raises: InputError with every fault.
    """
    faults: list[Fault] = []
    for source in unprepared(trials, storage).values():
        faults += inspect(source, progress).faults
    if faults:
        raise InputError(faults)


def unprepared(trials: Sequence[TrialSpec], storage: Storage) -> dict[str, DataSpec]:
    """The trials' sources that are not prepared yet, by content hash."""
    return {key: source for key, source in _sources(trials).items() if not is_prepared(storage.prepared(key))}


def open_data(
    trials: Sequence[TrialSpec], storage: Storage, progress: Progress | None = None, run: Run = one_by_one
) -> dict[str, PreparedData]:
    """Prepare every source that the trials need, once; by data key. ``run`` may spread the cases over machines.

    Raises: InputError with every setting that does not fit its data.
    """
    with_distances = {spec.data_key for spec in trials if spec.loss.needs_distance}
    opened = {}
    for key, source in _sources(trials).items():
        folder = prepare(source, storage.root.absolute(), progress, run)
        if key in with_distances:
            prepare_distances(folder)
        opened[key] = open_prepared(folder)
    _raise_all(trials, lambda spec: _check(spec, opened[spec.data_key]))
    return opened


def _check(spec: TrialSpec, data: PreparedData) -> None:
    assign(spec, data.table)
    check_network(spec.protocol.network, data.channels, data.maps, data.patch, spec.batch_size)


def _sources(trials: Sequence[TrialSpec]) -> dict[str, DataSpec]:
    return {spec.data_key: spec.data for spec in trials}


def key_of_sound(source: DataSpec) -> str:
    """Content hash of a source's data. Raises: InputError with everything that is wrong with it."""
    try:
        return source.key()
    except InputError as error:
        # Looked at whole, so that a missing file does not hide what is wrong with those that are there.
        raise InputError(inspect(source).faults or error.faults) from None
