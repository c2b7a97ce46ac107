"""Cases brought to training shape once, kept on the storage, and shared by every trial that maps them."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from trainers.data.base import CaseArrays, CaseInfo, DataSpec, Head
from trainers.data.distances import signed_distance
from trainers.errors import Fault, InputError

IMAGES, LABELS, DISTANCES, CASES = "images.npy", "labels.npy", "distances.npy", "cases.json"


@dataclass(frozen=True)
class PreparedData:
    """All cases of a source, mapped and not read: trials on one machine share one copy in memory.

    images: (case, channel, *space) float32; labels: (case, class, *space) uint8 in {0, 1}, background
    left out; cases: in the order of the arrays; spacing: (case, axis) voxel sizes [mm];
    classes, groups, head: as the source has them.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    cases: tuple[CaseInfo, ...]
    spacing: NDArray[np.float64]
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    head: Head
    distances: NDArray[np.float32] | None = None
    """Signed distances of the labels (case, class, *space) [mm], where ``prepare_distances`` has been asked."""

    @property
    def voxel_ml(self) -> NDArray[np.float64]:
        """Volume of one voxel of each case (case,) [ml]."""
        volume: NDArray[np.float64] = self.spacing.prod(axis=1) / 1000
        return volume


def prepare(spec: DataSpec, storage: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Load every case of ``spec`` and keep them under ``storage``; return their folder.

    The folder is named by the key of ``spec`` and appears whole or not at all; if it is there already,
    nothing is done. ``progress`` is told the cases done and the cases in all. Memory stays at a few
    cases, however many there are.

    Raises: InputError naming the files at fault; then nothing of this call is left behind.
    """
    target = storage / "prepared" / spec.key()
    if target.is_dir():
        return target
    # A sibling, so that the rename stays on one file system; a name of its own, so that two processes
    # preparing the same data never write into one folder.
    building = target.with_name(f".{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    building.mkdir(parents=True)
    try:
        _write(spec, building, progress)
        try:
            building.rename(target)
        except OSError:
            # Another process finished first, and its copy is as good as ours; else it is a real failure.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def prepare_distances(folder: Path) -> None:
    """Keep the labels' signed distances beside them, once: a boundary loss needs them at every step."""
    target = folder / DISTANCES
    if target.exists():
        return
    data = open_prepared(folder)
    building = target.with_name(f".{target.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        distances = open_memmap(building, mode="w+", dtype=np.float32, shape=data.labels.shape)
        for index, label in enumerate(data.labels):
            distances[index] = signed_distance(label, data.spacing[index].tolist())
        distances.flush()
        building.replace(target)
    finally:
        building.unlink(missing_ok=True)


def _write(spec: DataSpec, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    cases = spec.list_cases()
    if not cases:
        raise InputError(Fault("data", f"source {spec.key()} has no cases"))
    first = spec.load_case(cases[0])
    images = open_memmap(folder / IMAGES, mode="w+", dtype=np.float32, shape=(len(cases), *first.image.shape))
    labels = open_memmap(folder / LABELS, mode="w+", dtype=np.uint8, shape=(len(cases), *first.label.shape))
    spacing = []
    for index, info in enumerate(cases):
        arrays = spec.load_case(info) if index else first
        _check_shapes(info, arrays, first)
        images[index], labels[index] = arrays.image, arrays.label
        spacing.append(arrays.spacing)
        if progress is not None:
            progress(index + 1, len(cases))
    images.flush()
    labels.flush()
    description = {
        "data": spec.model_dump(mode="json"),
        "classes": spec.classes,
        "groups": spec.groups,
        "head": spec.head,
        "spacing": spacing,
        "cases": [asdict(info) for info in cases],
    }
    (folder / CASES).write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")


def _check_shapes(info: CaseInfo, arrays: CaseArrays, first: CaseArrays) -> None:
    """Refuse a case whose arrays would be stretched to fit the first one's.

    Raises: InputError.
    """
    for name, came, expected in (
        ("image", arrays.image.shape, first.image.shape),
        ("label", arrays.label.shape, first.label.shape),
    ):
        if came != expected:
            raise InputError(Fault(info.case, f"{name} of shape {came}, expected the first case's {expected}"))


def open_prepared(folder: Path) -> PreparedData:
    """Map the cases that ``prepare`` left in ``folder``, read-only."""
    description = json.loads((folder / CASES).read_text(encoding="utf-8"))
    return PreparedData(
        images=np.load(folder / IMAGES, mmap_mode="r"),
        labels=np.load(folder / LABELS, mmap_mode="r"),
        cases=tuple(CaseInfo(**case) for case in description["cases"]),
        spacing=np.asarray(description["spacing"], dtype=np.float64),
        classes=tuple(description["classes"]),
        groups=tuple(description["groups"]),
        head=description["head"],
        distances=np.load(folder / DISTANCES, mmap_mode="r") if (folder / DISTANCES).exists() else None,
    )
