import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from tests.trainers.data.conftest import all_faults, frame_path, write_nifti
from trainers.data.inspection import inspect
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.acdc import AcdcSpec
from trainers.errors import InputError

SMALL = {"spacing": (5, 5, 10), "patch": (32, 32, 8)}


def label_of(root: Path) -> Path:
    return frame_path(root, 2, "ES", "_gt")


def image_of(root: Path) -> Path:
    return frame_path(root, 2, "ES")


def stranger_of(root: Path) -> Path:
    return config_of(root).with_name("patient001_frame01.nii.gz")


def config_of(root: Path) -> Path:
    return root / "training" / "patient002" / "Info.cfg"


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    image = nib.load(path)
    write_nifti(path, change(np.asanyarray(image.dataobj)), affine=image.affine if affine is None else affine)


def put(path: Path, place: tuple[int, int, int], value: float, dtype: str) -> None:
    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(dtype)
        voxels[place] = value
        return voxels

    rewrite(path, change)


def substitute(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


SHIFTED = np.array([[5.0, 0, 0, 7], [0, 5, 0, 0], [0, 0, 10, 0], [0, 0, 0, 1]])

# What breaks the tree, the file that the message must name, and what it must say.
FAULTS = {
    "no Info.cfg": (lambda root: config_of(root).unlink(), config_of, "missing or unreadable"),
    "no ES in Info.cfg": (lambda root: substitute(config_of(root), "ES: 9\n", ""), config_of, "ES is ''"),
    "ES no number": (lambda root: substitute(config_of(root), "ES: 9", "ES: late"), config_of, "ES is 'late'"),
    "unknown diagnosis": (lambda root: substitute(config_of(root), "HCM", "XYZ"), config_of, "known: DCM, HCM"),
    "no image": (lambda root: image_of(root).unlink(), image_of, "missing; Info.cfg names it as ES"),
    "no label": (lambda root: label_of(root).unlink(), label_of, "missing; Info.cfg names it as ES"),
    "label of another shape": (
        lambda root: rewrite(label_of(root), lambda v: v[:, :, 1:]),
        label_of,
        "label of shape 32×32×7, expected its image's 32×32×8",
    ),
    "label elsewhere": (
        lambda root: rewrite(label_of(root), lambda v: v, SHIFTED),
        label_of,
        "affine differs",
    ),
    "unexpected label": (
        lambda root: put(label_of(root), (0, 0, 0), 4, "uint8"),
        label_of,
        "label values 4; known: 0, 1, 2, 3",
    ),
    "fractional label": (
        lambda root: put(label_of(root), (0, 0, 0), 1.5, "float32"),
        label_of,
        "label values 1.5",
    ),
    "label not finite": (
        lambda root: put(label_of(root), (0, 0, 0), np.nan, "float32"),
        label_of,
        "1 voxels are not finite",
    ),
    "packed and not": (
        lambda root: nib.save(nib.load(image_of(root)), image_of(root).with_suffix("")),
        image_of,
        "stands beside patient002_frame09.nii",
    ),
    "another patient's file": (
        lambda root: shutil.copyfile(frame_path(root, 1, "ED"), stranger_of(root)),
        stranger_of,
        "lies in another patient's folder; move it to patient001",
    ),
    "truncated image": (lambda root: cut(image_of(root), 0.7), image_of, "unreadable NIfTI"),
    "truncated header": (lambda root: cut(image_of(root), 0.002), image_of, "unreadable NIfTI"),
    "truncated label": (lambda root: cut(label_of(root), 0.6), label_of, "unreadable NIfTI"),
    "empty file": (lambda root: image_of(root).write_bytes(b""), image_of, "unreadable NIfTI"),
    "no NIfTI": (lambda root: image_of(root).write_bytes(b"not a volume" * 99), image_of, "unreadable NIfTI"),
    "four dimensions": (
        lambda root: rewrite(image_of(root), lambda v: v[..., None].repeat(2, axis=3)),
        image_of,
        "volume of shape 32×32×8×2, expected three dimensions",
    ),
}
# Seen in the image's voxels only, which a check of the headers leaves alone.
VOXEL_FAULTS = {
    "image not finite": (
        lambda root: put(image_of(root), (0, 0, 0), np.inf, "float32"),
        image_of,
        "1 voxels are not finite",
    ),
    "flat image": (
        lambda root: rewrite(image_of(root), lambda v: np.full_like(v, 7)),
        image_of,
        "all voxels have the same value",
    ),
}
# Of no harm to the preparation: an empty map may be right, and a study says so.
MEANT_FAULTS = {
    "empty class": (
        lambda root: rewrite(label_of(root), lambda v: np.where(v == 2, 0, v)),
        label_of,
        "no voxel of MYO; label it, or list the class in data.may_be_empty",
    ),
}


def test_cases_come_from_the_folders_and_info(tree: Path) -> None:
    spec = AcdcSpec(root=tree, **SMALL)
    cases = spec.list_cases()
    assert [info.case for info in cases[:3]] == ["patient001-ED", "patient001-ES", "patient002-ED"]
    assert [info.group for info in cases] == ["ED", "ES"] * 3
    assert [info.subject for info in cases[:3]] == ["patient001", "patient001", "patient002"]
    assert {info.split for info in cases} == {""}
    assert AcdcSpec(root=tree / "training", **SMALL).list_cases() == cases
    assert [info.group for info in AcdcSpec(root=tree, group="diagnosis").list_cases()] == [
        name for name in ("DCM", "HCM", "MINF") for _ in range(2)
    ]
    assert len(AcdcSpec(root=tree, patients=2).list_cases()) == 4


def test_a_healthy_tree_has_no_faults(tree: Path) -> None:
    found = inspect(AcdcSpec(root=tree, **SMALL))
    assert (found.faults, found.notices) == ([], [])


def test_on_its_own_grid_a_label_is_copied_and_the_image_z_scored(tree: Path) -> None:
    spec = AcdcSpec(root=tree, **SMALL)
    info = spec.list_cases()[1]
    arrays = spec.load_case(info)
    label = np.asanyarray(nib.load(frame_path(tree, 1, "ES", "_gt")).dataobj)
    for index, value in enumerate((1, 2, 3)):
        assert np.array_equal(arrays.label[index], label == value)
    assert arrays.voxel_ml == pytest.approx(0.25)
    assert arrays.image.shape == (1, 32, 32, 8)
    assert arrays.image.mean() == pytest.approx(0, abs=1e-4)
    assert arrays.image.std() == pytest.approx(1, abs=1e-3)
    # A hundredth of the voxels at each end share the clipped value.
    assert (arrays.image == arrays.image.max()).mean() == pytest.approx(0.01, abs=0.005)


def test_unpacked_volumes_are_read_too(tree: Path) -> None:
    path = image_of(tree)
    expected = AcdcSpec(root=tree, **SMALL).load_case(AcdcSpec(root=tree).list_cases()[3])
    nib.save(nib.load(path), path.with_suffix(""))
    path.unlink()
    spec = AcdcSpec(root=tree, **SMALL)
    assert inspect(spec).faults == []
    assert np.array_equal(spec.load_case(spec.list_cases()[3]).image, expected.image)


def test_padding_is_zero_and_background(tree: Path) -> None:
    spec = AcdcSpec(root=tree, spacing=(5, 5, 10), patch=(32, 32, 12))
    arrays = spec.load_case(spec.list_cases()[0])
    assert (arrays.image[..., [0, 1, 10, 11]] == 0).all()
    assert not arrays.label[..., [0, 1, 10, 11]].any()
    assert arrays.image[..., 2:10].std() == pytest.approx(1, abs=1e-3)


def test_a_small_patch_at_the_label_keeps_the_heart_where_one_at_the_middle_loses_some(tree: Path) -> None:
    # 20 voxels of 5 mm: 100 mm, the size of a heart.
    kept = {}
    for crop in ("center", "label"):
        spec = AcdcSpec(root=tree, spacing=(5, 5, 10), patch=(20, 20, 8), crop=crop)
        kept[crop] = sum(spec.load_case(info).label.sum() for info in spec.list_cases())
    whole = AcdcSpec(root=tree, **SMALL)
    total = sum(whole.load_case(info).label.sum() for info in whole.list_cases())
    assert 0.97 * total < kept["label"] <= total
    assert kept["center"] <= kept["label"]


@pytest.mark.parametrize("name", FAULTS | MEANT_FAULTS)
def test_a_fault_is_found_by_the_check_and_named_by_its_file(name: str, tree: Path) -> None:
    break_it, where, message = (FAULTS | MEANT_FAULTS)[name]
    break_it(tree)
    faults = inspect(AcdcSpec(root=tree, **SMALL)).faults
    assert [fault.where for fault in faults] == [str(where(tree))]
    assert message in str(faults[0])


@pytest.mark.parametrize("name", FAULTS | VOXEL_FAULTS)
def test_a_fault_stops_the_preparation_with_its_file_and_leaves_no_case(name: str, tree: Path, tmp_path: Path) -> None:
    break_it, where, message = (FAULTS | VOXEL_FAULTS)[name]
    break_it(tree)
    with pytest.raises(InputError) as error:
        prepare(AcdcSpec(root=tree, **SMALL), tmp_path / "storage")
    assert str(where(tree)) in str(error.value)
    assert message in str(error.value)
    assert [path for path in tmp_path.glob("storage/prepared/*/*") if path.name != "lock"] == []


def test_a_class_may_be_declared_to_be_missing_in_some(tree: Path) -> None:
    rewrite(label_of(tree), lambda v: np.where(v == 2, 0, v))
    found = inspect(AcdcSpec(root=tree, may_be_empty=("MYO",), **SMALL))
    assert found.faults == []
    assert [findings.ml[1] == 0 for findings in found.findings] == [False, False, False, True, False, False]


def test_all_faults_of_the_layout_are_told_at_once(tree: Path) -> None:
    frame_path(tree, 1, "ED").unlink()
    frame_path(tree, 1, "ES", "_gt").unlink()
    config_of(tree).unlink()
    substitute(tree / "training" / "patient003" / "Info.cfg", "MINF", "")
    with pytest.raises(InputError) as error:
        AcdcSpec(root=tree).list_cases()
    assert [Path(fault.where).name for fault in error.value.faults] == [
        "patient001_frame01.nii.gz",
        "patient001_frame09_gt.nii.gz",
        "Info.cfg",
        "Info.cfg",
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"root": "absent"}, "absent: no such folder"),
        ({"root": "."}, "no patients; expected training/patient001"),
        ({"root": "acdc", "patients": 4}, "3 patients, expected 4"),
    ],
)
def test_a_wrong_root_is_told(fields: dict, message: str, tree: Path) -> None:
    spec = AcdcSpec(**{**fields, "root": tree.parent / fields["root"]})
    assert message in str(spec.survey().faults[0])
    with pytest.raises(InputError, match=message.split(";")[0]):
        spec.key()


