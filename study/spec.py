"""What a study file says, frozen and closed; ``study.reader`` reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from trainers.data.base import FrozenSpec
from trainers.data.sources import AnyDataSpec
from trainers.spec import EmptySpec, ProtocolSpec

Strategy = Literal["grid"]
Space = dict[str, Any]
"""Axes by name, with their values as written; ``study.space`` reads them."""


class LabelingSpec(FrozenSpec):
    """What ``partial`` labeling empties."""

    empty: EmptySpec


class SearchSpec(FrozenSpec):
    """The strategy, and the space: one mapping, or a list of mappings whose grids are joined."""

    strategy: Strategy = "grid"
    space: Space | tuple[Space, ...]

    @field_validator("space", mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        spaces = value if isinstance(value, list) else [value]
        if not spaces or not all(isinstance(space, dict) for space in spaces):
            raise ValueError(f"is {value!r}, expected axes with their values, or a list of such spaces")
        return tuple(value) if isinstance(value, list) else value

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
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
