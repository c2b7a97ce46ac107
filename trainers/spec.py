"""What one trial is: data, labeling, loss and protocol, frozen, and the key that names it.

Sources of data add their own spec (``trainers.data``); a study's file is ``study.config.spec``.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from trainers.augmentation_spec import AugmentSpec
from trainers.data.base import FrozenSpec, count_maps
from trainers.data.sources.registry import AnyDataSpec
from trainers.epsilon import EpsilonField, format_epsilon, write_eps
from trainers.losses.parameter_types import wanted_instead
from trainers.losses.taxonomy import TAXONOMY, LossEntry, Phi
from trainers.networks import NetworkSpec
from trainers.networks.monai_signatures import monai_version

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class EmptySpec(FrozenSpec):
    """Which maps ``partial`` labeling empties: these classes in every case of this group."""

    group: str
    classes: tuple[str, ...] = Field(min_length=1)


class Regime(FrozenSpec):
    """``full``, or ``partial`` with the share of the emptied group's training cases that is emptied.

    Written ``full``, ``partial`` or ``partial 0.5``.
    """

    name: Literal["full", "partial"]
    share: float = Field(default=1.0, gt=0, le=1)

    @classmethod
    def parse(cls, value: object) -> object:
        """Read the written form; anything else is left to the fields' own checks."""
        if isinstance(value, str):
            words = value.split()
            if words == ["full"] or words == ["partial"]:
                return {"name": words[0]}
            if len(words) == 2 and words[0] == "partial":
                return {"name": "partial", "share": words[1]}
            raise ValueError(f"unknown labeling {value!r}, known: full, partial, or partial with a share (partial 0.5)")
        return value

    def __str__(self) -> str:
        return self.name if self.share == 1 else f"{self.name} {self.share:g}"


RegimeField = Annotated[Regime, BeforeValidator(Regime.parse), PlainSerializer(str, return_type=str)]