@pytest.mark.parametrize(
    "fields",
    [
        {"spacing": (1, 1, 0)},
        {"patch": (3, 64, 64)},
        {"patch": (64, 64)},
        {"may_be_empty": ["tumor"]},
        {"crop": "heart"},
        {"group": "age"},
        {"patients": 0},
    ],
)
def test_wrong_fields_are_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        AcdcSpec(root=Path(), **fields)


def test_the_key_follows_the_content_and_not_the_place(tree: Path, tmp_path: Path) -> None:
    spec = AcdcSpec(root=tree)
    before = spec.key()
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    assert AcdcSpec(root=copy).key() == before
    put(label_of(copy), (0, 0, 0), 1, "uint8")
    assert AcdcSpec(root=copy).key() != before
    assert spec.key() == before
    assert AcdcSpec(root=tree, crop="label").key() != before
    # Patients that are not used do not count.
    assert AcdcSpec(root=copy, patients=1).key() == AcdcSpec(root=tree, patients=1).key()


@pytest.mark.data
def test_the_real_sixty_patients_are_there_and_whole(real: Path) -> None:
    spec = AcdcSpec(root=real)
    cases = spec.list_cases()
    assert len(cases) == 120
    assert len({info.subject for info in cases}) == 60
    diagnoses = [info.group for info in AcdcSpec(root=real, group="diagnosis").list_cases()]
    assert {name: diagnoses.count(name) for name in set(diagnoses)} == dict.fromkeys(spec_diagnoses(spec), 24)
    found = inspect(AcdcSpec(root=real, labels="nearest", patch=(8, 8, 4)))
    assert (found.faults, len(found.findings)) == ([], 120)


