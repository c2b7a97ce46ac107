import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from tests.trainers.data.conftest import brain, label, write_description, write_pixels, write_volume
from trainers.data.inspection import inspect
from trainers.data.sources.decathlon import DecathlonSpec
from trainers.errors import InputError

CLASSES = {"left": 1, "right": 2}
SMALL = {"classes": CLASSES, "patch": (16, 16, 16), "intensity": "none"}


def levels(spec: DecathlonSpec) -> list[float]:
    """The level of every channel of the first case."""
    image = spec.load_case(spec.list_cases()[0]).image
    return [float(channel.flat[0]) for channel in image]


def change(root: Path, **fields) -> None:
    path = root / "dataset.json"
    body = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({name: value for name, value in body.items() if value is not None}))


def faults_of(spec: DecathlonSpec) -> list[str]:
    return [str(fault) for fault in spec.survey().faults]


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    """Two cases of two channels in the raw folders of nnU-Net's second version."""
    root = tmp_path / "Dataset099_Brain"
    for case in ("a", "b"):
        write_volume(root / f"imagesTr/{case}_0000.nii.gz", brain(10))
        write_volume(root / f"imagesTr/{case}_0001.nii.gz", brain(20))
        write_volume(root / f"labelsTr/{case}.nii.gz", label(1, 2))
    labels = {"background": 0, "left": 1, "right": 2}
    write_description(root, channel_names={"0": "T1", "1": "T2"}, labels=labels, numTraining=2, file_ending=".nii.gz")
    return root


def test_the_decathlons_list_gives_the_cases(decathlon: Path) -> None:
    spec = DecathlonSpec(root=decathlon, **SMALL)
    cases = spec.list_cases()
    assert [(info.case, info.subject, info.group) for info in cases] == [
        (name, name, "all") for name in ("brain_001", "brain_002", "brain_003")
    ]
    assert (spec.groups, spec.classes, spec.head) == (("all",), ("left", "right"), "softmax")
    assert levels(spec) == [10]
    found = inspect(spec)
    assert found.faults == []
    # The trees of these tests hold the same voxels in every case.
    assert [notice.split(", so that")[0] for notice in found.notices] == [
        f"the same {kind} under two subjects" for kind in ("image", "label")
    ]
    expected = label(1, 2)
    arrays = spec.load_case(cases[2])
    assert np.array_equal(arrays.label, [expected == 1, expected == 2])
    assert found.findings[2].ml == tuple((expected == value).sum() * 0.008 for value in (1, 2))
    assert len(DecathlonSpec(root=decathlon, subjects=2, **SMALL).list_cases()) == 2


def test_channels_may_lie_along_a_fourth_axis(decathlon: Path) -> None:
    for path in (decathlon / "imagesTr").iterdir():
        write_volume(path, np.stack([brain(10), brain(20)], axis=-1))
    change(decathlon, modality={"0": "T1", "1": "T2"})
    spec = DecathlonSpec(root=decathlon, **SMALL)
    assert levels(spec) == [10, 20]
    assert inspect(spec).faults == []
    change(decathlon, modality={"0": "T1", "1": "T2", "2": "FLAIR"})
    faults = inspect(spec).faults
    assert len(faults) == 3
    assert "2 channels, expected 3 as dataset.json names" in str(faults[0])
    assert faults[0].where == str(decathlon / "imagesTr" / "brain_001.nii.gz")


def test_folders_of_nnunet_give_the_cases_and_channels(nnunet: Path) -> None:
    spec = DecathlonSpec(root=nnunet, **SMALL)
    assert [info.case for info in spec.list_cases()] == ["a", "b"]
    assert levels(spec) == [10, 20]
    assert inspect(spec).faults == []


def test_nnunets_own_list_names_the_files(nnunet: Path) -> None:
    (nnunet / "elsewhere").mkdir()
    (nnunet / "imagesTr/a_0001.nii.gz").rename(nnunet / "elsewhere/t2.nii.gz")
    files = {"images": ["imagesTr/a_0000.nii.gz", "elsewhere/t2.nii.gz"], "label": "labelsTr/a.nii.gz"}
    change(nnunet, dataset={"first": files}, numTraining=1)
    spec = DecathlonSpec(root=nnunet, **SMALL)
    assert [info.case for info in spec.list_cases()] == ["first"]
    assert levels(spec) == [10, 20]
    assert inspect(spec).faults == []


