"""Prepared cases as trials read them: mapped and not read, so that all trials of a machine share one copy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from trainers.data.base import CaseInfo, Head, LabelTable, OriginalLabel, count_maps, voxel_ml
from trainers.data.geometry.grid import PatchGrid, Shape

IMAGE, LABEL, TRUTH, DISTANCE, RECORD = "image.npy", "label.npy", "truth.npz", "distance.npy", "case.json"
"""Files of one case, each named by the case's number before it."""
CASES = "cases.json"
"""What says that a folder is whole; written last."""
DISTANCES = "distances"
"""What says that every case has its distances."""
FORMAT_VERSION = 2
"""Number of the folder's form; one of another form is made anew."""


def case_file(folder: Path, index: int, name: str) -> Path:
    """A file of case number ``index``; by number, since a case's name may be no file's name."""
    return folder / f"{index:06d}.{name}"


class Arrays(Sequence[NDArray[Any]]):
    """One array a case, mapped read-only when it is first asked for."""

    def __init__(self, folder: Path, name: str, count: int) -> None:
        self._paths = [case_file(folder, index, name) for index in range(count)]
        self._mapped: dict[int, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if index not in self._mapped:
            self._mapped[index] = np.load(self._paths[index], mmap_mode="r")
        return self._mapped[index]


@dataclass(frozen=True)
class PreparedData:
    """All cases of a source.

    images: a case's (channel, *space) float32; labels: (class, *space) uint8 in {0, 1}, background left out;
    distances: signed distances of the label (class, *space) float32 [mm], where ``prepare_distances`` has been
    asked; truths: the label in its original space, None where that is the same; volumes: (case, class) of the
    full labels [voxels]; spacing: (case, axis) voxel sizes [mm]; channels; patch: what training sees [voxels];
    whole: cases may be larger than the patch; classes, groups, head: as the source has them.
    """

    cases: tuple[CaseInfo, ...]
    images: Sequence[NDArray[np.float32]]
    labels: Sequence[NDArray[np.uint8]]
    distances: Sequence[NDArray[np.float32]] | None
    truths: Sequence[OriginalLabel | None]
    volumes: NDArray[np.int64]
    spacing: NDArray[np.float64]
    channels: int
    patch: Shape
    whole: bool
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    head: Head

    @property
    def maps(self) -> int:
        """Maps that a network puts out."""
        return count_maps(self.head, self.classes)

    @property
    def table(self) -> LabelTable:
        """The labels alone."""
        return LabelTable(self.cases, self.classes, self.volumes, self.patch, self.labels if self.whole else None)

    @cached_property
    def voxel_ml(self) -> NDArray[np.float64]:
        """Volume of one voxel of each case (case,) [ml]."""
        return np.array([voxel_ml(sides) for sides in self.spacing.tolist()])


class OriginalLabels(Sequence[OriginalLabel | None]):
    """The original label of each case, unpacked when it is asked for."""

    def __init__(self, folder: Path, records: Sequence[dict[str, Any]]) -> None:
        self._folder, self._records = folder, records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> OriginalLabel | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[OriginalLabel | None]: ...
    def __getitem__(self, index: int | slice) -> OriginalLabel | list[OriginalLabel | None] | None:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        record = self._records[index]["truth"]
        if record is None:
            return None
        with np.load(case_file(self._folder, index, TRUTH)) as stored:
            codes = stored["codes"]
        grid = PatchGrid(**{name: tuple(value) for name, value in record["grid"].items()})
        return OriginalLabel(codes, tuple(record["spacing"]), grid)


def is_prepared(folder: Path) -> bool:
    """Whether the folder holds all cases of its source, in the form that this version reads."""
    try:
        description = json.loads((folder / CASES).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return bool(description.get("layout") == FORMAT_VERSION)


def open_prepared(folder: Path) -> PreparedData:
    """Map the cases that ``prepare`` left in ``folder``, read-only."""
    description = json.loads((folder / CASES).read_text(encoding="utf-8"))
    records = description["cases"]
    return PreparedData(
        cases=tuple(CaseInfo(**record["info"]) for record in records),
        images=Arrays(folder, IMAGE, len(records)),
        labels=Arrays(folder, LABEL, len(records)),
        distances=Arrays(folder, DISTANCE, len(records)) if (folder / DISTANCES).exists() else None,
        truths=OriginalLabels(folder, records),
        volumes=np.array([record["volumes"] for record in records], dtype=np.int64),
        spacing=np.array([record["spacing"] for record in records], dtype=np.float64),
        channels=description["channels"],
        patch=tuple(description["patch"]),
        whole=description["whole"],
        classes=tuple(description["classes"]),
        groups=tuple(description["groups"]),
        head=description["head"],
    )
