"""The search space: axes with values, and their grid, enumerated purely and without repeats."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from study.config.axis import Span, Term, changed, error_text, read_entry
from study.config.messages import Path, field_names, nearest, unknown
from study.config.spec import SearchSpec, Space, StudySpec
from study.config.splits_file import read_splits
from trainers.data.base import DataSpec
from trainers.losses.taxonomy import TAXONOMY
from trainers.spec import FoldSpec, LossSpec, ProtocolSpec, TrialSpec

Setting = dict[str, Any]
"""One value for every axis of a space."""

CORE = ("loss", "phi", "eps", "batch_size", "labeling")
"""Axes that every space writes out: a library's silent default for one of these is what this is about."""


@dataclass
class Axes:
    """The axes of every joined space, with their values read, and what was wrong with them."""

    spaces: list[dict[str, list[Any]]] = field(default_factory=list)
    faults: list[tuple[Path, str, str]] = field(default_factory=list)


def read_space(study: StudySpec) -> Axes:
    """Read every axis of the study's space; faults are collected with their path below ``search.space``."""
    axes = Axes()
    joined = isinstance(study.search.space, tuple)
    for number, space in enumerate(study.search.spaces):
        base: Path = (number,) if joined else ()
        axes.spaces.append(_read_axes(study, space, base, axes.faults))
    if not axes.faults:
        # Values that are right alone can be wrong together (ε per class with Φ = BCI); one fold tells.
        axes.faults += list(dict.fromkeys(_clashes(study, axes)))
    return axes


def enumerate_trials(study: StudySpec, data_key: Callable[[DataSpec], str]) -> list[TrialSpec]:
    """All trials of the study's grid: no repeats, a fixed order, all cells once before any cell twice.

    ``data_key`` gives the content hash of a source's data (``DataSpec.key``).

    Raises: InputError if the file of splits is at fault.
    """
    settings = list(_settings(read_space(study)))
    maker = TrialMaker(study, data_key)
    trials: dict[str, TrialSpec] = {}
    for seed, fold in itertools.product(range(study.seeds), range(study.folds)):
        for setting in settings:
            trial = maker.trial(setting, fold, seed)
            trials.setdefault(trial.key, trial)
    return list(trials.values())


def representative_trials(study: StudySpec, data_key: Callable[[DataSpec], str]) -> list[TrialSpec]:
    """Trials that show what a search may run: every value of every axis, every source of data, ranges by their ends.

    Raises: InputError if the file of splits is at fault.
    """
    maker = TrialMaker(study, data_key)
    trials = [maker.trial(setting) for space in read_space(study).spaces for setting in representative_settings(space)]
    return list({trial.key: trial for trial in trials}.values())


class TrialMaker:
    """Makes a study's trials from settings; the hash of each source's data is computed once."""

    def __init__(self, study: StudySpec, data_key: Callable[[DataSpec], str]) -> None:
        """``data_key``: as of ``enumerate_trials``. Raises: InputError if the file of splits is at fault."""
        self.study, self._data_key = study, data_key
        self._splits = read_splits(study.splits, study.folds) if study.splits else [None] * study.folds
        self._keys: dict[str, str] = {}

    def trial(self, setting: Setting, fold: int = 0, seed: int = 0) -> TrialSpec:
        """The trial of a setting. Raises: pydantic's ValidationError if its values do not go together."""
        data = _data(self.study, setting)
        written = data.model_dump_json()
        if written not in self._keys:
            self._keys[written] = self._data_key(data)
        return make_trial(self.study, setting, data, self._keys[written], fold, seed, self._splits[fold])


def make_trial(
    study: StudySpec,
    setting: Setting,
    data: DataSpec,
    data_key: str,
    fold: int = 0,
    seed: int = 0,
    split: FoldSpec | None = None,
) -> TrialSpec:
    """The trial of one setting. Raises: pydantic's ValidationError if its values do not go together."""
    protocol = {name: value for name, value in setting.items() if name in ProtocolSpec.model_fields}
    terms = [_with_searched(term, setting) for term in setting["loss"]]
    takes = any(TAXONOMY[term["name"]].phi_eps for term in terms)
    return TrialSpec(
        data=data,
        data_key=data_key,
        empty=study.labeling.empty,
        labeling=setting["labeling"],
        # Φ and ε of a joined grid fall away for a loss that has none, and the repeats with them.
        loss=LossSpec(terms=terms, phi=setting["phi"] if takes else None, eps=setting["eps"] if takes else None),
        batch_size=setting["batch_size"],
        protocol=study.trial.model_copy(update=protocol),
        folds=study.folds,
        fold=fold,
        split=split,
        seed=seed,
    )