def test_nnunets_first_version_numbers_the_files_it_lists(decathlon: Path) -> None:
    for path in list((decathlon / "imagesTr").iterdir()):
        stem = path.name.removesuffix(".nii.gz")
        write_volume(path.with_name(f"{stem}_0000.nii.gz"), brain(10))
        write_volume(path.with_name(f"{stem}_0001.nii.gz"), brain(20))
        path.unlink()
    change(decathlon, modality={"0": "T1", "1": "T2"})
    spec = DecathlonSpec(root=decathlon, **SMALL)
    assert [info.case for info in spec.list_cases()] == ["brain_001", "brain_002", "brain_003"]
    assert levels(spec) == [10, 20]
    assert inspect(spec).faults == []
    gone = decathlon / "imagesTr" / "brain_002_0001.nii.gz"
    gone.unlink()
    assert faults_of(spec) == [f"{gone}: missing; dataset.json asks for it; fetch it again"]


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("colours", [True, False])
def test_nnunets_pictures_are_read_in_colours_or_one_a_channel(ending: str, colours: bool, tmp_path: Path) -> None:
    for case in ("a", "b"):
        pixels = np.stack([brain(10 * (n + 1))[..., 3].astype(np.uint8) for n in range(3)], axis=-1)
        if colours:
            write_pixels(tmp_path / f"imagesTr/{case}_0000{ending}", pixels)
        else:
            for number in range(3):
                write_pixels(tmp_path / f"imagesTr/{case}_{number:04d}{ending}", pixels[..., number])
        write_pixels(tmp_path / f"labelsTr/{case}{ending}", label(1, 2)[..., 6])
    write_description(
        tmp_path, channel_names={"0": "R", "1": "G", "2": "B"}, labels={"background": 0, "left": 1, "right": 2},
        numTraining=2, file_ending=ending,
    )  # fmt: skip
    spec = DecathlonSpec(root=tmp_path, classes={"right": 2}, patch=(16, 16), intensity="none")
    assert levels(spec) == [10, 20, 30]
    assert spec.load_case(spec.list_cases()[0]).label.shape == (1, 16, 16)
    assert inspect(spec).faults == []


@pytest.mark.parametrize("ending", [".nrrd", ".npy", ".bmp", None, 7, ""])
def test_other_endings_are_refused_by_name(ending: object, nnunet: Path) -> None:
    change(nnunet, file_ending=ending)
    (message,) = faults_of(DecathlonSpec(root=nnunet, **SMALL))
    assert f"file_ending is {ending!r}" in message or "missing" in message
    assert ".nii.gz, .nii, .png, .tif, .tiff" in message


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "1": "left", "2": "right"},
        {"background": 0, "left": 1, "right": 2},
        {"background": 0, "left": [1], "right": [2], "both": [1, 2]},
    ],
)
def test_labels_are_understood_in_every_form(labels: dict, decathlon: Path) -> None:
    change(decathlon, labels=labels)
    assert inspect(DecathlonSpec(root=decathlon, **SMALL)).faults == []
    # What no class takes in is background.
    left = DecathlonSpec(root=decathlon, **{**SMALL, "classes": {"left": 1}})
    assert inspect(left).faults == []
    assert (left.head, left.background) == ("sigmoid", (2,))


def test_regions_may_overlap(decathlon: Path) -> None:
    change(decathlon, labels={"background": 0, "whole": [1, 2], "core": 2})
    classes = {"whole": [1, 2], "core": 2}
    with pytest.raises(ValidationError, match="label values 2 belong to several classes; give each to one, or set"):
        DecathlonSpec(root=decathlon, classes=classes, patch=(16, 16, 16))
    spec = DecathlonSpec(root=decathlon, classes=classes, overlapping=True, patch=(16, 16, 16))
    assert spec.head == "sigmoid"
    expected = label(1, 2)
    assert np.array_equal(spec.load_case(spec.list_cases()[0]).label, [expected > 0, expected == 2])


def test_classes_are_held_against_the_datasets_labels(decathlon: Path) -> None:
    path = decathlon / "dataset.json"
    spec = DecathlonSpec(root=decathlon, classes={"Left": 1, "right": [2, 3]}, patch=(16, 16, 16))
    assert faults_of(spec) == [
        f"{path}: no label 'Left', known: background, left, right; name classes in data.classes as it does",
        f"{path}: label 'right' has the values 2, and 2, 3 in data.classes; correct data.classes",
    ]
    change(decathlon, labels={"background": 0, "left": 1, "right": 2, "ignore": 3})
    assert "label 'ignore' marks voxels that nobody annotated" in faults_of(DecathlonSpec(root=decathlon, **SMALL))[0]


