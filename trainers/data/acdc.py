"""The cardiac MRI of the ACDC challenge (Bernard et al., IEEE TMI 2018), read from its own layout."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trainers.data.base import CaseArrays, CaseInfo, DataSpec, Head
from trainers.data.nifti import NiftiVolume, open_nifti
from trainers.data.resample import PatchGrid, label_centre, resample_image, resample_labels, volume_centre
from trainers.errors import Fault, InputError

RECIPE = 1
"""Number of the preparation; raise it with every change that makes other voxels from the same files."""
PHASES = ("ED", "ES")
DIAGNOSES = ("DCM", "HCM", "MINF", "NOR", "RV")
LABELS = {"RV": 1, "MYO": 2, "LV": 3}
PERCENTILES = (1, 99)

Millimetres = Annotated[float, Field(gt=0)]
Voxels = Annotated[int, Field(ge=4)]


@dataclass(frozen=True)
class _Frame:
    """One labelled frame of a patient, as ``Info.cfg`` declares it."""

    patient: str
    phase: str
    diagnosis: str
    image: Path
    label: Path

    @property
    def case(self) -> str:
        return f"{self.patient}-{self.phase}"


class AcdcSpec(DataSpec):
    """End-diastole and end-systole of each patient, resampled, cropped and normalised.

    Intensities are clipped to the 1st to 99th percentile of the frame and z-scored; beyond the frame
    the image is 0. Images are resampled linearly, labels through signed distances. The axes stay the
    file's: all of the challenge's frames are oriented alike.
    """

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"root"})
    head: ClassVar[Head] = "softmax"

    source: Literal["acdc"] = "acdc"
    root: Path
    """The folder that holds the patients' folders, or holds ``training`` with them."""
    group: Literal["phase", "diagnosis"] = "phase"
    """What makes the groups: the frame's phase or the patient's diagnosis."""
    spacing: tuple[Millimetres, Millimetres, Millimetres] = (1.5625, 1.5625, 2.5)
    """Sides of a voxel after resampling [mm]."""
    shape: tuple[Voxels, Voxels, Voxels] = (192, 192, 48)
    """Sides of the patch [voxels after resampling]; padded where the frame is smaller."""
    crop: Literal["center", "label"] = "center"
    """Middle of the patch: the frame's, or that of the label's bounding box.

    The second lets a patch be small, and means that scores take the heart as found.
    """
    patients: int | None = Field(default=None, ge=1)
    """Use the first so many patients only."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Right ventricle, myocardium, left ventricle's cavity."""
        return tuple(LABELS)

    @property
    def groups(self) -> tuple[str, ...]:
        """Phases or diagnoses."""
        return PHASES if self.group == "phase" else DIAGNOSES

    def fingerprint(self) -> str:
        """Hash the content of every file used, and where it lies below the root.

        Raises: InputError with every fault of the layout.
        """
        digest = hashlib.blake2b(f"acdc-{RECIPE}".encode(), digest_size=16)
        for frame in self._frames():
            for path in (frame.image.with_name("Info.cfg"), frame.image, frame.label):
                stat = path.stat()
                digest.update(f"{frame.patient}/{path.name}".encode())
                digest.update(_file_digest(path, stat.st_size, stat.st_mtime_ns))
        return digest.hexdigest()

    def list_cases(self) -> list[CaseInfo]:
        """Both phases of each patient, in the patients' order, from file names and ``Info.cfg`` alone.

        Raises: InputError with every fault of the layout.
        """
        return [
            CaseInfo(frame.case, frame.patient, frame.phase if self.group == "phase" else frame.diagnosis)
            for frame in self._frames()
        ]

    def load_case(self, info: CaseInfo) -> CaseArrays:
        """Read and prepare one frame: image (1, *shape), label (3, *shape).

        Raises: InputError naming the file.
        """
        frames, faults = _scan_patient(self._folder() / info.subject)
        frame = next((frame for frame in frames if frame.case == info.case), None)
        if frame is None:
            raise InputError(faults or Fault(str(self.root), f"no case {info.case}"))
        volume, label = _open_pair(frame)
        voxels = _read_label(label)
        centre = label_centre(voxels) if self.crop == "label" else None
        step = [new / old for new, old in zip(self.spacing, volume.spacing, strict=True)]
        grid = PatchGrid(
            source=volume.shape,
            shape=self.shape,
            step=(step[0], step[1], step[2]),
            centre=centre or volume_centre(volume.shape),
        )
        # 0 is the frame's mean after the z-score: padding that is neither bright nor dark.
        image = resample_image(_normalise(volume), grid, fill=0)
        maps = resample_labels(voxels, tuple(LABELS.values()), volume.spacing, grid)
        return CaseArrays(image[np.newaxis], maps, self.spacing)

    def check_files(self) -> list[Fault]:
        """Look at the layout, every header, every label's values and every image's length; return all faults."""
        frames, faults = self._scan()
        for frame in frames:
            try:
                volume, label = _open_pair(frame)
                volume.check_whole()
                _read_label(label)
            except InputError as error:
                faults.extend(error.faults)
        return faults

    def _folder(self) -> Path:
        root = self.root.expanduser()
        training = root / "training"
        return training if training.is_dir() else root

    def _frames(self) -> list[_Frame]:
        frames, faults = self._scan()
        if faults:
            raise InputError(faults)
        return frames

    def _scan(self) -> tuple[list[_Frame], list[Fault]]:
        """Return the frames whose files are there, and what is wrong with the layout."""
        folder = self._folder()
        if not folder.is_dir():
            return [], [Fault(str(self.root), "no such folder", "set data.root to the challenge's folder")]
        patients = sorted(path for path in folder.iterdir() if re.fullmatch(r"patient\d{3}", path.name))
        if not patients:
            remedy = "expected training/patient001 or patient001 in it; set data.root to the challenge's folder"
            return [], [Fault(str(self.root), "no patients", remedy)]
        if self.patients is not None and len(patients) < self.patients:
            remedy = "reduce data.patients or leave it out"
            return [], [Fault(str(folder), f"{len(patients)} patients, expected {self.patients}", remedy)]
        frames: list[_Frame] = []
        faults: list[Fault] = []
        for path in patients[: self.patients]:
            found, wrong = _scan_patient(path)
            frames.extend(found)
            faults.extend(wrong)
        return frames, faults


