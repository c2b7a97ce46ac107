"""Cases brought to training shape once and kept on the storage, for every trial and study that asks for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainers.atomic_files import clear_torn, write_text_whole, write_whole
from trainers.data.base import CaseArrays, CaseInfo, DataSpec, OriginalLabel
from trainers.data.geometry.distances import signed_distance
from trainers.data.prepared.read import (
    CASES,
    DISTANCE,
    DISTANCES,
    FORMAT_VERSION,
    IMAGE,
    LABEL,
    RECORD,
    TRUTH,
    case_file,
    is_prepared,
    open_prepared,
)
from trainers.errors import Fault, InputError
from trainers.locks import LOCK_FILE, PATIENCE, writing

Work = Callable[[int], dict[str, Any]]
Run = Callable[[Work, Sequence[int]], Iterable[dict[str, Any]]]
"""Does the work on every number, anywhere and in any order, and gives the results as they come."""
Progress = Callable[[int, int], None]


def one_by_one(work: Work, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Run the work here."""
    return map(work, numbers)


def prepare(spec: DataSpec, storage: Path, progress: Progress | None = None, run: Run = one_by_one) -> Path:
    """Load every case of ``spec`` and keep them under ``storage``; return their folder.

    The folder is named by the key of ``spec``. Each case appears whole, and the list of all cases last; what an
    interrupted preparation has finished is kept, and of two at once the second waits for the first's copy.
    ``progress`` is told the cases done and the cases in all. ``run`` may spread the cases over machines; each
    takes the memory of one case.

    Raises: InputError naming the files at fault, all of them, or if a file changed meanwhile.
    """
    key = spec.key()
    folder = storage / "prepared" / key
    if is_prepared(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with writing(folder, f"prepared data {key}", patience=PATIENCE):
        # Asked again: who held the lock has perhaps made it.
        if not is_prepared(folder):
            _prepare(spec, folder, progress or (lambda *_: None), run)
            if (now := spec.key()) != key:
                (folder / CASES).unlink()
                fault = f"changed while it was prepared ({key} became {now})"
                raise InputError(Fault(f"data {spec.model_dump().get('root', '')}", fault, "launch again"))
    return folder


def _prepare(spec: DataSpec, folder: Path, progress: Progress, run: Run) -> None:
    cases = spec.list_cases()
    if not cases:
        raise InputError(Fault("data", f"source {spec.key()} has no cases"))
    _clear(folder)
    records = {index: record for index in range(len(cases)) if (record := _read_record(folder, index)) is not None}
    left = [index for index in range(len(cases)) if index not in records]
    faults: list[Fault] = []
    for record in run(partial(prepare_case, spec, cases, folder), left):
        faults += [Fault(**fault) for fault in record.get("faults", ())]
        records[record["index"]] = record
        progress(len(records), len(cases))
    if faults:
        _empty(folder)
        raise InputError(faults)
    ordered = [records[index] for index in range(len(cases))]
    _check_shapes(ordered, spec.whole)
    description = {
        "layout": FORMAT_VERSION,
        "data": spec.model_dump(mode="json"),
        "classes": spec.classes,
        "groups": spec.groups,
        "head": spec.head,
        "patch": spec.patch_shape,
        "whole": spec.whole,
        "channels": ordered[0]["shape"][0],
        "cases": ordered,
    }
    write_text_whole(folder / CASES, json.dumps(description, indent=1, ensure_ascii=False))


def prepare_case(spec: DataSpec, cases: Sequence[CaseInfo], folder: Path, index: int) -> dict[str, Any]:
    """Load one case and write its files; its record, or its ``faults``."""
    info = cases[index]
    try:
        arrays = spec.load_case(info)
    except InputError as error:
        return {"index": index, "faults": [asdict(fault) for fault in error.faults]}
    _save(case_file(folder, index, IMAGE), arrays.image)
    _save(case_file(folder, index, LABEL), arrays.label)
    if arrays.truth is not None:
        codes = arrays.truth.codes
        write_whole(case_file(folder, index, TRUTH), lambda file: np.savez_compressed(file, codes=codes))
    record = _record(index, info, arrays)
    write_text_whole(case_file(folder, index, RECORD), json.dumps(record))
    return record


def prepare_distances(folder: Path) -> None:
    """Keep the labels' signed distances beside them, once: a boundary loss needs them at every step."""
    if (folder / DISTANCES).exists():
        return
    with writing(folder, f"distances of {folder.name}", patience=PATIENCE):
        data = open_prepared(folder)
        for index, label in enumerate(data.labels):
            path = case_file(folder, index, DISTANCE)
            if not path.exists():
                _save(path, signed_distance(label, data.spacing[index].tolist()))
        write_text_whole(folder / DISTANCES, "of every case\n")


def _save(path: Path, array: Any) -> None:
    write_whole(path, lambda file: np.save(file, array))


def _record(index: int, info: CaseInfo, arrays: CaseArrays) -> dict[str, Any]:
    names = [field.name for field in fields(CaseInfo)]
    return {
        "index": index,
        "info": {name: getattr(info, name) for name in names},
        "shape": arrays.image.shape,
        "maps": len(arrays.label),
        "spacing": arrays.spacing,
        "volumes": arrays.label.sum(axis=tuple(range(1, arrays.label.ndim)), dtype=np.int64).tolist(),
        "truth": None if arrays.truth is None else _truth_record(arrays.truth),
    }


def _truth_record(truth: OriginalLabel) -> dict[str, Any]:
    return {"spacing": truth.spacing, "grid": asdict(truth.grid)}


def _read_record(folder: Path, index: int) -> dict[str, Any] | None:
    """The record of a case that an earlier preparation finished."""
    try:
        record: dict[str, Any] = json.loads(case_file(folder, index, RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def _clear(folder: Path) -> None:
    """Remove what a killed preparation left half-written, and all of a folder of another form."""
    clear_torn(folder)
    marker = folder / "layout"
    if not marker.exists() or marker.read_text() != str(FORMAT_VERSION):
        _empty(folder)
        write_text_whole(marker, str(FORMAT_VERSION))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != LOCK_FILE:
            path.unlink()


def _check_shapes(records: Sequence[dict[str, Any]], whole: bool) -> None:
    """Refuse cases of other channels than the first's, or of another shape where all should have the patch's.

    Raises: InputError.
    """
    first = records[0]
    faults = [
        Fault(record["info"]["case"], f"image of shape {tuple(record['shape'])}, expected {tuple(first['shape'])}")
        for record in records
        if record["shape"][0] != first["shape"][0] or not (whole or list(record["shape"]) == list(first["shape"]))
    ]
    if faults:
        raise InputError(faults)
