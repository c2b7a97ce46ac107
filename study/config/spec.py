"""What a study file says, frozen and closed; ``study.config.load`` reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from study.config.strategies import RULES, StrategyName, StrategyRules
from trainers.data.base import FrozenSpec
from trainers.data.sources.registry import AnyDataSpec
from trainers.spec import EmptySpec, ProtocolSpec

Space = dict[str, Any]
"""Axes by name, with their values as written; ``study.config.search_space`` reads them."""


class LabelingSpec(FrozenSpec):
    """What ``partial`` labeling empties."""

    empty: EmptySpec


class SearchSpec(FrozenSpec):
    """The strategy, and the space: one mapping, or a list of mappings that are joined.

    The grid runs all of its space, and has none of the fields below. ``trials``: trainings in all. ``goal``: what a
    search looks for (``study.search.scores``), several for nsga2. ``references``: trainings under full labeling beside
    it, which outcomes are judged by. ``precision`` [decades]: of the interval at which ``transition`` is content with
    a slice. ``seed``: of the search's own chance.
    """

    strategy: StrategyName = "grid"
    space: Space | tuple[Space, ...]
    trials: int | None = Field(default=None, ge=1)
    goal: str | tuple[str, ...] | None = None
    references: int = Field(default=2, ge=0)
    precision: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    early_stopping: Literal["asha", "median"] | None = None

    @field_validator("space", mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        spaces = value if isinstance(value, list) else [value]
        if not spaces or not all(isinstance(space, dict) for space in spaces):
            raise ValueError(f"is {value!r}, expected axes with their values, or a list of such spaces")
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _fits_its_strategy(self) -> SearchSpec:
        fields = type(self).model_fields
        given = {name for name, value in self if name not in ("strategy", "space") and value != fields[name].default}
        if faults := self.rules.field_faults(self, given):
            raise ValueError("; ".join(faults))
        return self

    @property
    def rules(self) -> StrategyRules:
        """What the strategy asks of fields and axes."""
        return RULES[self.strategy]

    @property
    def is_search(self) -> bool:
        """Whether trials are chosen one by one; a grid's are listed before."""
        return self.rules.is_search

    @property
    def goals(self) -> tuple[str, ...]:
        """What the search looks for; one but for nsga2."""
        if self.goal is None:
            return self.rules.default_goals
        return (self.goal,) if isinstance(self.goal, str) else self.goal

    @property
    def needs_partial(self) -> bool:
        """Whether the search is about emptied maps, of which full labeling has none."""
        return self.is_search and not all(goal == "dice" or "." in goal for goal in self.goals)

    @model_serializer(mode="wrap")
    def _without_what_a_grid_has_not(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        if not self.is_search:
            # A grid's file means what it meant before there were searches, and so does its hash.
            return {name: value for name, value in written.items() if name in ("strategy", "space")}
        return written

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The space as a tuple of mappings, also where the file has but one."""
        return self.space if isinstance(self.space, tuple) else (self.space,)


class ResourceSpec(FrozenSpec):
    """What one trial needs of a machine, and how many may run at once; no part of a trial's key."""

    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    concurrent: int | None = Field(default=None, ge=1)
    retry_alone: bool = False
    """Run a trial that found no memory once more, with a GPU (or this machine) to itself."""


class StudySpec(FrozenSpec):
    """A whole study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    data: AnyDataSpec
    labeling: LabelingSpec
    trial: ProtocolSpec
    folds: int = Field(default=1, ge=1)
    splits: Path | None = None
    """A file that says the cases of each fold (nnU-Net's ``splits_final.json``); none: dealt out by subject."""
    seeds: int = Field(default=1, ge=1)
    search: SearchSpec
    resources: ResourceSpec = ResourceSpec()

    @property
    def key(self) -> str:
        """Content hash [12 hex digits] of the file's meaning: the study's version."""
        return hashlib.sha256(self.model_dump_json(exclude=self._added()).encode()).hexdigest()[:12]

    def _added(self) -> dict[str, set[str]]:
        """Fields that older studies lack, where they have their defaults."""
        return {"data": set(self.data.added_defaults), "trial": set(self.trial.added_defaults)}

    @property
    def search_key(self) -> str:
        """Content hash [12 hex digits] of what a search asks and of whom: it goes on where this is the same."""
        budget = {"trials", "references", "precision", "seed", "early_stopping"}
        body = self.model_dump_json(exclude={"name": True, "resources": True, "search": budget, **self._added()})
        return hashlib.sha256(body.encode()).hexdigest()[:12]
