"""Preparing volumes: ours against MONAI's transforms in a plain loop on the same work, in one run.

Same work: 120 frames in the challenge's layout, turned, resampled to one spacing (images linearly, labels through
signed distances), cut to one patch, clipped and z-scored, written as arrays. The real frames if they are at hand,
else as many made from the cardiac phantom at their size.

    python -m bench.preparation [--patients 5]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from study.execution.ray_tune import RayEngine
from trainers.data.formats.case_files import CaseFiles
from trainers.data.prepared.write import Work, prepare
from trainers.data.sources.acdc import DIAGNOSES, AcdcSpec
from trainers.data.sources.phantom_heart import CardiacPhantomSpec

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "acdc"
SPACING, PATCH = (1.5625, 1.5625, 2.5), (192, 192, 48)
PATIENTS = 60


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, help="two phantoms each, in place of the real frames")
    patients = parser.parse_args().patients
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = REAL.is_dir() and patients is None
        root = REAL if real else make_tree(folder / "acdc", patients or PATIENTS)
        spec = AcdcSpec(root=root, spacing=SPACING, patch=PATCH)
        cases = spec.list_cases()
        origin = "the challenge" if real else "phantoms"
        print(f"{len(cases)} volumes of {origin} to {PATCH} voxels of {SPACING} mm")
        with RayEngine() as engine:
            # Ray is started for the trials anyway.
            list(engine.spread(abs, [0]))  # type: ignore[arg-type]
            peaks: list[int] = []

            def run(work: Work, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
                for record, peak in engine.spread(partial(with_peak, work), numbers):  # type: ignore[arg-type]
                    peaks.append(peak)
                    yield record

            started = time.perf_counter()
            prepare(spec, folder / "ours", run=run)
            ours = time.perf_counter() - started
        theirs = monai_loop(cases, folder / "theirs")
        print(f"ours {ours:.1f} s, MONAI's transforms in a plain loop {theirs:.1f} s")
        print(f"ratio {theirs / ours:.2f} (above 1: ours is faster)")
        print(f"peak memory of a process that prepares: {max(peaks) / 1024:.0f} MiB")


def with_peak(work: Work, number: int) -> tuple[dict[str, Any], int]:
    """What the work gives, and the most memory that its process has taken so far [KiB]."""
    return work(number), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def monai_loop(cases: list[CaseFiles], folder: Path) -> float:
    """Seconds that MONAI's transforms take, one case after the other, on all cores that torch uses."""
    import torch
    from monai import transforms

    keys = ["image", "label"]
    steps = transforms.Compose(
        [
            transforms.LoadImaged(keys),
            transforms.EnsureChannelFirstd(keys),
            transforms.Orientationd(keys, axcodes="RAS", labels=None),
            transforms.AsDiscreted("label", to_onehot=4),
            transforms.Lambdad("label", signed_distances),
            transforms.Spacingd(keys, pixdim=SPACING, mode="bilinear"),
            transforms.AsDiscreted("label", argmax=True, to_onehot=4),
            transforms.ResizeWithPadOrCropd(keys, PATCH),
            transforms.ScaleIntensityRangePercentilesd("image", 1, 99, 0, 1, clip=True),
            transforms.NormalizeIntensityd("image"),
        ]
    )
    folder.mkdir()
    started = time.perf_counter()
    for files in cases:
        found = steps({"image": files.images[0], "label": files.label})
        np.save(folder / f"{files.case}.image.npy", found["image"].numpy())
        np.save(folder / f"{files.case}.label.npy", found["label"][1:].to(torch.uint8).numpy())
    return time.perf_counter() - started


def signed_distances(label):  # noqa: ANN001, ANN201
    """Signed distances of one-hot maps, as a MONAI transform."""
    from monai.transforms.utils import distance_transform_edt

    spacing = label.pixdim.tolist()
    return distance_transform_edt(label, sampling=spacing) - distance_transform_edt(1 - label, sampling=spacing)


def make_tree(root: Path, patients: int) -> Path:
    """Phantoms at the challenge's size in its layout."""
    phantom = CardiacPhantomSpec(train=patients - 2, test=2, shape=(216, 256, 10))
    for number, info in enumerate(phantom.list_cases()):
        patient = 1 + number // 2
        arrays = phantom.load_case(info)
        folder = root / "training" / f"patient{patient:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        frame = 1 if info.group == "ED" else 9
        affine = np.diag([1.5625, 1.5625, 10.0, 1.0])
        label = (arrays.label * np.array([1, 2, 3], np.uint8)[:, None, None, None]).sum(axis=0).astype(np.uint8)
        stem = folder / f"{folder.name}_frame{frame:02d}"
        image = np.round(100 * arrays.image[0] + 400).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(image, affine), f"{stem}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, affine), f"{stem}_gt.nii.gz")
        (folder / "Info.cfg").write_text(f"ED: 1\nES: 9\nGroup: {DIAGNOSES[patient % 5]}\n")
    return root


if __name__ == "__main__":
    main()
