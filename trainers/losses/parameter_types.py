"""What values the parameters of the losses may have. No torch, so that a study file is checked at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from trainers.losses.taxonomy import Kind, Parameter


def wanted_instead(parameter: Parameter, value: object) -> str:
    """What the parameter expects, if ``value`` is not that; else nothing."""
    accepts, expected = _KINDS[parameter.kind]
    return "" if accepts(value) else expected


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and no flag."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_sequence(value: object) -> bool:
    """Whether it holds several values."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _number(accepts: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: is_number(value) and accepts(value)


_KINDS: dict[Kind, tuple[Callable[[Any], bool], str]] = {
    "positive": (_number(lambda value: value > 0), "a number above 0"),
    "nonnegative": (_number(lambda value: value >= 0), "a number, 0 or above"),
    "share": (_number(lambda value: 0 <= value <= 1), "a number from 0 to 1"),
    "percent": (_number(lambda value: 0 < value <= 100), "a number above 0, at most 100 [%]"),
    "flag": (lambda value: isinstance(value, bool), "true or false"),
    "probability or none": (
        lambda value: value is None or (is_number(value) and 0 < value <= 1),
        "a number above 0, at most 1",
    ),
    "nonnegative or none": (lambda value: value is None or (is_number(value) and value >= 0), "a number, 0 or above"),
    "weights": (
        lambda value: (
            value is None or (is_sequence(value) and all(is_number(one) and one >= 0 for one in value) and any(value))
        ),
        "numbers, 0 or above and not all 0, one per class",
    ),
}
