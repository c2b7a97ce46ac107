"""The cardiac MRI of the ACDC challenge (Bernard et al., IEEE TMI 2018), read from its own layout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from trainers.data.formats.case_files import CaseFiles, ScanResult, find_volume
from trainers.data.geometry.intensity import Intensity
from trainers.data.geometry.resample import LabelMode
from trainers.data.sources.volumes import Millimetres, VolumeSpec, Voxels
from trainers.errors import Fault

PHASES = ("ED", "ES")
DIAGNOSES = ("DCM", "HCM", "MINF", "NOR", "RV")
LABELS = {"RV": (1,), "MYO": (2,), "LV": (3,)}


class AcdcSpec(VolumeSpec):
    """End-diastole and end-systole of each patient; by default at the paper's spacing and patch."""

    source: Literal["acdc"] = "acdc"
    root: Path
    """The folder that holds the patients' folders, or holds ``training`` with them."""
    group: Literal["phase", "diagnosis"] = "phase"
    """What makes the groups: the frame's phase or the patient's diagnosis."""
    spacing: tuple[Millimetres, ...] | None = (1.5625, 1.5625, 2.5)
    patch: tuple[Voxels, ...] = (192, 192, 48)
    intensity: Intensity = "clip_zscore"
    labels: LabelMode = "signed_distance"
    may_be_empty: tuple[str, ...] = ()
    patients: int | None = Field(default=None, ge=1)
    """Use the first so many patients only."""

    @property
    def values(self) -> Mapping[str, tuple[int, ...]]:
        """Right ventricle, myocardium, left ventricle's cavity."""
        return LABELS

    @property
    def groups(self) -> tuple[str, ...]:
        """Phases or diagnoses."""
        return PHASES if self.group == "phase" else DIAGNOSES

    @property
    def paired(self) -> bool:
        """A patient has both phases, and one diagnosis."""
        return self.group == "phase"

    def scan(self) -> ScanResult:
        """Both phases of each patient, in the patients' order, from file names and ``Info.cfg`` alone."""
        folder = self._folder()
        if not folder.is_dir():
            return ScanResult(
                faults=[Fault(str(self.root), "no such folder", "set data.root to the challenge's folder")]
            )
        patients = sorted(path for path in folder.iterdir() if re.fullmatch(r"patient\d{3}", path.name))
        if not patients:
            remedy = "expected training/patient001 or patient001 in it; set data.root to the challenge's folder"
            return ScanResult(faults=[Fault(str(self.root), "no patients", remedy)])
        if self.patients is not None and len(patients) < self.patients:
            fault = f"{len(patients)} patients, expected {self.patients}"
            return ScanResult(faults=[Fault(str(folder), fault, "reduce data.patients or leave it out")])
        layout = ScanResult()
        for path in patients[: self.patients]:
            self._scan_patient(path, layout)
        return layout

    def _folder(self) -> Path:
        root = self.root.expanduser()
        training = root / "training"
        return training if training.is_dir() else root

    def _scan_patient(self, folder: Path, layout: ScanResult) -> None:
        """Add the labelled frames that ``Info.cfg`` names and whose files are there, and what is missing."""
        config = folder / "Info.cfg"
        try:
            text = config.read_text(encoding="utf-8-sig", errors="replace")
        except OSError:
            remedy = "it says which frames are ED and ES; fetch it again"
            layout.faults.append(Fault(str(config), "missing or unreadable", remedy))
            return
        entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
        diagnosis = entries.get("Group", "")
        if diagnosis not in DIAGNOSES:
            layout.faults.append(Fault(str(config), f"Group is {diagnosis!r}", f"known: {', '.join(DIAGNOSES)}"))
        strangers = sorted(path.name for path in folder.glob("patient*") if not path.name.startswith(folder.name))
        layout.faults += [
            Fault(str(folder / name), "lies in another patient's folder", f"move it to {name[:10]}")
            for name in strangers
        ]
        for phase in PHASES:
            number = entries.get(phase, "")
            if not number.isdecimal():
                layout.faults.append(Fault(str(config), f"{phase} is {number!r}, expected the number of a frame"))
                continue
            stem = f"{folder.name}_frame{int(number):02d}"
            why = f"Info.cfg names it as {phase}"
            image = find_volume(folder, stem, layout, why)
            label = find_volume(folder, f"{stem}_gt", layout, why)
            if image is not None and label is not None:
                group = phase if self.group == "phase" else diagnosis
                layout.cases.append(CaseFiles(f"{folder.name}-{phase}", folder.name, group, "", (image,), label))