def test_a_table_says_groups_and_subjects(decathlon: Path, tmp_path: Path) -> None:
    path = decathlon / "groups.csv"
    path.write_text("case,group,subject,age\nbrain_003,B,s2,3\nbrain_001,A,s1,4\nbrain_002,A,s1,5\nbrain_9,A,,\n")
    spec = DecathlonSpec(root=decathlon, cases="groups.csv", groups=["A", "B"], **SMALL)
    assert [(info.case, info.subject, info.group) for info in spec.list_cases()] == [
        ("brain_001", "s1", "A"),
        ("brain_002", "s1", "A"),
        ("brain_003", "s2", "B"),
    ]
    assert (spec.survey().faults, spec.survey().notices) == (
        [],
        [
            f"{path}: columns that are not used: age",
            f"{path}: rows that name no case of the dataset and are not used: 1",
        ],
    )
    path.write_text("case,group\nbrain_001,A\nbrain_001,B\nbrain_002,C\n")
    assert faults_of(spec) == [
        f"{path}:3: case brain_001 is given twice; keep one",
        f"{path}:4: group 'C'; known: A, B",
        f"{path}: no row of case brain_003; add one with its group",
    ]
    path.write_text("case,group,subject\nbrain_001,A,s\nbrain_002,B,s\nbrain_003,B,\n")
    assert "in groups A, B; put all its cases into one group" in str(inspect(spec).faults[0])
    paired = DecathlonSpec(root=decathlon, cases=path, groups=["A", "B"], subjects_span_groups=True, **SMALL)
    assert paired.paired
    assert inspect(paired).faults == []


def test_groups_need_a_table() -> None:
    with pytest.raises(ValidationError, match=r"groups A, B need data\.cases"):
        DecathlonSpec(root=Path(), groups=["A", "B"], **SMALL)
    assert DecathlonSpec(root=Path(), groups=["brains"], **SMALL).groups == ("brains",)


def test_what_is_listed_and_missing_is_a_fault_and_the_rest_is_counted(decathlon: Path) -> None:
    gone = [decathlon / "imagesTr/brain_001.nii.gz", decathlon / "labelsTr/brain_003.nii.gz"]
    for path in gone:
        path.unlink()
    write_volume(decathlon / "imagesTr/brain_004.nii.gz", brain())
    (decathlon / "imagesTr/._brain_001.nii.gz").write_bytes(b"left by macOS")
    survey = DecathlonSpec(root=decathlon, **SMALL).survey()
    faults, notices = survey.faults, survey.notices
    assert [fault.where for fault in faults] == [str(path) for path in gone]
    assert notices == [f"1 file is not used, such as {decathlon / 'imagesTr/brain_004.nii.gz'}"]


def test_an_image_of_nnunet_without_a_label_is_counted_and_a_wrong_count_is_a_fault(nnunet: Path) -> None:
    write_volume(nnunet / "imagesTr/c_0000.nii.gz", brain())
    spec = DecathlonSpec(root=nnunet, **SMALL)
    assert (spec.survey().faults, spec.survey().notices) == (
        [],
        [f"1 file is not used, such as {nnunet / 'imagesTr/c_0000.nii.gz'}"],
    )
    change(nnunet, numTraining=3)
    assert "numTraining is 3, and labelsTr holds 2 files *.nii.gz" in faults_of(spec)[0]


def test_a_volume_unpacked_since_is_found(decathlon: Path) -> None:
    path = decathlon / "imagesTr/brain_002.nii.gz"
    write_volume(path.with_suffix(""), brain(30))
    path.unlink()
    spec = DecathlonSpec(root=decathlon, **SMALL)
    assert spec.list_cases()[1].images == (path.with_suffix(""),)
    assert inspect(spec).faults == []


