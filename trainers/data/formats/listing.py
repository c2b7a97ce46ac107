"""Looking for files that something names, and counting those that nothing does."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from trainers.data.base import CaseInfo
from trainers.data.formats.case_files import ENDINGS, ScanResult, stem_of
from trainers.data.formats.image2d import SUFFIXES
from trainers.errors import Fault

READABLE = (*ENDINGS, *SUFFIXES)
"""How names of files end that can be opened."""

Case = TypeVar("Case", bound=CaseInfo)


def find_listed(path: Path) -> Path | None:
    """The file that a list names, or its twin; None without any.

    A twin is a volume that was packed or unpacked since, a path written with Windows' slashes, or the same letters in
    another Unicode form, as systems write them.
    """
    written = str(path)
    forms = [written, *(unicodedata.normalize(form, written) for form in ("NFC", "NFD"))]
    forms += [one.replace("\\", "/") for one in forms]
    for one in map(Path, dict.fromkeys(forms)):
        stem = stem_of(one)
        twins = [one.with_name(f"{stem}{ending}") for ending in ENDINGS] if stem else []
        if found := next((file for file in (one, *twins) if is_file(file)), None):
            return found
    return None


def is_file(path: Path) -> bool:
    """Whether it is a file; false, too, for what cannot be a file's name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def ending_of(name: str) -> str:
    """How a file's name ends, ``.nii.gz`` as one."""
    return next((name[-len(one) :] for one in ENDINGS if name.lower().endswith(one)), Path(name).suffix)


def can_open(name: str) -> bool:
    """Whether files of this name are read."""
    ending = ending_of(name)
    return name != ending and ending.lower() in READABLE


def can_name(case: str) -> bool:
    """Whether a case can be called so: results are kept in files of its name."""
    return bool(case) and case.isprintable() and not set(case) & set("/\\") and case not in (".", "..")


def visible(folder: Path, layout: ScanResult) -> list[Path]:
    """What a folder holds, sorted, hidden files (such as ``._x.nii.gz``, which macOS leaves in archives) left out.

    A folder that cannot be read is a fault.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        remedy = "check its place and permissions"
        layout.faults.append(Fault(str(folder), f"cannot be read ({error.strerror})", remedy))
        return []


def notice_unused(files: Iterable[Path]) -> list[str]:
    """A notice of how many files are not used, if there are any."""
    unused = sorted(files)
    if not unused:
        return []
    count = "1 file is" if len(unused) == 1 else f"{len(unused)} files are"
    return [f"{count} not used, such as {unused[0]}"]


def first_subjects(cases: Sequence[Case], count: int | None, groups: Sequence[str], layout: ScanResult) -> list[Case]:
    """Cases of the first ``count`` subjects of each group, or all; fewer than asked for are a fault."""
    if count is None:
        return list(cases)
    chosen: dict[str, set[str]] = {group: set() for group in groups}
    kept = []
    for info in cases:
        subjects = chosen[info.group]
        if len(subjects) < count:
            subjects.add(info.subject)
        if info.subject in subjects:
            kept.append(info)
    layout.faults += [
        Fault(f"group {group}", f"{len(subjects)} subjects, expected {count}", "reduce data.subjects or leave it out")
        for group, subjects in chosen.items()
        if len(subjects) < count
    ]
    return kept
