"""Brain tumours of the BRATS challenges (Menze et al., IEEE TMI 2015), read from the layouts of their years.

2018 and 2019 keep subjects in the folders ``HGG`` and ``LGG``; in later years a table says the grade. From 2023 on,
modalities have other names, and ``-`` stands where ``_`` stood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from trainers.data.base import CaseInfo, CaseReport, Head
from trainers.data.formats.case_files import ENDINGS, CaseFiles, ScanResult, find_volume, stem_of
from trainers.data.formats.csv import Rows, read_rows
from trainers.data.formats.listing import first_subjects, is_file, notice_unused, visible
from trainers.data.geometry.intensity import Intensity
from trainers.data.geometry.resample import LabelMode
from trainers.data.sources.declared import ClassSpec, ClassValues
from trainers.data.sources.volumes import Millimetres, Voxels
from trainers.errors import Fault

GRADES = ("HGG", "LGG")
LABELS = (1, 2, 3, 4)
"""Necrosis, oedema, 2013's non-enhancing core, enhancing core (3 instead of 4 from 2023 on)."""
ENHANCING_UNTIL_2021 = 4
OTHER_NAMES = {"t1": ("t1n",), "t1ce": ("t1c",), "t2": ("t2w",), "flair": ("t2f",)}
"""What 2023 calls a modality."""
SEPARATORS = ("_", "-")
TIMEPOINT = re.compile(r"(BraTS-\w+-\d+)-\d{3}")
"""2023's subjects have a folder for every visit."""


@dataclass(frozen=True)
class SubjectFolder(CaseInfo):
    """A case before its files are looked for."""

    folder: Path = Path()


