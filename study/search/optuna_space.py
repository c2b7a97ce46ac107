"""The axes of a space as an Optuna trial is asked for them, one after the other, and only those that apply."""

from __future__ import annotations

from typing import Any

import optuna

from study.config.axis import Span
from study.config.search_space import CORE, Setting
from trainers.epsilon import Epsilon, format_epsilon
from trainers.losses.taxonomy import TAXONOMY

Choice = str | int | float | bool | None


class OptunaSpace:
    """The spaces of a study. A parameter's name is its axis; of several spaces, ``NUMBER.axis``."""

    def __init__(self, spaces: list[dict[str, list[Any]]]) -> None:
        self.spaces = spaces

    def setting(self, trial: optuna.Trial) -> Setting:
        """A value for every axis that applies: Φ and ε only where the loss has them, ``loss.X`` only where it has X.

        An axis with one value is no parameter. Asked again of the same trial, it gives the same.
        """
        number, prefix = 0, ""
        if len(self.spaces) > 1:
            number = trial.suggest_categorical("space", list(range(len(self.spaces))))
            prefix = f"{number}."
        space = self.spaces[number]
        terms = _suggest(trial, f"{prefix}loss", space["loss"])
        has = {f"loss.{parameter.name}" for term in terms for parameter in TAXONOMY[term["name"]].parameters}
        takes = any(TAXONOMY[term["name"]].phi_eps for term in terms)
        setting: Setting = {"loss": terms, "phi": None, "eps": None}
        for name in sorted(space, key=lambda name: CORE.index(name) if name in CORE else len(CORE)):
            skipped = (name in ("phi", "eps") and not takes) or (name.startswith("loss.") and name not in has)
            if name != "loss" and not skipped:
                setting[name] = _suggest(trial, f"{prefix}{name}", space[name])
        return setting


def labels(values: list[Any]) -> list[Choice]:
    """A short name for each value of an axis, no two alike: what Optuna keeps and its dashboard shows."""
    named: list[Choice] = []
    for value in values:
        base = _label(value)
        label, number = base, 2
        while label in named:
            label, number = f"{base} #{number}", number + 1
        named.append(label)
    return named


def _suggest(trial: optuna.Trial, name: str, values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Span):
        if first.whole:
            return first.value(trial.suggest_int(name, round(first.low), round(first.high), log=first.log))
        return first.value(trial.suggest_float(name, first.low, first.high, log=first.log))
    if len(values) == 1:
        return first
    named = labels(values)
    return values[named.index(trial.suggest_categorical(name, named))]


def _label(value: Any) -> Choice:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Epsilon) or (isinstance(value, dict) and all(isinstance(v, Epsilon) for v in value.values())):
        return format_epsilon(value)
    if isinstance(value, tuple) and value and isinstance(value[0], dict) and "weight" in value[0]:
        return _loss_label(value)
    return str(value)


def _loss_label(terms: tuple[dict[str, Any], ...]) -> str:
    written = []
    for term in terms:
        weight = "" if term["weight"] == 1 else f"{term['weight']:g} "
        given = "".join(f" {name}={entry}" for name, entry in term["parameters"].items())
        written.append(f"{weight}{term['name']}{given}")
    return " + ".join(written)