class TermSpec(FrozenSpec):
    """One loss of a weighted sum, with its own parameters; those not given are written out from the list."""

    name: str
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _write_defaults_out(cls, value: Any) -> Any:
        entry = TAXONOMY.get(str(value.get("name"))) if isinstance(value, dict) else None
        if entry is None or not isinstance(value.get("parameters", {}), dict):
            return value
        # Written out, so that a default that changes one day does not pass stale results off as its own.
        defaults = {parameter.name: parameter.default for parameter in entry.parameters}
        given = {
            # 1 and 1.0 are one parameter, and must give one key.
            name: float(entry) if isinstance(entry, int) and not isinstance(entry, bool) else entry
            for name, entry in value.get("parameters", {}).items()
        }
        return {**value, "parameters": defaults | given}

    @model_validator(mode="after")
    def _is_in_the_list(self) -> TermSpec:
        entry = TAXONOMY.get(self.name)
        if entry is None:
            raise ValueError(f"unknown loss {self.name!r}, known: {', '.join(TAXONOMY)}")
        known = [parameter.name for parameter in entry.parameters]
        odd = [name for name in self.parameters if name not in known]
        problems = [
            f"unknown parameter {name!r} of loss {self.name}, known: {', '.join(known) or 'none'}" for name in odd
        ]
        for parameter in entry.parameters:
            value = self.parameters[parameter.name]
            if expected := wanted_instead(parameter, value):
                problems.append(f"{parameter.name} of loss {self.name} is {value!r}, expected {expected}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def entry(self) -> LossEntry:
        """Its line in the list of losses."""
        return TAXONOMY[self.name]


class LossSpec(FrozenSpec):
    """A loss, or a weighted sum of several, with the Φ and ε that they share where they have them.

    One loss may be given as ``name`` and ``parameters`` in place of ``terms``.
    """

    terms: tuple[TermSpec, ...] = Field(min_length=1)
    phi: Phi | None = None
    # One serialiser for the whole field: that of a union takes the first member for any value, a mapping too.
    eps: Annotated[EpsilonField | dict[str, EpsilonField] | None, PlainSerializer(write_eps)] = None

    @model_validator(mode="before")
    @classmethod
    def _read_a_single_loss(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "name" not in value:
            return value
        rest = {name: entry for name, entry in value.items() if name not in ("name", "parameters")}
        return {"terms": [{"name": value["name"], "parameters": value.get("parameters", {})}], **rest}

    @model_validator(mode="after")
    def _fits_the_list(self) -> LossSpec:
        problems = []
        for name, value in (("phi", self.phi), ("eps", self.eps)):
            if self.takes_phi_eps and value is None:
                problems.append(f"loss {self.name} needs {name}")
            if not self.takes_phi_eps and value is not None:
                problems.append(f"loss {self.name} has no {name}")
        if isinstance(self.eps, dict) and self.phi in ("CI", "BCI"):
            problems.append(
                f"ε per class ({format_epsilon(self.eps)}) needs Φ = I or BI; Φ = {self.phi} spans the classes"
            )
        elif isinstance(self.eps, dict) and self.spans_classes:
            problems.append(
                f"ε per class ({format_epsilon(self.eps)}) is not for loss {self.name}, which sums over classes"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def name(self) -> str:
        """``dice``, or ``dice + 0.5 ce``."""
        return " + ".join(term.name if term.weight == 1 else f"{term.weight:g} {term.name}" for term in self.terms)

    @property
    def takes_phi_eps(self) -> bool:
        """Whether Φ and ε apply to any of the terms."""
        return any(term.entry.phi_eps for term in self.terms)

    @property
    def spans_classes(self) -> bool:
        """Whether one ε stands beside sums over all classes."""
        return self.phi in ("CI", "BCI") or not all(term.entry.eps_per_class for term in self.terms)

    @property
    def needs_distance(self) -> bool:
        """Whether the labels' distance maps are used."""
        return any(term.entry.distance for term in self.terms)


class ScheduleSpec(FrozenSpec):
    """How the learning rate falls.

    ``constant``: never. ``linear``: over the last quarter of the steps, to zero. ``plateau``: times
    ``factor`` after ``patience`` epochs without an improvement of the validation loss by ``min_delta``;
    training ends after ``stop_after`` such epochs.
    """

    name: Literal["constant", "linear", "plateau"] = "linear"
    factor: float = Field(default=0.2, gt=0, lt=1)
    patience: int = Field(default=30, ge=1)
    stop_after: int = Field(default=60, ge=1)
    min_delta: float = Field(default=1e-4, ge=0)

    @classmethod
    def parse(cls, value: object) -> object:
        """Allow the bare name."""
        return {"name": value} if isinstance(value, str) else value


class PatchSpec(FrozenSpec):
    """Where training cuts patches from cases that are kept whole, and how these are predicted.

    ``random``: with chance ``foreground`` about a labelled voxel, else anywhere; ``label``: about the middle of
    the full label. ``overlap``: share of a window's side that the next one covers too, in prediction.
    """

    at: Literal["random", "label"] = "random"
    foreground: float = Field(default=1 / 3, ge=0, le=1)
    overlap: float = Field(default=0.5, ge=0, lt=1)

    @classmethod
    def parse(cls, value: object) -> object:
        """Allow the bare name."""
        return {"at": value} if isinstance(value, str) else value


class FoldSpec(FrozenSpec):
    """The cases of one fold, by name, where a file says them."""

    train: tuple[str, ...] = Field(min_length=1)
    held_out: tuple[str, ...] = Field(min_length=1)


class ProtocolSpec(FrozenSpec):
    """How a trial trains; everything here can be searched over."""

    ADDED: ClassVar[frozenset[str]] = frozenset({"tolerance_ml"})

    network: NetworkSpec = NetworkSpec(name="tiny")
    epochs: int = Field(ge=1)
    lr: Positive = 1e-3
    schedule: Annotated[ScheduleSpec, BeforeValidator(ScheduleSpec.parse)] = ScheduleSpec()
    weight_decay: float = Field(default=0.0, ge=0)
    clip: Positive | None = None
    """Gradient norm above which a step is scaled down; None for never."""
    augment: Annotated[AugmentSpec, BeforeValidator(AugmentSpec.parse)] = AugmentSpec(flip="all")
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(default=1, ge=1)
    """CPU threads of torch. Keyed: the order of a parallel sum changes the last bits."""
    validate_every: int = Field(default=1, ge=1)
    """Epochs between two validations."""
    sampling: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """How many times an epoch sees each case of a group; 1 for a group not named."""
    patches: Annotated[PatchSpec, BeforeValidator(PatchSpec.parse)] = PatchSpec()
    """For data with ``crop: none``."""
    tolerance_ml: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Predicted volume [ml] up to which a map counts as predicted empty, in specificity and sensitivity."""


class TrialSpec(FrozenSpec):
    """One training run of one setting on one fold with one seed.

    The key is the identity everywhere: folder, checkpoint, run. It covers all that can change the
    result: every field here and, through ``data_key``, the content of the source's files. Where the
    data lies and how fast it is read stay out.
    """

    GENERATION: ClassVar[int] = 1
    """Raised when the same spec would train to other numbers, so that stale results are not reused."""

    data: AnyDataSpec
    data_key: str
    """Content hash of the prepared data (``DataSpec.key``)."""
    empty: EmptySpec
    labeling: RegimeField
    loss: LossSpec
    batch_size: int = Field(ge=1)
    protocol: ProtocolSpec
    folds: int = Field(default=1, ge=1)
    fold: int = Field(default=0, ge=0)
    split: FoldSpec | None = None
    """The fold's cases where a file says them; none: dealt out by subject, stratified by group."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _agrees_with_its_data(self) -> TrialSpec:
        problems = []
        if self.empty.group not in self.data.groups:
            problems.append(f"unknown group {self.empty.group!r} to empty, known: {', '.join(self.data.groups)}")
        known = self.data.classes
        named = dict.fromkeys(self.empty.classes)
        if isinstance(self.loss.eps, dict):
            if missing := [name for name in known if name not in self.loss.eps]:
                problems.append(f"ε per class lacks {', '.join(missing)}")
            named |= dict.fromkeys(self.loss.eps)
        problems += [f"unknown class {name!r}, known: {', '.join(known)}" for name in named if name not in known]
        problems += [
            f"unknown group {name!r} in sampling, known: {', '.join(self.data.groups)}"
            for name in self.protocol.sampling
            if name not in self.data.groups
        ]
        for term in self.loss.terms:
            if self.data.head == "sigmoid" and term.parameters.get("background") is True:
                problems.append(f"loss {term.name} has background: true, but the maps of {self.data.source} have none")
            weights = term.parameters.get("class_weights")
            if weights is not None and len(weights) not in (len(known), count_maps(self.data.head, known)):
                problems.append(
                    f"class_weights of loss {term.name} has {len(weights)} numbers for {len(known)} classes"
                )
        try:
            self.protocol.network.check_patch(self.data.patch_shape)
        except ValueError as error:
            problems.append(str(error))
        if self.fold >= self.folds:
            problems.append(f"fold {self.fold} of {self.folds}; folds are counted from 0")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _body(self, *left_out: str) -> dict[str, Any]:
        body = self.model_dump(mode="json", exclude=set(left_out))
        if isinstance(self.loss.eps, dict):
            # The text that keys were made of before JSON had the mapping itself; they must not change.
            body["loss"]["eps"] = str(self.loss.eps)
        for field in self.data.unkeyed:
            body["data"].pop(field, None)
        for field in self.protocol.added_defaults:
            body["protocol"].pop(field)
        if not self.protocol.network.is_ours:
            # Its defaults, which the spec does not hold, may be others in another version.
            body["monai"] = monai_version()
        return body | {"generation": self.GENERATION}

    @property
    def key(self) -> str:
        """Content hash [12 hex digits] of the whole spec; equal specs share results and checkpoints."""
        return _hash(self._body())

    @property
    def cell(self) -> str:
        """Content hash [12 hex digits] of the setting: everything but fold and seed."""
        return _hash(self._body("fold", "split", "seed"))


def _hash(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]