class BratsSpec(ClassSpec):
    """Tumours of high (HGG) and low grade (LGG); by default the paper's one class, spacing and patch."""

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"root", "grades", "tolerance"})

    source: Literal["brats"] = "brats"
    root: Path
    """The folder of ``HGG`` and ``LGG``, or of the subjects' folders, or the one that holds it."""
    grades: Path | None = None
    """CSV with a column ``Grade`` and one of the subjects' names (``name_mapping.csv``), where folders do not say."""
    modalities: tuple[str, ...] = ("flair", "t1", "t1ce", "t2")
    """Channels, in this order; t1, t1ce, t2 and flair are found under 2023's names too."""
    class_values: ClassValues = Field(default=(("tumor", LABELS),), alias="classes")
    """Values of the label files that make each class; they may overlap."""
    spacing: tuple[Millimetres, ...] | None = (2, 2, 2)
    patch: tuple[Voxels, ...] = (80, 80, 48)
    crop: Literal["center", "label", "none"] = "label"
    intensity: Intensity = "zscore_nonzero"
    labels: LabelMode = "linear"
    subjects: int | None = Field(default=None, ge=1)
    """Use the first so many subjects of each grade only."""

    @field_validator("modalities")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names) or not all(re.fullmatch(r"[A-Za-z0-9]+", name) for name in names):
            raise ValueError(f"modalities are {', '.join(names) or 'none'}; expected names, each once: t1ce, flair")
        return names

    @property
    def head(self) -> Head:
        """The tumour's parts lie in one another."""
        return "sigmoid"

    @property
    def groups(self) -> tuple[str, ...]:
        """Grades."""
        return GRADES

    @property
    def background(self) -> tuple[int, ...]:
        """All parts of a tumour are known, those too that no class takes in."""
        return LABELS

    def compare_cases(self, reports: Sequence[CaseReport]) -> list[str]:
        """Notices where a label value means another thing in the year of these files than in that of the classes."""
        apart = [name for name, values in self.values.items() if (ENHANCING_UNTIL_2021 in values) != (3 in values)]
        with_3, with_4 = (sum(value in report.values for report in reports) for value in (3, ENHANCING_UNTIL_2021))
        if not apart or not with_3:
            return []
        asks = ", ".join(f"{name} = {', '.join(map(str, self.values[name]))}" for name in apart)
        if not with_4:
            told = f"no label has the value 4, and {with_3} have 3: since 2023 the enhancing core is 3, before it was 4"
        elif any(4 in report.values and 3 not in report.values for report in reports):
            told = f"{with_4} labels have the value 4 and {with_3} have 3, as of several years: "
            told += "the enhancing core is 4 until 2021, 3 since 2023"
        else:
            told = "labels have both 3 and 4: 3 is non-enhancing core in 2013, and 4 the resection cavity since 2024"
        return [f"{self.root}: {told}; data.classes takes {asks}"]

    def scan(self) -> ScanResult:
        """Subjects in the order of their names, HGG first where folders say the grade."""
        layout = ScanResult()
        root = self.root.expanduser()
        if not root.is_dir():
            layout.faults.append(Fault(str(self.root), "no such folder", "set data.root to the challenge's folder"))
            return layout
        found = self._find_subjects(root, layout)
        names = {info.case for info in found}
        unused: list[Path] = []
        for info in first_subjects(found, self.subjects, GRADES, layout):
            unused += self._scan_subject(info, names, layout)
        layout.notices += notice_unused(unused)
        return layout

    def _find_subjects(self, root: Path, layout: ScanResult) -> list[SubjectFolder]:
        """Look for the folder that holds the grades' folders, or else the subjects'."""
        levels = [root, *_folders(root, layout)]
        graded = [level for level in levels if any((level / grade).is_dir() for grade in GRADES)]
        # The subjects of one level are many, and looked through only where no folder says the grade.
        holders = graded or [level for level in levels if any(_has_label(path) for path in _folders(level, layout))]
        if not holders:
            remedy = "expected folders HGG and LGG, or subjects' folders with NAME/NAME_seg.nii.gz; set data.root to it"
            layout.faults.append(Fault(str(self.root), "no subjects", remedy))
            return []
        if len(holders) > 1 and holders[0] != root:
            shown = ", ".join(path.name for path in holders)
            layout.faults.append(Fault(str(self.root), f"subjects in {shown}", "set data.root to one of them"))
            return []
        holder = holders[0]
        files = {path for path in visible(holder, layout) if path.is_file()}
        if not graded:
            return self._graded_by_table(holder, files, layout)
        layout.notices += notice_unused(files)
        if self.grades is not None:
            remedy = "leave data.grades out"
            layout.faults.append(Fault(str(holder), "the folders HGG and LGG say the grades already", remedy))
        return self._graded_by_folder(holder, layout)

    def _graded_by_folder(self, holder: Path, layout: ScanResult) -> list[SubjectFolder]:
        found: dict[str, SubjectFolder] = {}
        for grade in (grade for grade in GRADES if (holder / grade).is_dir()):
            for folder in _folders(holder / grade, layout):
                if folder.name in found:
                    fault = f"the same subject as {found[folder.name].folder}"
                    layout.faults.append(Fault(str(folder), fault, "remove the one with the wrong grade"))
                else:
                    found[folder.name] = _subject(folder, grade)
        return list(found.values())

    def _graded_by_table(self, holder: Path, files: set[Path], layout: ScanResult) -> list[SubjectFolder]:
        path = self._find_table(holder)
        layout.notices += notice_unused(files - {path})
        if path is None:
            mapping = holder / "name_mapping.csv"
            given = mapping if mapping in files else "a CSV with a column Grade and one of the subjects' names"
            layout.faults.append(Fault(str(holder), "nothing says the grades", f"set data.grades to {given}"))
            return []
        folders = _folders(holder, layout)
        table = read_rows(path, ("grade",), layout.faults)
        grades = {} if table is None else _read_grades(table, [folder.name for folder in folders], layout)
        return [_subject(folder, grades[folder.name]) for folder in folders if folder.name in grades]

    def _find_table(self, holder: Path) -> Path | None:
        """The table of grades: from the working directory, else from the data's folder."""
        if self.grades is None:
            return None
        given = self.grades.expanduser()
        places = (given, self.root.expanduser() / given, holder / given)
        return next((path for path in places if is_file(path)), given)

    def _scan_subject(self, info: SubjectFolder, names: set[str], layout: ScanResult) -> set[Path]:
        """Add the subject's files, or what is missing and what does not belong there; the files that are not used."""
        folder = info.folder
        files = [path for path in visible(folder, layout) if path.is_file()]
        if not any(path.name.startswith(folder.name) for path in files):
            fault = f"no files named {folder.name}…"
            layout.faults.append(Fault(str(folder), fault, "fetch the subject again, or remove the folder"))
            return set()
        strangers = {path: owner for path in files if (owner := _owner(path)) != folder.name and owner in names}
        layout.faults += [
            Fault(str(path), "lies in another subject's folder", f"move it to {owner}")
            for path, owner in strangers.items()
        ]
        images = [
            _find_part(folder, (name, *OTHER_NAMES.get(name, ())), layout, f"data.modalities names {name}")
            for name in self.modalities
        ]
        label = _find_part(folder, ("seg",), layout, "it is the label")
        if label is not None and None not in images:
            present = tuple(path for path in images if path is not None)
            layout.cases.append(CaseFiles(info.case, info.subject, info.group, "", present, label))
        return set(files) - {*images, label, *strangers}


