"""Trees in the layouts of the sources, small and generated, and the real data if it is there."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from trainers.data.inspection import inspect
from trainers.data.sources.acdc import DIAGNOSES
from trainers.data.sources.phantom_heart import CardiacPhantomSpec
from trainers.data.sources.volumes import VolumeSpec
from trainers.errors import Fault

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"
FRAMES = {"ED": 1, "ES": 9}
SIDE = 16
"""Voxels along each axis of the generated brains."""
CHANNELS = {"flair": 10.0, "t1": 20.0, "t1ce": 30.0, "t2": 40.0}
"""Value of every modality outside of the tumour: with it, a test tells which channel is which."""


def write_nifti(path: Path, voxels: np.ndarray, spacing=(5.0, 5.0, 10.0), affine=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, np.diag([*spacing, 1.0]) if affine is None else affine)
    nib.save(image, path)


def brain(level: float = 10.0) -> np.ndarray:
    """An image (16, 16, 16): ``level``, and one more where the label is."""
    return (level + (label() > 0)).astype(np.float32)


def label(*values: int) -> np.ndarray:
    """A label map (16, 16, 16) with a slab of 8 × 8 × 4 voxels of each value."""
    voxels = np.zeros((SIDE, SIDE, SIDE), dtype=np.uint8)
    for index, value in enumerate(values or (1,)):
        voxels[4:12, 4:12, 2 + 4 * index : 6 + 4 * index] = value
    return voxels


def write_volume(path: Path, voxels: np.ndarray) -> None:
    write_nifti(path, voxels, spacing=(2.0, 2.0, 2.0))


def write_subject(
    folder: Path, names=tuple(CHANNELS), separator: str = "_", ending: str = ".nii.gz", values=(1, 2, 4)
) -> None:
    """One subject of BRATS, its modalities under ``names`` in the order of ``CHANNELS``."""
    for name, level in zip(names, CHANNELS.values(), strict=True):
        write_volume(folder / f"{folder.name}{separator}{name}{ending}", brain(level))
    write_volume(folder / f"{folder.name}{separator}seg{ending}", label(*values))


def write_pixels(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_description(root: Path, **body) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "dataset.json"
    path.write_text(json.dumps(body))
    return path


def all_faults(spec: VolumeSpec) -> list[Fault]:
    """Every fault that a check finds."""
    return inspect(spec).faults


def frame_path(root: Path, patient: int, phase: str, suffix: str = "") -> Path:
    name = f"patient{patient:03d}"
    return root / "training" / name / f"{name}_frame{FRAMES[phase]:02d}{suffix}.nii.gz"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three patients of ACDC, 32×32×8 voxels of 5×5×10 mm."""
    phantom = CardiacPhantomSpec(train=3, test=2)
    root = tmp_path / "acdc"
    for info in phantom.list_cases()[:6]:
        patient = 1 + int(info.subject[-4:])
        arrays = phantom.load_case(info)
        path = frame_path(root, patient, info.group)
        write_nifti(path, np.round(100 * arrays.image[0] + 400).astype(np.int16))
        values = (arrays.label * np.array([1, 2, 3], dtype=np.uint8)[:, None, None, None]).sum(axis=0)
        write_nifti(frame_path(root, patient, info.group, "_gt"), values.astype(np.uint8))
        (path.parent / "Info.cfg").write_text(f"ED: 1\nES: 9\nGroup: {DIAGNOSES[patient - 1]}\nHeight: 180.0\n")
    return root


@pytest.fixture
def brats(tmp_path: Path) -> Path:
    """Two subjects of each grade in the folders of 2018."""
    root = tmp_path / "brats"
    for grade in ("HGG", "LGG"):
        for number in (1, 2):
            write_subject(root / grade / f"Brats18_{grade}{number}_1")
    return root


@pytest.fixture
def decathlon(tmp_path: Path) -> Path:
    """Three cases in the Decathlon's layout, one channel, two labels."""
    root = tmp_path / "Task99_Brain"
    names = [f"brain_{number:03d}.nii.gz" for number in (1, 2, 3)]
    for name in names:
        write_volume(root / "imagesTr" / name, brain())
        write_volume(root / "labelsTr" / name, label(1, 2))
    write_description(
        root,
        modality={"0": "MRI"},
        labels={"0": "background", "1": "left", "2": "right"},
        numTraining=3,
        training=[{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
    )
    return root


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four cases of two subjects in two groups, two channels."""
    folder = tmp_path / "table"
    lines = ["case,subject,group,image_t1,image_t2,label"]
    for number in range(4):
        write_volume(folder / f"t1/{number}.nii.gz", brain(20))
        write_volume(folder / f"t2/{number}.nii.gz", brain(40))
        write_volume(folder / f"truth/{number}.nii.gz", label(1))
        group = "AB"[number // 2]
        lines.append(f"c{number},s{group},{group},t1/{number}.nii.gz,t2/{number}.nii.gz,truth/{number}.nii.gz")
    path = folder / "cases.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def shared(name: str) -> Path:
    """A folder of the real data; the test is skipped where it is absent."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs the volumes at {SHARED / name}")
    return SHARED / name


@pytest.fixture
def real() -> Path:
    return shared("acdc")


@pytest.fixture
def real_brats() -> Path:
    return shared("brats")


@pytest.fixture
def hippocampus() -> Path:
    return shared("Task04_Hippocampus")
