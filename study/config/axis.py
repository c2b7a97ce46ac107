"""One axis of a search space: its values as a study file writes them, listed, spread over a range, or the range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from study.config.messages import field_names, lower_first, unknown
from study.config.spec import StudySpec
from trainers.data.base import DataSpec
from trainers.epsilon import Epsilon
from trainers.losses.taxonomy import PHIS, TAXONOMY
from trainers.spec import ProtocolSpec, Regime, TermSpec

Term = dict[str, Any]
"""One loss as written: ``name``, ``weight``, ``parameters``."""

RANGE = {"from", "to", "points"}
OPEN_RANGE = {"from", "to", "log"}
DIGITS = 4
"""Significant digits of a searched number: what a person would write, and one key for what is the same."""


@dataclass(frozen=True)
class Span:
    """An axis that a search may set to any number between its ends; ``unit``: of ε, empty for other numbers."""

    low: float
    high: float
    log: bool = True
    whole: bool = False
    unit: Literal["voxels", "v_hat", ""] = ""

    def value(self, amount: float) -> Any:
        """The axis's value at a number between the ends."""
        rounded = float(f"{amount:.{DIGITS}g}")
        if self.unit:
            return Epsilon(rounded, self.unit)
        return round(amount) if self.whole else rounded

    @property
    def ends(self) -> list[Any]:
        """The values at both ends."""
        return [self.value(self.low), self.value(self.high)]


def read_entry(study: StudySpec, name: str, value: Any, alone: bool) -> list[Any]:
    """The values of one entry of an axis: itself, those of a range, or for a search the range; ``alone`` on its axis.

    Raises: ValueError with what came and what is known.
    """
    if not (isinstance(value, dict) and set(value) & (RANGE | OPEN_RANGE)):
        return [_read_value(study, name, value)]
    if "points" in value or not study.search.is_search:
        return [_read_value(study, name, candidate) for candidate in _spread(name, value)]
    if not alone:
        raise ValueError("a range without points stands alone, not in a list")
    span = _read_span(name, value)
    for end in span.ends:
        _read_value(study, name, end)
    return [span]


def _read_span(name: str, written: dict[str, Any]) -> Span:
    """The open range ``{from, to}`` or ``{from, to, log}``. Raises: ValueError."""
    if not {"from", "to"} <= set(written) <= OPEN_RANGE:
        raise ValueError(f"a range has the fields from, to, and log or points, got {', '.join(map(str, written))}")
    if name in ("loss", "phi", "labeling") or name.startswith("data."):
        raise ValueError(f"{name} has no range; list its values")
    log = written.get("log", True)
    if not isinstance(log, bool):
        raise ValueError(f"log is {log!r}, expected true or false")
    if name == "eps":
        first, last = _eps_ends(written)
        low, high, unit = first.amount, last.amount, first.unit
        span = Span(low, high, log, unit=unit)
    else:
        low, high = _number_ends(written, above_zero=log)
        span = Span(low, high, log, whole=_is_whole(name))
    if not low < high:
        raise ValueError(f"the range goes from {low:g} to {high:g}; give the lower end first")
    return span


def _eps_ends(written: dict[str, Any]) -> tuple[Epsilon, Epsilon]:
    first, last = Epsilon.parse(written["from"]), Epsilon.parse(written["to"])
    if first.unit != last.unit:
        raise ValueError(f"the range goes from {first} to {last}; give both in voxels or both in v_hat")
    return first, last


def _number_ends(written: dict[str, Any], above_zero: bool = True) -> tuple[float, float]:
    try:
        start, stop = float(written["from"]), float(written["to"])
    except (TypeError, ValueError):
        raise ValueError(f"from and to are {written['from']!r} and {written['to']!r}, expected numbers") from None
    if not (math.isfinite(start) and math.isfinite(stop)) or (above_zero and not (start > 0 and stop > 0)):
        raise ValueError(f"the range goes from {start:g} to {stop:g}; a logarithmic range needs both above 0")
    return start, stop


def _is_whole(name: str) -> bool:
    field = ProtocolSpec.model_fields.get(name)
    return name == "batch_size" or (field is not None and field.annotation is int)


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
        return getattr(changed(study.data, {part: value}), field_names(type(study.data))[part])
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
        came = f"a range has the fields from, to and points, got {', '.join(map(str, written))}"
        raise ValueError(came if "points" in written else f"{came}; without points it is for a search, not a grid")
    points = written["points"]
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ValueError(f"points is {points!r}, expected a whole number of at least 2")
    if name == "eps":
        first, last = _eps_ends(written)
        return [Epsilon(amount, first.unit) for amount in _geometric(first.amount, last.amount, points)]
    values = _geometric(*_number_ends(written), points)
    return [round(value) for value in values] if _is_whole(name) else values


def _geometric(start: float, stop: float, points: int) -> list[float]:
    # Rounded to what a person would write, so that a point which should be 1 v̂ is the v̂ that another space names.
    return [float(f"{value:.3g}") for value in np.geomspace(start, stop, points)]


def error_text(error: ValueError) -> str:
    """The text of an error, whether ours or pydantic's."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        str(entry["ctx"]["error"])
        if entry["type"] == "value_error"
        else f"{' '.join(map(str, entry['loc']))}: {lower_first(entry['msg'])}, got {entry['input']!r}".lstrip(": ")
        for entry in error.errors()
    )


def changed(data: DataSpec, changes: dict[str, Any]) -> DataSpec:
    """The source with some of its fields as a file would change them."""
    return type(data).model_validate({**data.model_dump(by_alias=True), **changes})