def _folders(folder: Path, layout: ScanResult) -> list[Path]:
    return [path for path in visible(folder, layout) if path.is_dir()]


def _subject(folder: Path, grade: str) -> SubjectFolder:
    visit = TIMEPOINT.fullmatch(folder.name)
    return SubjectFolder(folder.name, visit[1] if visit else folder.name, grade, "", folder)


def _stems(folder: Path, parts: Sequence[str]) -> list[str]:
    return [f"{folder.name}{separator}{part}" for part in parts for separator in SEPARATORS]


def _has_label(folder: Path) -> bool:
    return any(is_file(folder / f"{stem}{ending}") for stem in _stems(folder, ("seg",)) for ending in ENDINGS)


def _owner(path: Path) -> str:
    """The subject that a file's name starts with: all before the last separator."""
    return re.sub(r"[_-][^_-]*$", "", stem_of(path))


def _find_part(folder: Path, parts: Sequence[str], layout: ScanResult, why: str) -> Path | None:
    """The volume of one modality, under any of its names; None, and a fault, if there is not exactly one."""
    stems = _stems(folder, parts)
    present = [stem for stem in stems if any(is_file(folder / f"{stem}{ending}") for ending in ENDINGS)]
    if len(present) > 1:
        fault = f"{' and '.join(present)} stand side by side; {why}"
        layout.faults.append(Fault(str(folder), fault, "remove all but one"))
        return None
    return find_volume(folder, (present or stems)[0], layout, why)


def _read_grades(table: Rows, names: Sequence[str], layout: ScanResult) -> dict[str, str]:
    """Each subject's grade, from the column that holds most of the subjects' names."""
    known = set(names)
    columns = [column for column in table.columns if column not in ("grade", "")]
    hits = {column: sum(row.cells[column] in known for row in table.rows) for column in columns}
    best = max(hits, key=lambda column: hits[column], default="")
    if not hits.get(best):
        remedy = f"expected a column with names such as {names[0]}"
        layout.faults.append(Fault(str(table.path), "no column holds the subjects' names", remedy))
        return {}
    grades: dict[str, str] = {}
    refused: set[str] = set()
    extra = 0
    for row in table.rows:
        name, grade = row.cells[best], row.cells["grade"].upper()
        if name not in known:
            extra += 1
        elif grade not in GRADES:
            layout.faults.append(Fault(row.where, f"Grade of {name} is {grade!r}", f"known: {', '.join(GRADES)}"))
            refused.add(name)
        elif grades.setdefault(name, grade) != grade:
            layout.faults.append(Fault(row.where, f"Grade of {name} is {grade}, and {grades[name]} above", "keep one"))
    layout.faults += [
        Fault(str(table.path), f"no grade of {name}", "add a row, or remove its folder")
        for name in names
        if name not in grades and name not in refused
    ]
    if extra:
        layout.notices.append(f"{table.path}: rows that name no subject's folder and are not used: {extra}")
    return grades
