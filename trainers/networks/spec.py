"""Which network a trial trains, by name. No torch: a name or an argument that is wrong is told at once."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field, model_serializer, model_validator

from trainers.data.base import FrozenSpec
from trainers.networks.monai_signatures import SUPPLIED, find_network, network_names
from trainers.networks.unet_config import DESIGNS, Design


class NetworkSpec(FrozenSpec):
    """A network by its name, ours or MONAI's, with the arguments that are not left to it.

    Written as the bare name, ``tiny``, or with arguments beside it, ``{name: VNet, dropout_prob_down: 0.1}``;
    and so it is dumped. Ours take ``features``, the channels of each level.
    """

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read_either_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, NetworkSpec):
            return value
        if not isinstance(value, dict):
            raise ValueError(f"network is {value!r}, expected a name, or {{name: …}} with arguments beside it")
        given = {key: entry for key, entry in value.items() if key not in ("name", "arguments")}
        nested = value.get("arguments", {})
        if not isinstance(nested, dict):
            raise ValueError(f"arguments is {nested!r}, expected a mapping")
        given |= nested
        # One order, and no argument that says what holds anyway: equal networks are to give equal keys.
        arguments = {key: _frozen(key, given[key]) for key in sorted(given, key=str)}
        design = DESIGNS.get(str(value.get("name")))
        if design is not None and arguments.get("features") == design.features:
            del arguments["features"]
        named = {"name": value["name"]} if "name" in value else {}
        return named | {"arguments": arguments}

    @model_validator(mode="after")
    def _is_known(self) -> NetworkSpec:
        problems = _faults_of_ours(self) if self.is_ours else _faults_of_monai(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_serializer
    def _write(self) -> str | dict[str, Any]:
        return {"name": self.name, **self.arguments} if self.arguments else self.name

    def __str__(self) -> str:
        """``tiny``, or ``tiny(features=[8, 16])``."""
        arguments = ", ".join(f"{name}={json.dumps(value)}" for name, value in self.arguments.items())
        return f"{self.name}({arguments})" if arguments else self.name

    def __hash__(self) -> int:
        # The values may hold mappings; equal specs have equal names, which is all that a hash has to promise.
        return hash((self.name, *self.arguments))

    @property
    def is_ours(self) -> bool:
        """Whether it is one of ``DESIGNS``, and not a class of MONAI's."""
        return self.name in DESIGNS

    @property
    def design(self) -> Design | None:
        """What a network of ours is made of; None for one of MONAI's."""
        design = DESIGNS.get(self.name)
        return dataclasses.replace(design, **self.arguments) if design else None

    def check_patch(self, shape: Sequence[int]) -> None:
        """Find out whether a network of ours can pool patches of ``shape``; MONAI's have to be tried out.

        Raises: ValueError if it cannot.
        """
        if self.design is not None:
            self.design.pools(shape)


def _frozen(name: object, value: Any) -> Any:
    """The value as a file can hold it, with tuples for lists. Raises: ValueError for anything else."""
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return tuple(_frozen(name, entry) for entry in value)
    if isinstance(value, dict):
        return {str(key): _frozen(name, entry) for key, entry in value.items()}
    raise ValueError(f"{name} is {value!r}, expected a number, a word, true or false, or a list or mapping of these")


def _faults_of_ours(spec: NetworkSpec) -> list[str]:
    known = ["features"]
    problems = [
        _unknown(f"argument of network {spec.name}", name, known) for name in spec.arguments if name not in known
    ]
    features = spec.arguments.get("features", DESIGNS[spec.name].features)
    whole = isinstance(features, tuple) and all(isinstance(one, int) and not isinstance(one, bool) for one in features)
    if not whole or len(features) < 2 or min(features) < 1:
        problems.append(f"features of network {spec.name} is {features!r}, expected at least two whole numbers above 0")
    return problems


def _faults_of_monai(spec: NetworkSpec) -> list[str]:
    signature = find_network(spec.name)
    if signature is None:
        near = _near(spec.name, [*DESIGNS, *network_names()])
        known = f"{', '.join(DESIGNS)}, or a MONAI network by its class name (BasicUNet, DynUNet, …)"
        return [f"unknown network {spec.name!r}, known: {known}{near}"]
    if not signature.fits_data:
        return [f"MONAI's {spec.name} has no in_channels and out_channels, and cannot be fitted to the data"]
    ours = [name for name in SUPPLIED if name in signature.known]
    theirs = [name for name in signature.known if name not in ours]
    problems = []
    for name in spec.arguments:
        if name in ours:
            problems.append(f"{name} of network {spec.name} follows from the data; leave it out")
        elif name not in theirs:
            problems.append(_unknown(f"argument of network {spec.name}", name, theirs))
    if missing := [name for name in theirs if name in signature.required and name not in spec.arguments]:
        problems.append(f"network {spec.name} needs {', '.join(missing)}")
    return problems


def _unknown(kind: str, word: str, known: Sequence[str]) -> str:
    return f"unknown {kind} {word!r}, known: {', '.join(known)}{_near(word, known)}"


def _near(word: str, known: Iterable[str]) -> str:
    # Without regard to case: what is mistyped most in a class's name.
    folded = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), folded, n=1)
    return f"; did you mean {folded[found[0]]!r}?" if found else ""
