"""A tree in the challenge's layout, small and made from the cardiac phantom, and the real one if it is there."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from trainers.data.acdc import DIAGNOSES
from trainers.data.cardiac import CardiacPhantomSpec

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "acdc"
FRAMES = {"ED": 1, "ES": 9}


def write_nifti(path: Path, voxels: np.ndarray, spacing=(5.0, 5.0, 10.0), affine=None) -> None:
    image = nib.Nifti1Image(voxels, np.diag([*spacing, 1.0]) if affine is None else affine)
    nib.save(image, path)


def frame_path(root: Path, patient: int, phase: str, suffix: str = "") -> Path:
    name = f"patient{patient:03d}"
    return root / "training" / name / f"{name}_frame{FRAMES[phase]:02d}{suffix}.nii.gz"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three patients, 32×32×8 voxels of 5×5×10 mm."""
    phantom = CardiacPhantomSpec(train=3, test=2)
    root = tmp_path / "acdc"
    for info in phantom.list_cases()[:6]:
        patient = 1 + int(info.subject[-4:])
        arrays = phantom.load_case(info)
        path = frame_path(root, patient, info.group)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, np.round(100 * arrays.image[0] + 400).astype(np.int16))
        label = (arrays.label * np.array([1, 2, 3], dtype=np.uint8)[:, None, None, None]).sum(axis=0)
        write_nifti(frame_path(root, patient, info.group, "_gt"), label.astype(np.uint8))
        (path.parent / "Info.cfg").write_text(f"ED: 1\nES: 9\nGroup: {DIAGNOSES[patient - 1]}\nHeight: 180.0\n")
    return root


@pytest.fixture
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"needs the ACDC volumes at {REAL}")
    return REAL