def _with_searched(term: Term, setting: Setting) -> Term:
    """A term with those searched parameters that its loss has; the others fall away, as Φ and ε do."""
    has = {parameter.name for parameter in TAXONOMY[term["name"]].parameters}
    searched = {
        axis.removeprefix("loss."): value
        for axis, value in setting.items()
        if axis.startswith("loss.") and axis.removeprefix("loss.") in has
    }
    return {**term, "parameters": {**term["parameters"], **searched}}


def _data(study: StudySpec, setting: Setting) -> DataSpec:
    changes = {name.removeprefix("data."): value for name, value in setting.items() if name.startswith("data.")}
    if not changes:
        return study.data
    return changed(study.data, changes)


def _settings(axes: Axes) -> Iterator[Setting]:
    for space in axes.spaces:
        yield from _product(space)


def _product(space: dict[str, list[Any]]) -> Iterator[Setting]:
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values, strict=True))


def representative_settings(space: dict[str, list[Any]]) -> list[Setting]:
    """Settings in which every value of a space occurs with each of its losses and sources of data."""
    listed = {
        name: [end for value in values for end in (value.ends if isinstance(value, Span) else [value])]
        for name, values in space.items()
    }
    sources = {name: values for name, values in listed.items() if name == "loss" or name.startswith("data.")}
    others = {name: values for name, values in listed.items() if name not in sources}
    most = max(map(len, others.values()), default=1)
    return [
        source | {name: values[number % len(values)] for name, values in others.items()}
        for source in _product(sources)
        for number in range(most)
    ]


def _clashes(study: StudySpec, axes: Axes) -> Iterator[tuple[Path, str, str]]:
    if not study.search.is_search:
        settings: Iterable[Setting] = _settings(axes)
    else:
        # A search's space may be beyond counting; what clashes only in the middle of it is told to the sampler.
        settings = [setting for space in axes.spaces for setting in representative_settings(space)]
    for setting in settings:
        try:
            make_trial(study, setting, _data(study, setting), "")
        except ValidationError as error:
            for entry in error.errors():
                cause = entry.get("ctx", {}).get("error", entry["msg"])
                yield (), str(cause), "take the clashing values into a space of their own"


def _read_axes(study: StudySpec, space: Space, base: Path, faults: list[tuple[Path, str, str]]) -> dict[str, list[Any]]:
    known = [*CORE, *ProtocolSpec.model_fields, *(f"data.{name}" for name in field_names(type(study.data)))]
    read: dict[str, list[Any]] = {}
    for name, written in space.items():
        if name not in known and not name.startswith("loss."):
            faults.append(((*base, name), *unknown("axis", name, known)))
            continue
        values: list[Any] = []
        listed = isinstance(written, list)
        for number, value in enumerate(written if listed else [written]):
            path: Path = (*base, name, number) if listed else (*base, name)
            try:
                values += read_entry(study, name, value, alone=not listed or len(written) == 1)
            except ValueError as error:
                faults.append((path, error_text(error), ""))
        if not values and listed and not written:
            faults.append(((*base, name), "has no values", "give at least one"))
        read[name] = values
    if study.search.is_search:
        faults += [((*base, name), fault, remedy) for name, fault, remedy in _unfit_for(study.search, read)]
    names = {term["name"] for terms in read.get("loss", []) for term in terms}
    needs = [axis for axis in CORE if axis not in ("phi", "eps") or any(TAXONOMY[name].phi_eps for name in names)]
    parameters = {f"loss.{parameter.name}" for name in names for parameter in TAXONOMY[name].parameters}
    faults += [
        ((*base, axis), *unknown("parameter", axis, sorted(parameters)))
        for axis in read
        if axis.startswith("loss.") and axis not in parameters
    ]
    faults += [
        ((*base, axis), "is missing", "write it out: no default stands in for what is studied")
        for axis in needs
        # A misspelt axis is told as such already.
        if axis not in space and axis not in (nearest(name, known) for name in space if name not in known)
    ]
    return read


def _unfit_for(search: SearchSpec, read: dict[str, list[Any]]) -> Iterator[tuple[str, str, str]]:
    """Axes that the strategy cannot use as they are: name, fault, remedy."""
    regimes = read.get("labeling", [])
    if search.needs_partial and any(regime.name == "full" for regime in regimes):
        yield (
            "labeling",
            "holds full, which a search about emptied maps would always choose",
            "give partial alone; the search itself runs a few trials under full labeling (references)",
        )
    ranges = [name for name, values in read.items() if any(isinstance(value, Span) for value in values)]
    yield from search.rules.axis_faults(read, ranges)
