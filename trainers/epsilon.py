"""The smoothing term ε as users write it: in voxels, or in units of v̂."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

V_HAT = "v_hat"


@dataclass(frozen=True)
class Epsilon:
    """ε > 0, an absolute number of voxels or a multiple of v̂.

    v̂ = E[Σ_φ y] is the mean foreground volume [voxels] of a class over the training maps,
    the empty ones included, under the labeling in force.
    """

    amount: float
    unit: Literal["voxels", "v_hat"] = "voxels"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise ValueError(
                f"ε is {self.amount:g}, expected a finite number above 0 (without ε, an empty map predicted "
                "empty is 0/0); the usual negligible value is 1.0e-7"
            )

    @classmethod
    def parse(cls, value: object) -> Epsilon:
        """Read ``1.0e-7``, ``"v_hat"`` or ``"0.1 v_hat"``.

        Raises: ValueError if it is none of these, or not above 0.
        """
        if isinstance(value, Epsilon):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"ε is {value!r}, expected a number [voxels], 'v_hat' or a multiple such as '0.1 v_hat'")
        words = str(value).replace("*", " ").split()
        unit: Literal["voxels", "v_hat"] = "voxels"
        if words and words[-1] in (V_HAT, "v̂"):
            unit = "v_hat"
            words = words[:-1] or ["1"]
        try:
            (amount,) = map(float, words)
        except ValueError:
            raise ValueError(
                f"ε is {value!r}, expected a number [voxels], 'v_hat' or a multiple such as '0.1 v_hat'"
            ) from None
        # As many digits as it is written with, so that a range meets a value given by hand.
        return cls(float(f"{amount:.10g}"), unit)

    def voxels(self, v_hat: float) -> float:
        """ε [voxels], given v̂ [voxels]."""
        return self.amount * v_hat if self.unit == "v_hat" else self.amount

    def __str__(self) -> str:
        if self.unit == "voxels":
            return f"{self.amount:.10g}"
        return V_HAT if self.amount == 1 else f"{self.amount:.10g} {V_HAT}"


EpsilonField = Annotated[
    Epsilon,
    BeforeValidator(Epsilon.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["number", "string"], "examples": [1e-7, "v_hat", "0.1 v_hat"]}),
]


def write_eps(eps: Epsilon | dict[str, Epsilon] | None) -> str | dict[str, str] | None:
    """ε as JSON has it: one text, or one per class; what ``Epsilon.parse`` reads again."""
    if isinstance(eps, dict):
        return {name: str(value) for name, value in eps.items()}
    return None if eps is None else str(eps)


def format_epsilon(eps: Any) -> str:
    """One line for a parameter, a table or a legend; per class as ``RV=1e-07, LV=v_hat``."""
    if isinstance(eps, dict):
        return ", ".join(f"{name}={value}" for name, value in eps.items())
    return str(eps)
