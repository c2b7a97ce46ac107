"""What every source of data offers; the rest of the project knows no other way to cases."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trainers.errors import Fault

Head = Literal["sigmoid", "softmax"]


class FrozenSpec(BaseModel):
    """A closed, immutable piece of a specification: unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class CaseInfo:
    """One case before its voxels are read.

    ``split`` is "train" or "test" where the source itself keeps a test set apart, else empty.
    """

    case: str
    subject: str
    group: str
    split: Literal["train", "test", ""] = ""


@dataclass(frozen=True)
class CaseArrays:
    """The voxels of one prepared case.

    image: (channel, *space) float32; label: (class, *space) uint8 in {0, 1}, background left out;
    spacing: size of a voxel along each axis of space [mm].
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    spacing: tuple[float, ...]

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel [ml]."""
        return math.prod(self.spacing) / 1000


class DataSpec(FrozenSpec, ABC):
    """The ``data`` section of a study file, and the one interface of all sources.

    A subclass sets ``source`` (the discriminator), ``head``, and the methods below. Every case of a
    source has the same number of channels and the same shape once loaded.
    """

    UNKEYED: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where the data lies and not what it is; they stay out of the key."""
    shape: tuple[int, int, int]
    """Voxels along each axis of a case, once loaded."""
    head: ClassVar[Head]
    """How the classes exclude each other: ``sigmoid`` (maps may overlap) or ``softmax`` (with a background)."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes, in the order of the label maps."""

    @property
    @abstractmethod
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that cases may belong to."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return text that changes whenever the same spec would load other voxels (a file, the generator)."""

    @abstractmethod
    def list_cases(self) -> list[CaseInfo]:
        """All cases, in a fixed order, without reading voxels.

        Raises: InputError with every fault of the layout.
        """

    @abstractmethod
    def load_case(self, info: CaseInfo) -> CaseArrays:
        """Read or generate one case and bring it to the shape that training uses.

        Raises: InputError naming the file.
        """

    def check_files(self) -> list[Fault]:
        """Look for what would make ``list_cases`` or ``load_case`` fail, cheaply; return all of it.

        A source without files has nothing to look at.
        """
        return []

    def key(self) -> str:
        """Content hash [12 hex digits] of what the data is; equal keys share prepared data."""
        body = self.model_dump_json(exclude=set(self.UNKEYED)) + self.fingerprint()
        return hashlib.sha256(body.encode()).hexdigest()[:12]