@pytest.mark.parametrize("place", ["/etc/x.nii.gz", "../x.nii.gz", "imagesTr/../../x.nii.gz"])
def test_paths_that_leave_the_folder_are_refused(place: str, decathlon: Path) -> None:
    change(decathlon, training=[{"image": place, "label": "labelsTr/brain_001.nii.gz"}])
    (message,) = faults_of(DecathlonSpec(root=decathlon, **SMALL))
    assert f"training[0] names {place}, which leaves the dataset's folder" in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": []}, "labels is [], expected the label values' names"),
        ({"labels": {"left": "one"}}, "label 'left' is 'one', expected a name and whole numbers"),
        ({"labels": {"left": [1, 2.5]}}, "label 'left' is [1, 2.5]"),
        ({"labels": {"left": True}}, "label 'left' is True"),
        ({"modality": {}}, "modality is {}, expected the names of the channels"),
        ({"modality": None}, "modality is missing"),
        ({"training": {}}, "training is {}, expected a list of images and labels"),
        ({"training": ["x.nii.gz"]}, "training[0] names missing, expected the path of a file"),
        ({"training": [{"image": "x.mha", "label": "y.nii.gz"}]}, "training[0] names x.mha; convert it to .nii.gz"),
        ({"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}] * 2}, "training lists a twice"),
        ({"training": [{"image": ".nii.gz", "label": "a\n.nii.gz"}]}, "training[0] names 'a\\n.nii.gz'"),
        ({"dataset": {"a/b": {}}, "file_ending": ".nii.gz", "channel_names": {"0": "T1"}}, "dataset['a/b']"),
        ({"dataset": [], "channel_names": {"0": "T1"}}, "dataset is [], expected cases with their files"),
    ],
)
def test_a_wrong_description_is_told(fields: dict, message: str, decathlon: Path) -> None:
    change(decathlon, **fields)
    if "modality" in fields and fields["modality"] is None:
        assert "modality" not in json.loads((decathlon / "dataset.json").read_text())
    assert any(message in text for text in faults_of(DecathlonSpec(root=decathlon, **SMALL)))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not readable as JSON"), (b"[1]", "holds [1], expected"), (b"\xff\xfe", "not readable"), (b"[" * 99999, "")],
)
def test_what_is_no_description_is_told(content: bytes, message: str, decathlon: Path) -> None:
    (decathlon / "dataset.json").write_bytes(content)
    (text,) = faults_of(DecathlonSpec(root=decathlon, **SMALL))
    assert message in text


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "expected each class with its label values"),
        ([1], "expected each class with its label values"),
        ({"a": []}, "class 'a' has the values \\[\\]"),
        ({"a": True}, "class 'a' has the values True"),
        ({"a": 1.0}, "class 'a' has the values 1.0"),
        ({"a.b": 1}, "class 'a.b', expected letters"),
        ({False: 1}, "class False, expected letters"),
        ({"a": 1, "b": [1, 2]}, "label values 1 belong to several classes"),
        ({f"c{n}": n + 1 for n in range(65)}, "65 classes, expected at most 64"),
    ],
)
def test_wrong_classes_are_refused(classes: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DecathlonSpec(root=Path(), classes=classes, patch=(16, 16, 16))


def test_a_spec_is_one_thing_however_it_is_written() -> None:
    written = DecathlonSpec(root="x", classes={"a": 1, "b": [3, 2, 3]}, patch=(16, 16, 16))
    again = DecathlonSpec(root=Path("x"), classes={"a": [1], "b": (2, 3)}, patch=[16, 16, 16])
    assert written == again
    assert hash(written) == hash(again)
    assert DecathlonSpec.model_validate_json(written.model_dump_json()) == written
    assert DecathlonSpec.model_validate(written.model_dump()) == written
    assert DecathlonSpec(root="x", classes={"b": [2, 3], "a": 1}, patch=(16, 16, 16)) != written


def test_list_cases_raises_all_faults_and_the_key_too(tmp_path: Path) -> None:
    spec = DecathlonSpec(root=tmp_path, **SMALL)
    for ask in (spec.list_cases, spec.key):
        with pytest.raises(InputError, match=r"dataset.json: cannot be read"):
            ask()


@pytest.mark.data
def test_the_real_hippocampi_are_there_and_agree_with_counting_by_hand(hippocampus: Path) -> None:
    spec = DecathlonSpec(root=hippocampus, classes={"Anterior": 1, "Posterior": 2}, patch=(48, 64, 48))
    cases = spec.list_cases()
    assert len(cases) == 260
    assert (spec.survey().faults, spec.survey().notices) == ([], [])
    for info in cases[::52]:
        voxels = np.asanyarray(nib.load(hippocampus / "labelsTr" / f"{info.case}.nii.gz").dataobj)
        found = spec.inspect_case(info)
        assert found.faults == ()
        # 1 mm voxels, so 1000 a millilitre; the patch holds the whole volume.
        assert found.ml == pytest.approx([(voxels == value).sum() / 1000 for value in (1, 2)])
        assert found.voxels == tuple((voxels == value).sum() for value in (1, 2))
