"""Cases listed in a table: any images and labels, wherever they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from trainers.data.formats.case_files import CaseFiles, ScanResult, missing
from trainers.data.formats.csv import Row, Rows, read_rows
from trainers.data.formats.listing import READABLE, can_name, can_open, find_listed
from trainers.data.sources.declared import GroupedSpec, GroupNames
from trainers.errors import Fault

NEEDED = ("case", "group", "label")
OPTIONAL = ("subject", "split")
SPLITS: dict[str, Literal["train", "test", ""]] = {"train": "train", "test": "test", "": ""}
IMAGE = "image"
"""How the names of image columns start."""


class TableSpec(GroupedSpec):
    """A CSV with the columns case, group, label, and one or more whose names start with ``image``, the channels.

    Optional columns: subject (else each case is its own) and split (``train`` or ``test`` in every row).
    Paths are relative to the table's folder. Volumes are NIfTI, pictures PNG or TIFF, grey or RGB.
    """

    source: Literal["table"] = "table"
    root: Path
    """The CSV file."""
    group_names: GroupNames = Field(alias="groups")
    """Groups that the table's rows may name."""
    other_values: tuple[int, ...] = Field(default=(), alias="background")
    """Values of the label files, beside 0, that belong to no class."""

    @property
    def background(self) -> tuple[int, ...]:
        """As declared."""
        return self.other_values

    def scan(self) -> ScanResult:
        """Cases in the order of the rows."""
        layout = ScanResult()
        table = read_rows(self.root.expanduser(), NEEDED, layout.faults)
        if table is None:
            return layout
        images = [column for column in table.columns if column.startswith(IMAGE)]
        layout.notices += table.notice_unused((*NEEDED, *OPTIONAL, *images))
        if not images:
            fault = f"no column whose name starts with {IMAGE}, among: {', '.join(table.columns)}"
            layout.faults.append(Fault(str(table.path), fault, "add one a channel"))
            return layout
        if not table.rows:
            layout.faults.append(Fault(str(table.path), "has no rows", "add one a case"))
        seen: dict[str, str] = {}
        for row in table.rows:
            case = row.cells["case"]
            if case in seen:
                layout.faults.append(Fault(row.where, f"case {case} stands at {seen[case]} too", "name each case once"))
            elif not can_name(case):
                layout.faults.append(Fault(row.where, f"case {case!a}, expected a name without slashes", "name it"))
            else:
                seen[case] = row.where
                self._read_row(row, images, layout)
        layout.faults += [*_mixed_splits(table), *_shared_images(layout.cases, table.path)]
        return layout

    def _read_row(self, row: Row, images: list[str], layout: ScanResult) -> None:
        """Add a row's case, or what is wrong with it."""
        faults = []
        case, group = row.cells["case"], row.cells["group"]
        split = SPLITS.get(row.cells.get("split", "").lower())
        if group not in self.groups:
            faults.append(Fault(row.where, f"group {group!r}", f"known: {', '.join(self.groups)}"))
        if split is None:
            faults.append(Fault(row.where, f"split {row.cells['split']!r}", "known: train, test, or empty in all rows"))
        channels = [_find(row, column, faults) for column in images]
        label = _find(row, "label", faults)
        if label is not None and label in channels:
            faults.append(Fault(row.where, "label and image are the same file", "correct one of the two"))
        layout.faults += faults
        if split is not None and label is not None and not faults:
            subject = row.cells.get("subject") or case
            present = tuple(path for path in channels if path is not None)
            layout.cases.append(CaseFiles(case, subject, group, split, present, label))


def _find(row: Row, column: str, faults: list[Fault]) -> Path | None:
    """The file that a cell names; None, and a fault that names it, if there is none that can be read."""
    given = row.cells[column]
    if not given or not given.isprintable():
        faults.append(Fault(row.where, f"{column} is {given!a}", "give the path of a file"))
        return None
    if not can_open(given.replace("\\", "/").rsplit("/", 1)[-1]):
        faults.append(Fault(row.where, f"{column} names {given}", f"convert it to {', '.join(READABLE)}"))
        return None
    # The table's place goes before the cell's path; pathlib drops it where that is absolute.
    path = Path(row.where.rpartition(":")[0]).parent / given
    found = find_listed(path)
    if found is None:
        faults.append(missing(path, "", f"{row.where} names it as {column}; paths are relative to the table's folder"))
    return found


def _mixed_splits(table: Rows) -> list[Fault]:
    """Rows without a split among others with one, and subjects that train and are tested."""
    given = [row for row in table.rows if row.cells.get("split")]
    faults = [
        Fault(row.where, "split is empty, and given in other rows", "write train or test")
        for row in table.rows
        if given and not row.cells.get("split")
    ]
    named = [row for row in table.rows if row.cells.get("subject")]
    faults += [
        Fault(row.where, "subject is empty, and given in other rows", "name the subject, or leave the column out")
        for row in table.rows
        if named and not row.cells.get("subject")
    ]
    sides: dict[str, str] = {}
    for row in given:
        subject, split = row.cells.get("subject") or row.cells["case"], row.cells["split"].lower()
        if sides.setdefault(subject, split) != split:
            fault = f"subject {subject} is in {split} and in {sides[subject]}"
            faults.append(Fault(row.where, fault, "keep a subject's cases together"))
    return faults


def _shared_images(cases: list[CaseFiles], table: Path) -> list[Fault]:
    """Images that belong to several subjects: one that trains would be tested as well."""
    owners: dict[Path, CaseFiles] = {}
    faults = []
    for files in cases:
        for path in files.images:
            other = owners.setdefault(path, files)
            if other.subject != files.subject:
                fault = f"image of {other.case} and of {files.case}, which are two subjects"
                faults.append(Fault(str(path), fault, f"correct {table}"))
    return faults
