from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from tests.trainers.data.conftest import CHANNELS, brain, label, write_subject, write_volume
from trainers.data.inspection import inspect
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.brats import BratsSpec

SMALL = {"patch": (16, 16, 16), "intensity": "none"}


def order(spec: BratsSpec) -> list[float]:
    """The level of every channel of the first case."""
    image = spec.load_case(spec.list_cases()[0]).image
    return [float(channel[0, 0, 0]) for channel in image]


def flat(root: Path, subjects: list[str], **layout) -> Path:
    for name in subjects:
        write_subject(root / name, **layout)
    return root


def write_grades(path: Path, grades: dict[str, str], column: str = "BraTS_2020_subject_ID") -> Path:
    lines = [f"Grade,Other,{column}", *(f"{grade},x{n},{name}" for n, (name, grade) in enumerate(grades.items()))]
    path.write_text("\n".join(lines))
    return path


def test_folders_of_2018_say_the_grade(brats: Path) -> None:
    spec = BratsSpec(root=brats, **SMALL)
    cases = spec.list_cases()
    assert [(info.case, info.subject, info.group) for info in cases] == [
        (f"Brats18_{grade}{number}_1", f"Brats18_{grade}{number}_1", grade)
        for grade in ("HGG", "LGG")
        for number in (1, 2)
    ]
    assert (spec.groups, spec.classes, spec.head) == (("HGG", "LGG"), ("tumor",), "sigmoid")
    assert order(spec) == list(CHANNELS.values())
    assert order(BratsSpec(root=brats, modalities=("t2", "flair"), **SMALL)) == [40, 10]
    assert inspect(spec).faults == []
    # One level above, as the archive unpacks.
    assert BratsSpec(root=brats.parent, **SMALL).list_cases() == cases


