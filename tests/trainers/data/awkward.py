"""Awkward datasets: each awkwardness a function that changes one healthy case of a table, and the words that tell it.

Words are empty where an awkwardness is handled: nothing is to be said of it then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from trainers.data.sources.csv_table import TableSpec

SIDE = 12
HEALTHY = 2
"""Cases that nothing is changed in, before the awkward ones."""
COLUMNS = ("case", "subject", "group", "image", "label")


@dataclass
class AwkwardCase:
    """One case of the table, its voxels and its row, before it is written."""

    folder: Path
    number: int
    image: np.ndarray = field(init=False)
    label: np.ndarray = field(init=False)
    row: dict[str, str] = field(init=False)
    affine: np.ndarray = field(default_factory=lambda: np.diag([2.0, 2, 2, 1]))
    label_affine: np.ndarray | None = None
    unit: str = "mm"
    after: list[Callable[[AwkwardCase], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.number)
        self.label = np.zeros((SIDE, SIDE, SIDE), np.uint8)
        self.label[3:9, 3:9, 3:9] = rng.random((6, 6, 6)) < 0.9
        self.image = (100 + 20 * self.label + rng.standard_normal(self.label.shape)).astype(np.float32)
        name = f"case{chr(ord('a') + self.number)}"
        files = {"image": f"{name}_image.nii.gz", "label": f"{name}_label.nii.gz"}
        self.row = {"case": name, "subject": f"owner of {name}", "group": "AB"[self.number % 2]} | files

    def path(self, part: str) -> Path:
        return self.folder / f"{self.row['case']}_{part}.nii.gz"

    def write(self) -> None:
        parts = (("image", self.image, self.affine), ("label", self.label, self.label_affine))
        for part, voxels, affine in parts:
            volume = nib.Nifti1Image(voxels, self.affine if affine is None else affine)
            volume.header.set_xyzt_units(self.unit)
            nib.save(volume, self.path(part))
        for change in self.after:
            change(self)


def rounded_label(case: AwkwardCase) -> str:
    case.label = (case.label * 1.00000006).astype(np.float64)
    return ""


def fourth_axis(case: AwkwardCase) -> str:
    case.image, case.label = case.image[..., np.newaxis], case.label[..., np.newaxis]
    return ""


def metres(case: AwkwardCase) -> str:
    case.affine, case.unit = np.diag([0.002, 0.002, 0.002, 1]), "meter"
    return ""


def shifted_label(case: AwkwardCase) -> str:
    case.label_affine = case.affine.copy()
    case.label_affine[0, 3] += 0.02 if case.unit == "mm" else 0.00002
    return "data.tolerance"


def zero_image(case: AwkwardCase) -> str:
    case.image = np.zeros_like(case.image)
    return "have the same value, 0"


def unknown_subject(case: AwkwardCase) -> str:
    case.row["subject"] = "N/A"
    return "names nobody"


def empty_subject(case: AwkwardCase) -> str:
    case.row["subject"] = ""
    return "subject is empty, and given in other rows"


def not_packed(case: AwkwardCase) -> str:
    def unpack(case: AwkwardCase) -> None:
        volume = case.path("image").with_name("plain.nii")
        nib.save(nib.load(case.path("image")), volume)
        volume.rename(case.path("image"))

    case.after.append(unpack)
    return "named .gz, and it is not packed"


def folder_for_file(case: AwkwardCase) -> str:
    def wrap(case: AwkwardCase) -> None:
        content = case.path("label").read_bytes()
        case.path("label").unlink()
        case.path("label").mkdir()
        (case.path("label") / "inner.nii.gz").write_bytes(content)

    case.after.append(wrap)
    return "is a folder, with inner.nii.gz in it"


def capital_ending(case: AwkwardCase) -> str:
    def rename(case: AwkwardCase) -> None:
        case.path("label").rename(case.path("label").with_name(case.row["label"]))

    case.row["label"] = case.row["label"].replace(".nii.gz", ".NII.GZ")
    case.after.append(rename)
    return ""


AWKWARD: tuple[Callable[[AwkwardCase], str], ...] = (
    *(rounded_label, fourth_axis, metres, shifted_label, zero_image, unknown_subject, empty_subject),
    *(not_packed, folder_for_file, capital_ending),
)


def build(folder: Path, kinds: Sequence[Callable[[AwkwardCase], str]]) -> tuple[TableSpec, list[str]]:
    """A table with healthy cases and one awkward case a kind; its spec, and the words that must be said."""
    cases = [AwkwardCase(folder, number) for number in range(HEALTHY + len(kinds))]
    words = [kind(case) for kind, case in zip(kinds, cases[HEALTHY:], strict=True)]
    for case in cases:
        case.write()
    lines = [",".join(COLUMNS), *(",".join(case.row[column] for column in COLUMNS) for case in cases)]
    (folder / "cases.csv").write_text("\n".join(lines))
    spec = TableSpec(root=folder / "cases.csv", classes={"lesion": 1}, groups=["A", "B"], patch=(12, 12, 12))
    return spec, [word for word in words if word]