def spec_diagnoses(spec: AcdcSpec) -> tuple[str, ...]:
    return AcdcSpec(root=spec.root, group="diagnosis").groups


@pytest.mark.data
@pytest.mark.parametrize(
    ("spacing", "patch", "crop"),
    [((2.5, 2.5, 5), (64, 64, 24), "label"), ((1.5625, 1.5625, 2.5), (192, 192, 48), "center")],
)
def test_volumes_agree_with_counting_by_hand(
    spacing: tuple[float, float, float],
    patch: tuple[int, int, int],
    crop: str,
    real: Path,
    tmp_path: Path,
) -> None:
    spec = AcdcSpec(root=real, spacing=spacing, patch=patch, crop=crop, patients=3)
    data = open_prepared(prepare(spec, tmp_path))
    for index, info in enumerate(data.cases):
        folder = real / "training" / info.subject
        config = dict(line.split(": ") for line in (folder / "Info.cfg").read_text().splitlines())
        image = nib.load(folder / f"{info.subject}_frame{int(config[info.group]):02d}_gt.nii.gz")
        voxels = np.asanyarray(image.dataobj)
        counted = np.array([(voxels == value).sum() for value in (1, 2, 3)]) * np.prod(image.header.get_zooms()) / 1000
        prepared = data.labels[index].sum(axis=(1, 2, 3)) * data.voxel_ml[index]
        assert prepared == pytest.approx(counted, rel=0.04)


@pytest.mark.data
def test_real_copies_broken_all_together_are_each_named(real: Path, tmp_path: Path) -> None:
    for patient in ("patient001", "patient002", "patient003"):
        target = tmp_path / "training" / patient
        target.mkdir(parents=True)
        for path in (real / "training" / patient).iterdir():
            # Not copytree: the originals are write-protected, and copies of them would be too.
            shutil.copyfile(path, target / path.name)
    gone, clipped, swapped = (
        sorted((tmp_path / "training" / f"patient{n:03d}").glob("*_gt.nii.gz")) for n in (1, 2, 3)
    )
    gone[0].unlink()
    cut(clipped[1], 0.5)
    cut(clipped[0].with_name(clipped[0].name.replace("_gt", "")), 0.9)
    shutil.copyfile(clipped[0], swapped[0])
    faults = all_faults(AcdcSpec(root=tmp_path))
    assert sorted(Path(fault.where).name for fault in faults) == [
        gone[0].name,
        clipped[0].name.replace("_gt", ""),
        clipped[1].name,
        swapped[0].name,
    ]
