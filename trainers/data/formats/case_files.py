"""Cases as files, found among others with the same decisions for every source.

A volume may be packed (``.nii.gz``) or not (``.nii``); both at once is a fault, since nothing says which one is
meant. What is not asked for is left alone and counted in a notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
        layout.faults.append(Fault(str(folder / f"{stem}{ENDINGS[0]}"), f"missing; {why}", "fetch it again"))
        return None
    if len(found) > 1:
        layout.faults.append(Fault(str(found[0]), f"stands beside {found[1].name}", "remove one of the two"))
        return None
    return found[0]


def stem_of(path: Path) -> str:
    """A volume's name without its ending; empty for a file that is no volume."""
    ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    return "" if ending is None else path.name.removesuffix(ending)