def _scan_patient(folder: Path) -> tuple[list[_Frame], list[Fault]]:
    """Return the labelled frames that ``Info.cfg`` names and whose files are there, and what is missing."""
    config = folder / "Info.cfg"
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [], [Fault(str(config), "missing or unreadable", "it says which frames are ED and ES; fetch it again")]
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    faults = []
    diagnosis = entries.get("Group", "")
    if diagnosis not in DIAGNOSES:
        faults.append(Fault(str(config), f"Group is {diagnosis!r}", f"known: {', '.join(DIAGNOSES)}"))
    frames = []
    for phase in PHASES:
        number = entries.get(phase, "")
        if not number.isdecimal():
            faults.append(Fault(str(config), f"{phase} is {number!r}, expected the number of a frame"))
            continue
        stem = f"{folder.name}_frame{int(number):02d}"
        image, label = _existing(folder, stem), _existing(folder, f"{stem}_gt")
        missing = [path for path in (image, label) if not path.is_file()]
        faults.extend(Fault(str(path), f"missing; Info.cfg names it as {phase}", "fetch it again") for path in missing)
        if not missing:
            frames.append(_Frame(folder.name, phase, diagnosis, image, label))
    return frames, faults


def _existing(folder: Path, stem: str) -> Path:
    """Find a volume, packed or not; the packed name if there is neither."""
    plain = folder / f"{stem}.nii"
    return plain if plain.is_file() else folder / f"{stem}.nii.gz"


def _open_pair(frame: _Frame) -> tuple[NiftiVolume, NiftiVolume]:
    """Read the headers of an image and its label.

    Raises: InputError with what is wrong with either, or if they do not lie in the same place.
    """
    volumes: list[NiftiVolume] = []
    faults: list[Fault] = []
    for path in (frame.image, frame.label):
        try:
            volumes.append(open_nifti(path))
        except InputError as error:
            faults.extend(error.faults)
    if faults:
        raise InputError(faults)
    image, label = volumes
    if label.shape != image.shape:
        fault = f"label of shape {label.shape}, expected its image's {image.shape}"
        raise InputError(Fault(str(frame.label), fault, f"compare {frame.image.name}"))
    # A hundredth of a millimetre: what rounding in a header may move a corner of the volume by.
    if not np.allclose(label.affine, image.affine, atol=1e-2):
        fault = "label's affine differs from its image's"
        raise InputError(Fault(str(frame.label), fault, f"compare {frame.image.name}"))
    return image, label


def _read_label(label: NiftiVolume) -> NDArray[np.uint8]:
    """Read a label's voxels.

    Raises: InputError if it is damaged or has values that the challenge does not.
    """
    voxels = label.read()
    known = (0, *LABELS.values())
    unknown = np.setdiff1d(voxels, known)
    if unknown.size:
        shown = ", ".join(f"{value:g}" for value in unknown[:5]) + (" and more" if unknown.size > 5 else "")
        raise InputError(Fault(str(label.path), f"label values {shown}", f"known: {', '.join(map(str, known))}"))
    return voxels.astype(np.uint8)


def _normalise(volume: NiftiVolume) -> NDArray[np.float32]:
    """Read an image, clip it to its 1st to 99th percentile, and z-score it.

    Raises: InputError if it is damaged or has one value only.
    """
    voxels = volume.read().astype(np.float32)
    voxels = np.clip(voxels, *np.percentile(voxels, PERCENTILES)).astype(np.float32)
    deviation = float(voxels.std())
    if deviation == 0:
        raise InputError(Fault(str(volume.path), "all voxels have the same value", "fetch it again"))
    return np.asarray((voxels - voxels.mean()) / deviation, dtype=np.float32)


@cache
def _file_digest(path: Path, size: int, modified_ns: int) -> bytes:  # noqa: ARG001 the arguments are the cache's key
    """Hash a file's content, once for each state of it that this process sees."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest()
