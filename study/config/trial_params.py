"""One trial as flat, named values: the parameters of its run, and its row in the table of trials."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from trainers.epsilon import format_epsilon
from trainers.result import TrialResult
from trainers.spec import TrialSpec

Value = str | int | float

RESOLVED = ("eps_voxels", "v_hat")
"""Parameters [voxels] that are known once the cases are split, and differ a little between folds."""


def trial_settings(spec: TrialSpec) -> dict[str, Value]:
    """Everything that makes the trial's cell, by name; the same names as in a study file's space."""
    named: dict[str, Any] = {
        "loss": spec.loss.name,
        "phi": spec.loss.phi,
        "eps": None if spec.loss.eps is None else format_epsilon(spec.loss.eps),
        "batch_size": spec.batch_size,
        "labeling": str(spec.labeling),
        **_loss_parameters(spec),
    }
    for name, value in spec.protocol:
        if name == "schedule":
            named |= {"schedule": value.name}
            if value.name == "plateau":
                named |= {f"schedule.{part}": entry for part, entry in value if part != "name"}
        else:
            named[name] = value
    fields = type(spec.data).model_fields
    named |= {f"data.{fields[name].alias or name}": value for name, value in spec.data if name not in spec.data.UNKEYED}
    return {name: _flat(value) for name, value in named.items()}


def resolved(spec: TrialSpec, result: TrialResult | None) -> dict[str, float]:
    """ε and v̂ [voxels] of the emptied class, the first if there are several; empty before they are known."""
    name = spec.empty.classes[0]
    values = {
        "eps_voxels": result.eps_voxels.get(name) if result else None,
        "v_hat": result.v_hat.get(name) if result else None,
    }
    return {key: value for key, value in values.items() if value is not None}


def setting_name(settings: Mapping[str, Value], varied: Collection[str] = ()) -> str:
    """A setting on one line, as runs are named: ``I ε=v_hat B=2 partial``.

    The loss stands before it if it varies, and behind it what else does.
    """
    parts = [str(settings["loss"])] if "loss" in varied or settings["phi"] == "" else []
    if settings["phi"] != "":
        parts += [str(settings["phi"]), f"ε={settings['eps']}"]
    parts += [f"B={settings['batch_size']}", str(settings["labeling"])]
    parts += [f"{name}={settings[name]}" for name in varied if name not in _CORE and name in settings]
    return " ".join(parts)


def varied_settings(settings: Iterable[Mapping[str, Value]]) -> list[str]:
    """Names of the settings that take more than one value."""
    values: dict[str, set[Value]] = {}
    for setting in settings:
        for name, value in setting.items():
            values.setdefault(name, set()).add(value)
    return [name for name, seen in values.items() if len(seen) > 1]


def _loss_parameters(spec: TrialSpec) -> dict[str, Any]:
    """``loss.alpha``, or ``loss.dice.background`` where several losses are summed."""
    alone = len(spec.loss.terms) == 1
    return {
        f"loss.{name}" if alone else f"loss.{term.name}.{name}": value
        for term in spec.loss.terms
        for name, value in term.parameters.items()
    }


_CORE = ("loss", "phi", "eps", "batch_size", "labeling")


def _flat(value: Any) -> Value:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={entry}" for key, entry in value.items())
    if isinstance(value, tuple | list):
        return "×".join(map(str, value))
    return str(value)
