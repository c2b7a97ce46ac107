"""What every source of data offers; the rest of the project knows no other way to cases."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trainers.data.geometry.grid import PatchGrid, Shape
from trainers.errors import Fault

Head = Literal["sigmoid", "softmax"]


def count_maps(head: Head, classes: Sized) -> int:
    """Maps that a network puts out: one a class, and one of the background where classes exclude each other."""
    return len(classes) + (head == "softmax")


class FrozenSpec(BaseModel):
    """A closed, immutable piece of a specification: unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ADDED: ClassVar[frozenset[str]] = frozenset()
    """Fields that older specs lack: one that has its default stays out of keys, so that old keys hold."""

    @property
    def added_defaults(self) -> frozenset[str]:
        """Names of the added fields that have their defaults."""
        fields = type(self).model_fields
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in self.ADDED}
        return frozenset(name for name, default in defaults.items() if getattr(self, name) == default)


@dataclass(frozen=True)
class CaseInfo:
    """One case before its voxels are read.

    ``split`` is "train" or "test" where the source itself keeps a test set apart, else empty.
    """

    case: str
    subject: str
    group: str
    split: Literal["train", "test", ""] = ""


def voxel_ml(spacing: Sequence[float]) -> float:
    """Volume of a voxel [ml], given its sides [mm]; a pixel of a picture counts as 1 mm thick."""
    return math.prod(spacing) / 1000


@dataclass(frozen=True)
class OriginalLabel:
    """The full label of one case where it came from, before resampling and cropping.

    codes: (*source) whole numbers, bit c set where class c is; spacing: sides of a voxel [mm];
    grid: how the prepared case lies in it.
    """

    codes: NDArray[np.unsignedinteger]
    spacing: tuple[float, ...]
    grid: PatchGrid

    def maps(self, classes: int) -> NDArray[np.bool_]:
        """The label map of each class, (class, *source)."""
        return np.stack([(self.codes >> np.uint8(index)) & 1 for index in range(classes)]).astype(bool)


@dataclass(frozen=True)
class CaseArrays:
    """The voxels of one prepared case.

    image: (channel, *space) float32; label: (class, *space) uint8 in {0, 1}, background left out;
    spacing: size of a voxel along each axis of space [mm]; truth: the label in its original space, None
    where that is the same.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    spacing: tuple[float, ...]
    truth: OriginalLabel | None = None

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel [ml]."""
        return voxel_ml(self.spacing)


@dataclass(frozen=True)
class LabelTable:
    """What the labels of a source are to whoever splits and weighs its cases.

    volumes: (case, class) of the full labels in the prepared cases [voxels]; patch: what training sees [voxels];
    whole: the labels (class, *space) of cases that are larger than that, None where they are not.
    """

    cases: Sequence[CaseInfo]
    classes: Sequence[str]
    volumes: NDArray[np.int64]
    patch: Shape
    whole: Sequence[NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class Listing:
    """What folders and lists say: cases whose files are there, what is wrong, what is there and not used."""

    cases: Sequence[CaseInfo]
    faults: Sequence[Fault] = ()
    notices: Sequence[str] = ()


@dataclass(frozen=True)
class CaseReport:
    """What a look at one case's files found: what is wrong, or else its figures.

    ml: volume of each class [ml] in the original space; voxels: of each class in the prepared case;
    shape, spacing [mm]: of the image as stored; channels: of all its images together; values: of the label's file,
    beside 0; image_hash, label_hash: of the voxels, empty where none were read; remarks: no faults, and to be told.
    """

    faults: tuple[Fault, ...] = ()
    ml: tuple[float, ...] = ()
    voxels: tuple[int, ...] = ()
    shape: Shape = ()
    spacing: tuple[float, ...] = ()
    channels: int = 0
    values: tuple[int, ...] = ()
    image_hash: str = ""
    label_hash: str = ""
    remarks: tuple[str, ...] = ()


class DataSpec(FrozenSpec, ABC):
    """The ``data`` section of a study file, and the one interface of all sources.

    A subclass sets ``source`` (the discriminator), ``head``, and what is abstract below. Every case of a
    source has the same number of channels once loaded, and the same shape unless ``whole``.
    """

    UNKEYED: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where the data lies and not what it is; they stay out of the key."""

    @property
    @abstractmethod
    def head(self) -> Head:
        """How the classes exclude each other: ``sigmoid`` (maps may overlap) or ``softmax`` (with a background)."""

    @property
    @abstractmethod
    def patch_shape(self) -> Shape:
        """Voxels along each axis of what training sees; two numbers for pictures."""

    @property
    def whole(self) -> bool:
        """Whether cases are kept larger than the patch: trained by patches, predicted by a sliding window."""
        return False

    @property
    def paired(self) -> bool:
        """Whether a subject has cases in several groups, as a heart has in its phases."""
        return False

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

    def survey(self) -> Listing:
        """Look at the layout, as ``list_cases`` does, and tell all of it instead of raising the faults."""
        return Listing(self.list_cases())

    def inspect_case(self, info: CaseInfo) -> CaseReport:
        """Look at one case whole: its files' headers, and every voxel of its label."""
        arrays = self.load_case(info)
        voxels = arrays.label.sum(axis=tuple(range(1, arrays.label.ndim)))
        ml = voxels * arrays.voxel_ml
        shape, channels = arrays.label.shape[1:], len(arrays.image)
        return CaseReport((), tuple(ml.tolist()), tuple(voxels.tolist()), shape, arrays.spacing, channels)

    @property
    def unkeyed(self) -> frozenset[str]:
        """Names of the fields that stay out of the key."""
        return self.UNKEYED | self.added_defaults

    def compare_cases(self, reports: Sequence[CaseReport]) -> list[str]:  # noqa: ARG002 for sources that know more
        """Notices of what only all cases together show."""
        return []

    def key(self) -> str:
        """Content hash [12 hex digits] of what the data is; equal keys share prepared data."""
        body = self.model_dump_json(exclude=set(self.unkeyed)) + self.fingerprint()
        return hashlib.sha256(body.encode()).hexdigest()[:12]
