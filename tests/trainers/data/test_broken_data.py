"""Data broken in every way that was thought of: one fault each, and all together, each named with its file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.trainers.data.conftest import all_faults, brain, label, write_description, write_volume
from trainers.data.inspection import inspect
from trainers.data.sources.brats import BratsSpec
from trainers.data.sources.csv_table import TableSpec
from trainers.data.sources.decathlon import DecathlonSpec
from trainers.errors import InputError

SMALL = {"patch": (16, 16, 16)}


@dataclass
class Case:
    """A healthy case of a table: two channels and a label; a fault breaks its files or its row."""

    folder: Path
    name: str
    row: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, voxels in (("t1", brain(20)), ("t2", brain(40)), ("truth", label(1))):
            write_volume(self.path(part), voxels)
        files = {column: self.path(part).name for column, part in PARTS.items()}
        self.row = {"case": self.name, "subject": self.name, "group": "A", "split": "train"} | files

    def path(self, part: str) -> Path:
        return self.folder / f"{self.name}_{part}.nii.gz"

    def line(self, columns: list[str]) -> str:
        return ",".join(self.row[column] for column in columns if column in self.row)


PARTS = {"image_t1": "t1", "image_t2": "t2", "label": "truth"}
COLUMNS = ["case", "subject", "group", "split", *PARTS]


def cut(part: str, share: float) -> Callable[[Case], None]:
    def apply(case: Case) -> None:
        content = case.path(part).read_bytes()
        case.path(part).write_bytes(content[: int(share * len(content))])

    return apply


def overwrite(part: str, content: bytes) -> Callable[[Case], None]:
    return lambda case: case.path(part).write_bytes(content)


def rewrite(part: str, voxels: np.ndarray, **geometry) -> Callable[[Case], None]:
    def apply(case: Case) -> None:
        image = nib.Nifti1Image(voxels, geometry.get("affine", np.diag([2.0, 2, 2, 1])))
        nib.save(image, case.path(part))

    return apply


def everywhere(affine: np.ndarray) -> Callable[[Case], None]:
    def apply(case: Case) -> None:
        for part in PARTS.values():
            rewrite(part, np.asanyarray(nib.load(case.path(part)).dataobj), affine=affine)(case)

    return apply


def rename(part: str, ending: str) -> Callable[[Case], None]:
    def apply(case: Case) -> None:
        path = case.path(part)
        case.row[next(column for column, name in PARTS.items() if name == part)] = f"{path.name}{ending}"

    return apply


def put(place: tuple[int, int, int], value: complex, dtype: str, part: str = "truth") -> Callable[[Case], None]:
    voxels = (label(1) if part == "truth" else brain(20)).astype(dtype)
    voxels[place] = value
    return rewrite(part, voxels)


def set_cell(column: str, value: str) -> Callable[[Case], None]:
    return lambda case: case.row.__setitem__(column, value)


SHIFTED = np.array([[2.0, 0, 0, 3], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
FOLDED = np.array([[2.0, 0, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
COLOURS = np.zeros((16, 16, 16), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])

# How a case is broken; the part whose file the fault must name, none for the row itself; what it must say.
KINDS: dict[str, tuple[Callable[[Case], object], str | None, str]] = {
    "missing image": (lambda case: case.path("t1").unlink(), "t1", "missing"),
    "missing label": (lambda case: case.path("truth").unlink(), "truth", "missing"),
    "truncated header": (cut("t2", 0.05), "t2", "unreadable NIfTI"),
    "truncated image": (cut("t1", 0.7), "t1", "unreadable NIfTI"),
    "truncated label": (cut("truth", 0.7), "truth", "unreadable NIfTI"),
    "empty file": (overwrite("t1", b""), "t1", "unreadable NIfTI"),
    "no NIfTI": (overwrite("t1", b"not a volume" * 99), "t1", "unreadable NIfTI"),
    "no label": (overwrite("truth", b"\x1f\x8b" + b"?" * 999), "truth", "unreadable NIfTI"),
    "label of another shape": (
        rewrite("truth", label(1)[1:]),
        "truth",
        "label of shape 15×16×16, expected its image's",
    ),
    "label elsewhere": (rewrite("truth", label(1), affine=SHIFTED), "truth", "label's affine differs"),
    "channel of another shape": (rewrite("t2", brain(40)[:, 2:]), "t2", "channel of shape 16×14×16, expected"),
    "channel elsewhere": (rewrite("t2", brain(40), affine=SHIFTED), "t2", "by 3 mm at a corner"),
    "unknown label": (put((0, 0, 0), 5, "uint8"), "truth", "label values 5; known: 0, 1, 2"),
    "fractional label": (put((0, 0, 0), 0.5, "float32"), "truth", "label values 0.5"),
    "negative label": (put((0, 0, 0), -1, "int16"), "truth", "label values -1"),
    "label not finite": (put((0, 0, 0), np.nan, "float32"), "truth", "1 voxels are not finite"),
    "empty label": (rewrite("truth", 0 * label(1)), "truth", "no voxel of lesion; label it, or list"),
    "label in colours": (rewrite("truth", COLOURS), "truth", "expected real numbers"),
    "complex image": (put((0, 0, 0), 1j, "complex64", "t1"), "t1", "voxels of type complex64"),
    "four dimensions": (rewrite("t1", brain()[..., None].repeat(2, 3)), "t1", "expected three dimensions"),
    "two dimensions": (rewrite("t1", brain()[0]), "t1", "volume of shape 16×16, expected three dimensions"),
    "singular affine": (rewrite("t2", brain(40), affine=FOLDED), "t2", "affine is singular"),
    "micrometres": (everywhere(np.diag([2000.0, 2000, 2000, 1])), "truth", "spacing 2000, 2000, 2000 mm, expected"),
    "unknown group": (set_cell("group", "C"), None, "group 'C'; known: A, B"),
    "unknown split": (set_cell("split", "validation"), None, "split 'validation'; known"),
    "empty split": (set_cell("split", ""), None, "split is empty"),
    "empty path": (set_cell("label", ""), None, "label is ''"),
    "other format": (rename("t1", ".mha"), None, "convert it to .nii.gz"),
    "image as label": (lambda case: set_cell("label", case.row["image_t1"])(case), None, "are the same file"),
    "no name": (set_cell("case", ""), None, "case '', expected a name"),
    "name of another": (set_cell("case", "healthy"), None, "case healthy stands at"),
    "too few cells": (lambda case: case.row.pop("split"), None, "6 cells, expected 7"),
    "too many cells": (set_cell("split", "train,now"), None, "8 cells, expected 7"),
    "both sides": (
        lambda case: case.row.update(subject="other", group="B", split="test"),
        None,
        "subject other is in test and in",
    ),
    "image of another": (set_cell("image_t2", "other_t2.nii.gz"), "other_t2", "which are two subjects"),
}


def build(folder: Path, kinds: list[str]) -> tuple[TableSpec, list[tuple[str, str]]]:
    """A table with two healthy cases and one of each kind: its spec, and the file and words of every fault."""
    cases = [Case(folder, "healthy"), Case(folder, "other")]
    cases[1].row["group"] = "B"
    expected = []
    path = folder / "cases.csv"
    for number, kind in enumerate(kinds):
        break_it, part, message = KINDS[kind]
        case = Case(folder, f"k{number}")
        break_it(case)
        cases.append(case)
        where = f"{path}:{number + 4}" if part is None else str(case.path(part))
        expected.append((str(folder / "other_t2.nii.gz") if part == "other_t2" else where, message))
    path.write_text("\n".join([",".join(COLUMNS), *(case.line(COLUMNS) for case in cases)]))
    # A value that no class uses, so that the faults of labels show it among the known ones.
    spec = TableSpec(root=path, classes={"lesion": 1}, background=[2], groups=["A", "B"], **SMALL)
    return spec, expected


def test_there_are_many_kinds() -> None:
    assert len(KINDS) >= 20


@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_is_named_with_its_file(kind: str, tmp_path: Path) -> None:
    spec, ((where, message),) = build(tmp_path, [kind])
    (fault,) = inspect(spec).faults
    assert fault.where == where
    assert message in str(fault)
    assert fault.remedy


def test_all_faults_together_are_named_with_their_files(tmp_path: Path) -> None:
    spec, expected = build(tmp_path, list(KINDS))
    faults = all_faults(spec)
    assert len(faults) == len(expected)
    for where, message in expected:
        assert any(fault.where == where and message in str(fault) for fault in faults), (where, message)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (put((0, 0, 0), np.inf, "float32", "t1"), "1 voxels are not finite"),
        (rewrite("t1", np.full((16, 16, 16), 7, np.int16)), "all voxels have the same value"),
        (put((0, 0, 0), 1e300, "float64", "t1"), "too large"),
        (put((0, 0, 0), 1e30, "float64", "t1"), "too large"),
    ],
)
def test_what_only_the_images_voxels_show_is_told_when_they_are_read(
    break_it: Callable[[Case], None], message: str, tmp_path: Path
) -> None:
    spec, _ = build(tmp_path, [])
    break_it(Case(tmp_path, "healthy"))
    with pytest.raises(InputError) as error:
        spec.load_case(spec.list_cases()[0])
    assert f"{tmp_path / 'healthy_t1.nii.gz'}: " in str(error.value)
    assert message in str(error.value)


# In a challenge's folders: what breaks one, the file that must be named, and what must be said.
FOLDERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing modality": (lambda root: (root / of("HGG1", "t1ce")).unlink(), "HGG1/t1ce", "data.modalities names t1ce"),
    "missing label": (lambda root: (root / of("LGG1", "seg")).unlink(), "LGG1/seg", "missing; it is the label"),
    "packed and not": (
        lambda root: write_volume((root / of("HGG2", "t1")).with_suffix(""), brain()),
        "HGG2/t1",
        "stands beside",
    ),
    "another's file": (
        lambda root: write_volume(root / folder("HGG1") / "Brats18_LGG1_1_seg.nii.gz", label(1)),
        "HGG1/Brats18_LGG1_1_seg.nii.gz",
        "lies in another subject's folder; move it to Brats18_LGG1_1",
    ),
    "in both grades": (
        lambda root: (root / "LGG" / "Brats18_HGG2_1").mkdir(),
        "LGG/Brats18_HGG2_1",
        "the same subject as",
    ),
    "empty folder": (lambda root: (root / "HGG" / "Brats18_HGG3_1").mkdir(), "HGG/Brats18_HGG3_1", "no files named"),
    "unknown label": (lambda root: write_volume(root / of("LGG2", "seg"), label(9)), "LGG2/seg", "label values 9"),
    "truncated": (
        lambda root: (root / of("LGG2", "flair")).write_bytes((root / of("LGG2", "flair")).read_bytes()[:99]),
        "LGG2/flair",
        "unreadable NIfTI",
    ),
}


def folder(subject: str) -> str:
    return f"{subject[:3]}/Brats18_{subject}_1"


def of(subject: str, part: str) -> str:
    return f"{folder(subject)}/Brats18_{subject}_1_{part}.nii.gz"


def place(root: Path, named: str) -> str:
    """``HGG1/t1ce`` as the path of that volume; any other path below the root as it is."""
    subject, _, part = named.partition("/")
    if len(subject) == 3:
        return str(root / named)
    return str(root / (f"{folder(subject)}/{part}" if "." in part else of(subject, part)))


@pytest.mark.parametrize("kind", FOLDERS)
def test_one_fault_in_folders_is_named_with_its_file(kind: str, brats: Path) -> None:
    break_it, named, message = FOLDERS[kind]
    break_it(brats)
    (fault,) = inspect(BratsSpec(root=brats, **SMALL)).faults
    assert (fault.where, message in str(fault)) == (place(brats, named), True)


def test_all_faults_in_folders_together_are_named_with_their_files(brats: Path) -> None:
    kinds = {kind: fault for kind, fault in FOLDERS.items() if kind != "unknown label"}
    for break_it, _, _ in kinds.values():
        break_it(brats)
    faults = all_faults(BratsSpec(root=brats, **SMALL))
    assert sorted(fault.where for fault in faults) == sorted(place(brats, named) for _, named, _ in kinds.values())


def test_all_faults_of_a_described_dataset_are_told_at_once(tmp_path: Path) -> None:
    write_volume(tmp_path / "imagesTr/a.nii.gz", np.stack([brain(), brain()], axis=-1))
    write_volume(tmp_path / "labelsTr/a.nii.gz", label(1))
    write_volume(tmp_path / "imagesTr/b.nii.gz", brain())
    path = write_description(
        tmp_path,
        modality={"0": "MRI"},
        labels={"0": "background", "1": "lesion", "2": "ignore", "x": "y"},
        training=[
            {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"},
            {"image": "imagesTr/b.nii.gz", "label": "labelsTr/b.nii.gz"},
            {"image": "../c.nii.gz", "label": "labelsTr/a.mha"},
            {"image": 3},
        ],
    )
    faults = all_faults(DecathlonSpec(root=tmp_path, classes={"tumor": 1}, **SMALL))
    assert [(fault.where, fault.fault) for fault in faults] == [
        (str(path), "label 'ignore' marks voxels that nobody annotated, which would count as background"),
        (str(path), "label 'x' is 'y', expected a name and whole numbers"),
        (str(path), "training[2] names ../c.nii.gz, which leaves the dataset's folder"),
        (str(path), "training[2] names labelsTr/a.mha"),
        (str(path), "training[3] names 3, expected the path of a file"),
        (str(path), "training[3] names missing, expected the path of a file"),
        (str(path), "no label 'tumor', known: background, lesion"),
        (str(tmp_path / "labelsTr/b.nii.gz"), "missing; dataset.json asks for it"),
        (str(tmp_path / "imagesTr/a.nii.gz"), "2 channels, expected 1 as dataset.json names"),
    ]