def test_the_tumor_is_every_label_above_0_unless_declared_otherwise(brats: Path) -> None:
    whole = BratsSpec(root=brats, **SMALL)
    parts = BratsSpec(root=brats, classes={"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}, **SMALL)
    expected = label(1, 2, 4)
    assert np.array_equal(whole.load_case(whole.list_cases()[0]).label[0], expected > 0)
    maps = parts.load_case(parts.list_cases()[0]).label
    for one, values in zip(maps, ([1, 2, 4], [1, 4], [4]), strict=True):
        assert np.array_equal(one, np.isin(expected, values))
    assert (parts.head, parts.classes) == ("sigmoid", ("whole", "core", "enhancing"))
    # A label that no class takes in is known all the same.
    core = BratsSpec(root=brats, classes={"core": [1, 4]}, **SMALL)
    assert inspect(core).faults == []


def test_by_default_the_protocol_is_the_papers(brats: Path) -> None:
    spec = BratsSpec(root=brats)
    assert (spec.spacing, spec.patch, spec.crop) == ((2, 2, 2), (80, 80, 48), "label")
    assert (spec.intensity, spec.labels) == ("zscore_nonzero", "linear")
    assert spec.modalities == ("flair", "t1", "t1ce", "t2")


@pytest.mark.parametrize("place", ["working directory", "root", "holder", "absolute"])
def test_a_table_says_the_grades_of_2020(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = flat(tmp_path / "data" / "Training", ["BraTS20_Training_001", "BraTS20_Training_002"], ending=".nii")
    folder = {"working directory": tmp_path, "root": holder.parent}.get(place, holder)
    path = write_grades(folder / "names.csv", {"BraTS20_Training_001": "LGG", "BraTS20_Training_002": "HGG"})
    monkeypatch.chdir(tmp_path)
    spec = BratsSpec(root=tmp_path / "data", grades=path if place == "absolute" else "names.csv", **SMALL)
    assert [(info.case, info.group) for info in spec.list_cases()] == [
        ("BraTS20_Training_001", "LGG"),
        ("BraTS20_Training_002", "HGG"),
    ]
    assert order(spec) == list(CHANNELS.values())
    assert inspect(spec).faults == []
    moved = BratsSpec(root=holder, grades=path, **SMALL)
    assert moved.key() == spec.key()


def test_2023_has_other_names_and_several_visits_of_a_subject(tmp_path: Path) -> None:
    visits = ["BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"]
    root = flat(tmp_path / "gli", visits, names=("t2f", "t1n", "t1c", "t2w"), separator="-", values=(1, 2, 3))
    path = write_grades(tmp_path / "grades.csv", dict(zip(visits, ("HGG", "HGG", "LGG"), strict=True)), "id")
    spec = BratsSpec(root=root, grades=path, **SMALL)
    assert [info.subject for info in spec.list_cases()] == ["BraTS-GLI-00001"] * 2 + ["BraTS-GLI-00002"]
    assert order(spec) == list(CHANNELS.values())
    assert order(BratsSpec(root=root, grades=path, modalities=("t1n", "flair"), **SMALL)) == [20, 10]
    assert [info.case for info in BratsSpec(root=root, grades=path, subjects=1, **SMALL).list_cases()] == visits


def test_the_first_subjects_of_each_grade_can_be_asked_for(brats: Path) -> None:
    spec = BratsSpec(root=brats, subjects=1, **SMALL)
    assert [info.case for info in spec.list_cases()] == ["Brats18_HGG1_1", "Brats18_LGG1_1"]
    (brats / "HGG" / "Brats18_HGG2_1" / "Brats18_HGG2_1_seg.nii.gz").unlink()
    assert spec.survey().faults == []
    survey = BratsSpec(root=brats, subjects=3, **SMALL).survey()
    faults = survey.faults
    assert [str(fault).split(";")[0] for fault in faults[:2]] == [
        "group HGG: 2 subjects, expected 3",
        "group LGG: 2 subjects, expected 3",
    ]


def test_what_is_not_used_is_counted(brats: Path) -> None:
    (brats / "survival_data.csv").write_text("id,age\n")
    survey = BratsSpec(root=brats, modalities=("flair",), **SMALL).survey()
    notices = survey.notices
    assert [notice.split(" not used")[0] for notice in notices] == ["1 file is", "12 files are"]
    assert notices[1].endswith("Brats18_HGG1_1_t1.nii.gz")


def test_extra_rows_of_the_table_are_counted(tmp_path: Path) -> None:
    root = flat(tmp_path / "data", ["a_1", "b_1"])
    path = write_grades(root / "grades.csv", {"a_1": "HGG", "b_1": "lgg", "c_1": "HGG", "d_1": "NA"}, "name")
    spec = BratsSpec(root=root, grades=path, **SMALL)
    survey = spec.survey()
    faults, notices = survey.faults, survey.notices
    assert faults == []
    assert notices == [f"{path}: rows that name no subject's folder and are not used: 2"]


def test_the_table_of_grades_is_checked_whole(tmp_path: Path) -> None:
    root = flat(tmp_path / "data", ["a_1", "b_1", "c_1"])
    path = root / "grades.csv"
    path.write_text("ID;GRADE\na_1;HGG\na_1;LGG\nb_1;4\n")
    spec = BratsSpec(root=root, grades=path, **SMALL)
    assert [str(fault) for fault in spec.survey().faults] == [
        f"{path}:3: Grade of a_1 is LGG, and HGG above; keep one",
        f"{path}:4: Grade of b_1 is '4'; known: HGG, LGG",
        f"{path}: no grade of c_1; add a row, or remove its folder",
    ]
    path.write_text("ID,Grade\nx,HGG\n")
    assert "no column holds the subjects' names" in str(spec.survey().faults[0])
    path.write_text("ID,Stage\na_1,HGG\n")
    assert "no column grade, among: id, stage" in str(spec.survey().faults[0])


def test_grades_that_nothing_or_two_things_say_are_faults(brats: Path, tmp_path: Path) -> None:
    root = flat(tmp_path / "data", ["a_1"])
    assert "nothing says the grades; set data.grades to a CSV" in str(BratsSpec(root=root).survey().faults[0])
    mapping = write_grades(root / "name_mapping.csv", {"a_1": "HGG"})
    assert f"set data.grades to {mapping}" in str(BratsSpec(root=root).survey().faults[0])
    survey = BratsSpec(root=brats, grades=mapping).survey()
    faults = survey.faults
    assert "the folders HGG and LGG say the grades already; leave data.grades out" in str(faults[0])


def test_several_folders_of_subjects_are_not_guessed_between(tmp_path: Path) -> None:
    flat(tmp_path / "training", ["a_1"])
    flat(tmp_path / "more", ["b_1"])
    survey = BratsSpec(root=tmp_path).survey()
    faults = survey.faults
    assert [str(fault) for fault in faults] == [f"{tmp_path}: subjects in more, training; set data.root to one of them"]


def test_a_modality_under_two_names_is_a_fault(brats: Path) -> None:
    folder = brats / "HGG" / "Brats18_HGG1_1"
    write_volume(folder / f"{folder.name}_t1c.nii.gz", brain())
    survey = BratsSpec(root=brats, **SMALL).survey()
    faults = survey.faults
    assert [fault.where for fault in faults] == [str(folder)]
    assert "Brats18_HGG1_1_t1ce and Brats18_HGG1_1_t1c stand side by side" in str(faults[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": []}, "modalities are none"),
        ({"modalities": ["t1", "t1"]}, "modalities are t1, t1"),
        ({"modalities": ["../t1"]}, "modalities are ../t1"),
        ({"classes": {"tumor": 0}}, "class 'tumor' has the values 0"),
        ({"subjects": 0}, "greater than or equal to 1"),
        ({"grade": "x.csv"}, "Extra inputs"),
    ],
)
def test_wrong_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BratsSpec(root=Path(), **fields)


@pytest.mark.data
def test_real_subjects_agree_with_counting_by_hand(real_brats: Path, tmp_path: Path) -> None:
    names = [f"brats_2013_pat000{number}_1" for number in range(1, 7)]
    grades = write_grades(tmp_path / "grades.csv", {name: "HGG" if name < names[3] else "LGG" for name in names})
    spec = BratsSpec(root=real_brats, grades=grades, modalities=("flair", "t1ce"), patch=(96, 96, 80))
    found = inspect(spec)
    assert found.faults == []
    assert [info.group for info in found.cases] == ["HGG"] * 3 + ["LGG"] * 3
    data = open_prepared(prepare(spec, tmp_path))
    for index, (name, findings) in enumerate(zip(names, found.findings, strict=True)):
        voxels = np.asanyarray(nib.load(real_brats / name / f"{name}_seg.nii.gz").dataobj)
        assert findings.ml == (pytest.approx((voxels > 0).sum() * 0.008),)
        # On its own grid nothing is resampled, and the patch holds the whole tumour.
        assert data.labels[index].sum() == (voxels > 0).sum()
        assert data.images[index].shape == (2, 96, 96, 80)
        inside = data.images[index][:, data.images[index].any(axis=0)]
        assert inside.mean(axis=1) == pytest.approx([0, 0], abs=0.1)
