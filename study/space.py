"""The search space: axes with values, and their grid, enumerated purely and without repeats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import ValidationError

from study.locate import Path, field_names, lower_first, nearest, unknown
from study.spec import Space, StudySpec
from study.splits import read_splits
from trainers.data.base import DataSpec
from trainers.epsilon import Epsilon
from trainers.losses.taxonomy import PHIS, TAXONOMY
from trainers.spec import FoldSpec, LossSpec, ProtocolSpec, Regime, TermSpec, TrialSpec

Term = dict[str, Any]
"""One loss as written: ``name``, ``weight``, ``parameters``."""
Setting = dict[str, Any]
"""One value for every axis of a space."""

RANGE = {"from", "to", "points"}
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
    splits = read_splits(study.splits, study.folds) if study.splits else [None] * study.folds
    keys: dict[str, str] = {}
    trials: dict[str, TrialSpec] = {}
    for seed, fold in itertools.product(range(study.seeds), range(study.folds)):
        for setting in settings:
            data = _data(study, setting)
            written = data.model_dump_json()
            if written not in keys:
                keys[written] = data_key(data)
            trial = make_trial(study, setting, data, keys[written], fold, seed, splits[fold])
            trials.setdefault(trial.key, trial)
    return list(trials.values())


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
    return _changed(study.data, changes)


def _changed(data: DataSpec, changes: dict[str, Any]) -> DataSpec:
    return type(data).model_validate({**data.model_dump(by_alias=True), **changes})


def _settings(axes: Axes) -> Iterator[Setting]:
    for space in axes.spaces:
        for values in itertools.product(*space.values()):
            yield dict(zip(space, values, strict=True))


def _clashes(study: StudySpec, axes: Axes) -> Iterator[tuple[Path, str, str]]:
    for setting in _settings(axes):
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
                candidates = _spread(name, value) if isinstance(value, dict) and set(value) & RANGE else [value]
                values += [_read_value(study, name, candidate) for candidate in candidates]
            except ValueError as error:
                faults.append((path, _plain(error), ""))
        if not values and listed and not written:
            faults.append(((*base, name), "has no values", "give at least one"))
        read[name] = values
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


def _read_value(study: StudySpec, name: str, value: Any) -> Any:
    """One value of an axis. Raises: ValueError with what came and what is known."""
    match name:
        case "loss":
            return _read_loss(value)
        case "phi":
            if value not in PHIS:
                raise ValueError("; ".join(unknown("Φ", value, PHIS)))
            return value
        case "eps":
            if isinstance(value, dict):
                return {key: Epsilon.parse(part) for key, part in value.items()}
            return Epsilon.parse(value)
        case "labeling":
            return Regime.model_validate(Regime.parse(value))
        case "batch_size":
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"batch size is {value!r}, expected a whole number above 0")
            return value
    if name.startswith("data."):
        part = name.removeprefix("data.")
        return getattr(_changed(study.data, {part: value}), field_names(type(study.data))[part])
    if name.startswith("loss."):
        return value
    return getattr(ProtocolSpec.model_validate({**study.trial.model_dump(), name: value}), name)


def _read_loss(value: Any) -> tuple[Term, ...]:
    """A loss as written, by name, with parameters, or as a weighted sum, as terms. Raises: ValueError."""
    if not (isinstance(value, dict) and "terms" in value):
        return (_read_term(value),)
    odd = [name for name in value if name != "terms"]
    if odd:
        raise ValueError(f"unknown field {odd[0]!r} beside terms")
    if not isinstance(value["terms"], list) or not value["terms"]:
        raise ValueError(f"terms is {value['terms']!r}, expected a list such as [dice, {{name: ce, weight: 0.5}}]")
    return tuple(_read_term(term) for term in value["terms"])


def _read_term(value: Any) -> Term:
    given = dict(value) if isinstance(value, dict) else {"name": value}
    name = given.pop("name", None)
    if name not in TAXONOMY:
        raise ValueError("; ".join(unknown("loss", name, TAXONOMY)))
    term = {"name": name, "weight": given.pop("weight", 1.0), "parameters": given}
    TermSpec.model_validate(term)
    return term


def _spread(name: str, written: dict[str, Any]) -> list[Any]:
    """The values of ``{from, to, points}``, evenly spaced on a logarithmic axis."""
    if set(written) != RANGE:
        raise ValueError(f"a range has the fields from, to and points, got {', '.join(map(str, written))}")
    points = written["points"]
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ValueError(f"points is {points!r}, expected a whole number of at least 2")
    if name == "eps":
        first, last = Epsilon.parse(written["from"]), Epsilon.parse(written["to"])
        if first.unit != last.unit:
            raise ValueError(f"the range goes from {first} to {last}; give both in voxels or both in v_hat")
        amounts = _geometric(first.amount, last.amount, points)
        return [Epsilon(amount, first.unit) for amount in amounts]
    try:
        start, stop = float(written["from"]), float(written["to"])
    except (TypeError, ValueError):
        raise ValueError(f"from and to are {written['from']!r} and {written['to']!r}, expected numbers") from None
    if not (start > 0 and stop > 0 and math.isfinite(start) and math.isfinite(stop)):
        raise ValueError(f"the range goes from {start:g} to {stop:g}; a logarithmic range needs both above 0")
    values = _geometric(start, stop, points)
    field = ProtocolSpec.model_fields.get(name)
    whole = name == "batch_size" or (field is not None and field.annotation is int)
    return [round(value) for value in values] if whole else values


def _geometric(start: float, stop: float, points: int) -> list[float]:
    # Rounded to what a person would write, so that a point which should be 1 v̂ is the v̂ that another space names.
    return [float(f"{value:.3g}") for value in np.geomspace(start, stop, points)]


def _plain(error: ValueError) -> str:
    """The text of an error, whether ours or pydantic's."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        str(entry["ctx"]["error"])
        if entry["type"] == "value_error"
        else f"{' '.join(map(str, entry['loc']))}: {lower_first(entry['msg'])}, got {entry['input']!r}".lstrip(": ")
        for entry in error.errors()
    )
