"""Looking at, checking and preparing the data of trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from study.storage.folders import Storage
from trainers.assignment import assign_cases, split_cases
from trainers.data.base import DataSpec
from trainers.data.inspection import inspect
from trainers.data.prepared.read import PreparedData, is_prepared, open_prepared
from trainers.data.prepared.write import Progress, Run, one_by_one, prepare, prepare_distances
from trainers.errors import Fault, InputError
from trainers.networks import check_network
from trainers.spec import TrialSpec


def check_settings(trials: Sequence[TrialSpec]) -> None:
    """See that each setting fits its data's cases, as far as that can be known without their voxels.

    Raises: InputError with every setting that does not.
    """
    cases = {spec.data_key: spec.data.list_cases() for spec in trials}
    _raise_all(trials, lambda spec: split_cases(spec, cases[spec.data_key]))


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
    assign_cases(spec, data.table)
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
