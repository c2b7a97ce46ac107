"""Datasets described by a ``dataset.json``: the Decathlon's, and nnU-Net's raw folders in both versions.

Sources: Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 2022; Isensee et al., nnU-Net,
Nature Methods 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from trainers.data.base import CaseInfo
from trainers.data.formats.case_files import CaseFiles, ScanResult, missing
from trainers.data.formats.csv import read_rows
from trainers.data.formats.image2d import SUFFIXES
from trainers.data.formats.listing import ending_of, find_listed, first_subjects, is_file, notice_unused, visible
from trainers.data.sources.dataset_json import Description, Entry, read_description
from trainers.data.sources.declared import GroupedSpec
from trainers.data.sources.volumes import Volume, count_channels
from trainers.errors import Fault, InputError

COLOURS = 3
"""Channels of a picture in colours, which nnU-Net keeps in one file."""


@dataclass(frozen=True)
class DescribedFiles(CaseFiles):
    """A case's files, and how many channels ``dataset.json`` says they hold."""

    channels: int = 0


@dataclass(frozen=True)
class ListedCase(CaseInfo):
    """A case before its files are looked for."""

    entry: Entry = field(kw_only=True)


class DecathlonSpec(GroupedSpec):
    """The training cases of a ``dataset.json``, each a subject of its own unless a table says otherwise."""

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"root", "cases", "tolerance"})

    source: Literal["decathlon"] = "decathlon"
    root: Path
    """The folder with ``dataset.json``."""
    cases: Path | None = None
    """CSV with the columns case and group, and subject where several cases share one; none: one group of all."""
    subjects: int | None = Field(default=None, ge=1)
    """Use the first so many subjects of each group only."""

    @model_validator(mode="after")
    def _groups_come_from_a_table(self) -> DecathlonSpec:
        if self.cases is None and len(self.group_names) > 1:
            names = ", ".join(self.group_names)
            raise ValueError(f"groups {names} need data.cases, a CSV with the columns case and group")
        return self

    @property
    def background(self) -> tuple[int, ...]:
        """Values of ``dataset.json`` that no class uses."""
        description = read_description(self._folder() / "dataset.json", [])
        labels = {} if description is None else description.labels
        used = {value for values in self.values.values() for value in values}
        return tuple(sorted({value for values in labels.values() for value in values} - used - {0}))

    @property
    def allows_channels(self) -> bool:
        """The Decathlon keeps channels along a fourth axis."""
        return True

    def scan(self) -> ScanResult:
        """Training cases in the order of the list, or of their files' names."""
        layout = ScanResult()
        path = self._folder() / "dataset.json"
        description = read_description(path, layout.faults)
        if description is None:
            return layout
        self._compare_classes(path, description, layout)
        entries = description.entries
        if entries is None:
            entries = self._list_folders(path, description, layout)
        elif description.count not in (None, len(entries)):
            layout.notices.append(f"{path}: numTraining is {description.count}, and {len(entries)} cases are listed")
        listed = self._sort_into_groups(entries, layout)
        used: set[Path] = set()
        for one in first_subjects(listed, self.subjects, self.groups, layout):
            used |= self._find_files(one, description, layout)
        if self.subjects is None:
            layout.notices += notice_unused(self._training_files(layout) - used)
        return layout

    def _folder(self) -> Path:
        return self.root.expanduser()

    def _open(self, files: CaseFiles) -> tuple[list[Volume], Volume]:
        images, label = super()._open(files)
        found = count_channels(images)
        if isinstance(files, DescribedFiles) and found != files.channels:
            fault = f"{found} channels, expected {files.channels} as dataset.json names"
            raise InputError(Fault(str(images[0].path), fault, "mend the list of channels, or the image"))
        return images, label

    def _compare_classes(self, path: Path, description: Description, layout: ScanResult) -> None:
        """Hold the study file's classes against the dataset's labels."""
        if not description.labels:
            return
        for name, values in self.values.items():
            known = description.labels.get(name)
            if known is None:
                fault = f"no label {name!r}, known: {', '.join(description.labels)}"
                layout.faults.append(Fault(str(path), fault, "name classes in data.classes as it does"))
            elif known != values:
                came, wanted = (", ".join(map(str, numbers)) for numbers in (values, known))
                fault = f"label {name!r} has the values {wanted}, and {came} in data.classes"
                layout.faults.append(Fault(str(path), fault, "correct data.classes"))

    def _list_folders(self, path: Path, description: Description, layout: ScanResult) -> tuple[Entry, ...]:
        """nnU-Net's cases: the files of ``labelsTr``, each with one image a channel."""
        ending = description.ending
        names = [file.name for file in visible(path.parent / "labelsTr", layout) if file.name.endswith(ending)]
        if description.count not in (None, len(names)):
            fault = f"numTraining is {description.count}, and labelsTr holds {len(names)} files *{ending}"
            layout.faults.append(Fault(str(path), fault, "fetch the dataset again, or correct the number"))
        images, labels = path.parent / "imagesTr", path.parent / "labelsTr"
        entries = []
        for name in names:
            case = name.removesuffix(ending)
            channels = [images / f"{case}_{number:04d}{ending}" for number in range(len(description.channels))]
            entries.append(Entry(case, tuple(channels), labels / name))
        return tuple(entries)

    def _sort_into_groups(self, entries: Sequence[Entry], layout: ScanResult) -> list[ListedCase]:
        """Subject and group of each case, from the table if there is one."""
        if self.cases is None:
            return [ListedCase(entry.case, entry.case, self.groups[0], "", entry=entry) for entry in entries]
        given = self.cases.expanduser()
        path = given if is_file(given) else self._folder() / given
        table = read_rows(path if is_file(path) else given, ("case", "group"), layout.faults)
        if table is None:
            return []
        layout.notices += table.notice_unused(("case", "group", "subject"))
        known = {entry.case: entry for entry in entries}
        found: dict[str, ListedCase] = {}
        named: set[str] = set()
        extra = 0
        for row in table.rows:
            case, group = row.cells["case"], row.cells["group"]
            if case not in known:
                extra += 1
            elif case in named:
                layout.faults.append(Fault(row.where, f"case {case} is given twice", "keep one"))
            elif group not in self.groups:
                layout.faults.append(Fault(row.where, f"group {group!r}", f"known: {', '.join(self.groups)}"))
            else:
                found[case] = ListedCase(case, row.cells.get("subject") or case, group, "", entry=known[case])
            named.add(case)
        layout.faults += [
            Fault(str(table.path), f"no row of case {case}", "add one with its group")
            for case in known
            if case not in named
        ]
        if extra:
            layout.notices.append(f"{table.path}: rows that name no case of the dataset and are not used: {extra}")
        return [found[entry.case] for entry in entries if entry.case in found]

    def _find_files(self, info: ListedCase, description: Description, layout: ScanResult) -> set[Path]:
        """Add the case if all its files are there, else what is missing; the files found."""
        entry, channels = info.entry, len(description.channels)
        images = [find_listed(path) for path in entry.images]
        if len(images) == 1 and images[0] is None:
            # nnU-Net's first version lists x.nii.gz and keeps x_0000.nii.gz, one file a channel.
            numbered = [find_listed(_numbered(entry.images[0], number)) for number in range(channels)]
            if any(numbered):
                entry = Entry(entry.case, tuple(_numbered(entry.images[0], n) for n in range(channels)), entry.label)
                images = numbered
        elif len(images) == COLOURS and images[0] is not None and images[0].suffix.lower() in SUFFIXES:
            # A picture in colours is one file of three channels; with a second one there, it is a file a channel.
            images = images if any(images[1:]) else images[:1]
        label = find_listed(entry.label)
        layout.faults += [
            missing(path, "dataset.json asks for it", "fetch it again")
            for path, found in zip((*entry.images[: len(images)], entry.label), (*images, label), strict=True)
            if found is None
        ]
        present = tuple(path for path in images if path is not None)
        if label is not None and len(present) == len(images):
            layout.cases.append(DescribedFiles(info.case, info.subject, info.group, "", present, label, channels))
        return {*present, *([label] if label else [])}

    def _training_files(self, layout: ScanResult) -> set[Path]:
        folders = [self._folder() / name for name in ("imagesTr", "labelsTr")]
        return {path for folder in folders if folder.is_dir() for path in visible(folder, layout) if path.is_file()}


def _numbered(path: Path, number: int) -> Path:
    """``x.nii.gz`` as ``x_0000.nii.gz``."""
    ending = ending_of(path.name)
    return path.with_name(f"{path.name.removesuffix(ending)}_{number:04d}{ending}")
