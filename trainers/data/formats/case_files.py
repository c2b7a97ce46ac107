"""Cases as files, found among others with the same decisions for every source.

A volume may be packed (``.nii.gz``) or not (``.nii``); both at once is a fault, since nothing says which one is
meant. What is not asked for is left alone and counted in a notice.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from trainers.data.base import CaseInfo
from trainers.errors import Fault

ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class CaseFiles(CaseInfo):
    """A case and its files: one image or more, whose channels are stacked in this order, and a label."""

    images: tuple[Path, ...] = ()
    label: Path = Path()


@dataclass
class ScanResult:
    """What a look at a source's folders found: cases whose files are there, what is wrong, what is not used."""

    cases: list[CaseFiles] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def find_volume(folder: Path, stem: str, layout: ScanResult, why: str) -> Path | None:
    """The one file of a volume; None, and a fault in ``layout``, if there is none or more than one.

    why: what says that it should be there.
    """
    found = [path for path in (folder / f"{stem}{ending}" for ending in ENDINGS) if path.is_file()]
    if not found:
        layout.faults.append(missing(folder / f"{stem}{ENDINGS[0]}", why, "fetch it again"))
        return None
    if len(found) > 1:
        layout.faults.append(Fault(str(found[0]), f"stands beside {found[1].name}", "remove one of the two"))
        return None
    return found[0]


def missing(path: Path, why: str, remedy: str) -> Fault:
    """The fault of a file that is not there, with what is there in its place: a folder, or the nearest name.

    why: what asks for it.
    """
    told = f"missing; {why}" if why else "missing"
    try:
        return _missing(path, told, remedy)
    except (OSError, ValueError):
        # What cannot be a file's name.
        return Fault(str(path), told, remedy)


def _missing(path: Path, told: str, remedy: str) -> Fault:
    for twin in (path, *(path.with_name(f"{stem_of(path)}{ending}") for ending in ENDINGS if stem_of(path))):
        if twin.is_dir():
            inside = next((one.name for one in sorted(twin.iterdir()) if one.is_file()), "nothing")
            return Fault(str(path), f"{told}; {twin.name} is a folder, with {inside} in it", "move the file out of it")
    gone = [parent for parent in path.parents if not parent.exists()]
    if gone:
        return Fault(str(path), f"{told}; there is no folder {gone[-1]}", remedy)
    near = nearest_name(path)
    return Fault(str(path), f"{told}; the folder has {near}" if near else told, remedy)


def nearest_name(path: Path) -> str | None:
    """The file beside where ``path`` would lie whose name is most like its own; with the same numbers in it."""
    try:
        names = _names(path.parent, path.parent.stat().st_mtime_ns)
    except OSError:
        return None
    wanted = _plain(path.name)
    same = next((name for name in names if _plain(name) == wanted), None)
    if same is not None:
        return same
    stems = {_plain(name).split(".")[0]: name for name in names if _numbers(name) == _numbers(path.name)}
    close = difflib.get_close_matches(wanted.split(".")[0], stems, 1, 0.75)
    return stems[close[0]] if close else None


@lru_cache(maxsize=64)
def _names(folder: Path, modified_ns: int) -> tuple[str, ...]:  # noqa: ARG001 the time is part of the cache's key
    return tuple(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))


def _plain(name: str) -> str:
    """A name without what differs between systems: capitals and the form of letters."""
    return unicodedata.normalize("NFKC", name).casefold()


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", name)]


def stem_of(path: Path) -> str:
    """A volume's name without its ending; empty for a file that is no volume."""
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    return "" if ending is None else path.name[: -len(ending)]
