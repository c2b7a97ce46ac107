"""How settings and numbers read in tables, figures and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SIGNS: Mapping[str, str] = {"phi": "Φ", "eps": "ε", "batch_size": "B", "labeling": "labeling"}
ALWAYS = ("phi", "batch_size")
"""The settings that every label shows; others only where they vary."""
NOTHING = "–"
"""Stands where there is no figure."""


def varying(settings: Sequence[Mapping[str, Any]], *, among: Iterable[str] | None = None) -> tuple[str, ...]:
    """Name the settings that are not the same everywhere, and those that are always shown."""
    names = list(among) if among is not None else list(dict.fromkeys(name for each in settings for name in each))
    return tuple(name for name in names if name in ALWAYS or len({str(each.get(name)) for each in settings}) > 1)


def label(settings: Mapping[str, Any], shown: Iterable[str]) -> str:
    """Write settings as ``Φ=I, B=2, lr=0.005``; those without a value are left out."""
    parts = []
    for name in shown:
        value = settings.get(name)
        if value is None or value == "":
            continue
        text = figure(value) if isinstance(value, float) else str(value).replace("v_hat", "v̂")
        parts.append(text if name in ("labeling", "loss") else f"{SIGNS.get(name, name)}={text}")
    return ", ".join(parts) or "all settings"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 trial``, ``2 trials``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def figure(value: float | None, digits: int = 3) -> str:
    """Write a number to significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    if 10**digits <= abs(value) < 1e5:
        return f"{value:.0f}"
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def fixed(value: float | None, decimals: int = 2) -> str:
    """Write a number to decimals, with a real minus; a dash where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:.{decimals}f}"
    text = text.lstrip("-") if float(text) == 0 else text
    return text.replace("-", "−")


def ranged(mean: float | None, low: float | None, high: float | None, decimals: int = 2) -> str:
    """Write a mean with its interval, ``0.89 [0.87, 0.91]``."""
    if low is None or high is None:
        return fixed(mean, decimals)
    return f"{fixed(mean, decimals)} [{fixed(low, decimals)}, {fixed(high, decimals)}]"


def p_value(p: float | None) -> str:
    """Write a p-value; very small ones as a bound."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def crossing_text(found: Mapping[str, Any]) -> str:
    """Write a slice's crossing with its interval, in voxels and in v̂, or why there is none."""
    crossing = found["crossing"]
    if crossing is None:
        return str(found["reason"])
    relative = crossing["in_v_hat"]
    low, high = (figure(crossing[end]) if crossing[end] is not None else "open" for end in ("low", "high"))
    if crossing["step"]:
        bracket = crossing["bracket"]
        notes = [f"{' to '.join(map(figure, relative['bracket']))} v̂"] if None not in relative["bracket"] else []
        if [crossing["low"], crossing["high"]] != list(bracket):
            notes.append(f"95 % interval {low} to {high} voxels")
        text = f"between ε = {figure(bracket[0])} and {figure(bracket[1])} voxels"
        text += f" ({'; '.join(notes)})" if notes else ""
        return f"{text}; the step is narrower than the grid, so no closer value is known"
    text = f"at ε = {figure(crossing['eps'])} voxels [{low}, {high}]"
    return text + (f", {figure(relative['eps'])} v̂" if relative["eps"] is not None else "")


def tally(outcomes: Mapping[str, int]) -> str:
    """Write counts of outcomes as ``2 learns empty, 1 collapsed``."""
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items()) or NOTHING
