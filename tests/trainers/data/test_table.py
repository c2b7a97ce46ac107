import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.trainers.data.conftest import brain, label, write_pixels, write_volume
from trainers.data.inspection import inspect
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.brats import BratsSpec
from trainers.data.sources.csv_table import TableSpec
from trainers.data.sources.decathlon import DecathlonSpec
from trainers.errors import Fault, InputError

SMALL = {"classes": {"lesion": 1}, "groups": ["A", "B"], "patch": (16, 16, 16), "intensity": "none"}


def faults_of(spec: TableSpec) -> list[str]:
    return [str(fault) for fault in spec.survey().faults]


def write_lines(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n")


def test_rows_give_cases_and_columns_channels(table: Path) -> None:
    spec = TableSpec(root=table, **SMALL)
    cases = spec.list_cases()
    assert [(info.case, info.subject, info.group, info.split) for info in cases] == [
        ("c0", "sA", "A", ""),
        ("c1", "sA", "A", ""),
        ("c2", "sB", "B", ""),
        ("c3", "sB", "B", ""),
    ]
    arrays = spec.load_case(cases[0])
    assert arrays.image[:, 0, 0, 0].tolist() == [20, 40]
    assert np.array_equal(arrays.label[0], label(1))
    found = inspect(spec)
    assert found.faults == []
    # The trees of these tests hold the same voxels in every case.
    assert [notice.split(", so that")[0] for notice in found.notices] == [
        f"the same {kind} under two subjects" for kind in ("image", "label")
    ]
    assert (spec.head, spec.paired, spec.background) == ("sigmoid", False, ())


def test_values_that_belong_to_no_class_are_declared(table: Path) -> None:
    write_volume(table.parent / "truth/1.nii.gz", label(1, 7))
    (fault,) = inspect(TableSpec(root=table, **SMALL)).faults
    assert (fault.fault, fault.remedy) == ("label values 7", "known: 0, 1")
    assert inspect(TableSpec(root=table, background=[7], **SMALL)).faults == []


@pytest.mark.parametrize(
    ("separator", "line_end", "start"), [(",", "\r\n", "\ufeff"), (";", "\n", ""), ("\t", "\r\n", "\ufeff")]
)
def test_spreadsheets_ways_to_write_are_read(separator: str, line_end: str, start: str, table: Path) -> None:
    expected = TableSpec(root=table, **SMALL).list_cases()
    text = table.read_text().replace(",", separator).replace("c1", "c1 ")
    table.write_bytes((start + text.replace("\n", line_end).replace("case", "CASE") + line_end * 2).encode())
    assert TableSpec(root=table, **SMALL).list_cases() == expected


def test_paths_may_be_absolute_and_subjects_left_out(table: Path, tmp_path: Path) -> None:
    folder = table.parent
    other = tmp_path / "other.csv"
    write_lines(
        other,
        "label,image,group,split,case",
        f"{folder}/truth/0.nii.gz,{folder}/t1/0.nii.gz,A,train,a",
        "table/truth/1.nii,table/t1/1.nii.gz,B,Test,b",
    )
    first, second = TableSpec(root=other, **SMALL).list_cases()
    assert (first.subject, first.split, second.subject, second.split) == ("a", "train", "b", "test")
    # A volume that was packed since it was listed.
    assert second.label == folder / "truth/1.nii.gz"


def test_columns_that_nobody_reads_are_told(table: Path) -> None:
    lines = zip(table.read_text().split(), ("age", "1", "2", "3", "4"), strict=True)
    write_lines(table, *(f"{line},{extra}," for line, extra in lines))
    survey = TableSpec(root=table, **SMALL).survey()
    faults, notices = survey.faults, survey.notices
    assert faults == []
    assert notices == [f"{table}: columns that are not used: age, one without a name"]


@pytest.mark.parametrize("ending", [".png", ".tif", ".TIFF"])
def test_pictures_make_everything_two_dimensional(ending: str, tmp_path: Path) -> None:
    flat = label(1)[..., 3]
    lines = ["case,group,image,image grey,label"]
    for number in range(4):
        colours = np.stack([np.full((16, 16), level, np.uint8) + flat for level in (10, 20, 30)], axis=-1)
        write_pixels(tmp_path / f"{number}{ending}", colours)
        write_pixels(tmp_path / f"{number}g{ending}", np.full((16, 16), 40, np.uint8) + flat)
        write_pixels(tmp_path / f"{number}l{ending}", flat)
        lines.append(f"{number},{'AB'[number // 2]},{number}{ending},{number}g{ending},{number}l{ending}")
    write_lines(tmp_path / "cases.csv", *lines)
    spec = TableSpec(root=tmp_path / "cases.csv", **{**SMALL, "patch": (16, 16)})
    assert inspect(spec).faults == []
    data = open_prepared(prepare(spec, tmp_path / "storage"))
    assert data.images[0].shape == (4, 16, 16)
    assert data.images[0][:, 0, 0].tolist() == [10, 20, 30, 40]
    assert np.array_equal(data.labels[0], flat[np.newaxis])
    assert "2-D, and data.patch has 3" in str(inspect(TableSpec(root=tmp_path / "cases.csv", **SMALL)).faults[0])


def test_every_row_is_checked_and_all_faults_told(table: Path) -> None:
    rows = [
        "case,subject,group,image,label,split",
        "a,s,A,t1/0.nii.gz,truth/0.nii.gz,train",
        "a,s,A,t1/1.nii.gz,truth/1.nii.gz,train",
        "b,s,C,t1/1.nii.gz,truth/1.nii.gz,later",
        "c,s,A,,truth/9.nii.gz,train",
        "d,s,A,t1/1.nrrd,t1/1.nii.gz",
        "e,s,A,t1/1.nrrd,truth/1.nii.gz,test",
        "f,s,A,t1/1.nii.gz,t1/1.nii.gz,train",
        "x/y,s,A,t1/1.nii.gz,truth/1.nii.gz,train",
        "g,t,A,t1/0.nii.gz,truth/2.nii.gz,",
    ]
    write_lines(table, *rows)
    folder = table.parent
    assert faults_of(TableSpec(root=table, **SMALL)) == [
        f"{table}:6: 5 cells, expected 6 as in the header; "
        "give every column a cell, and quote cells that hold the separator",
        f"{table}:3: case a stands at {table}:2 too; name each case once",
        f"{table}:4: group 'C'; known: A, B",
        f"{table}:4: split 'later'; known: train, test, or empty in all rows",
        f"{table}:5: image is ''; give the path of a file",
        f"{folder}/truth/9.nii.gz: missing; {table}:5 names it as label; paths are relative to the table's folder",
        f"{table}:7: image names t1/1.nrrd; convert it to .nii.gz, .nii, .png, .tif, .tiff",
        f"{table}:8: label and image are the same file; correct one of the two",
        f"{table}:9: case 'x/y', expected a name without slashes; name it",
        f"{table}:10: split is empty, and given in other rows; write train or test",
        f"{table}:4: subject s is in later and in train; keep a subject's cases together",
        f"{table}:7: subject s is in test and in train; keep a subject's cases together",
        f"{folder}/t1/0.nii.gz: image of a and of g, which are two subjects; correct {table}",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a header with the columns case, group, label"),
        (b"\r\n ,\r\n", "is empty"),
        (b"case,group,image,image,label\n", "column image given twice; keep one"),
        (b"case,image\n", "no column group, label, among: case, image"),
        (b"case,group,label\na,A,x\n", "no column whose name starts with image, among: case, group, label"),
        (b"case,group,image,label\n", "has no rows"),
        ("case,group,image,label\n".encode("utf-16"), "is not UTF-8 text; save it as CSV in UTF-8"),
        (b"case,group,image,label\n\xff,A,x.nii,y.nii\n", "is not UTF-8 text"),
        (b'case,group,image,label\na,A,"x.nii,y.nii\n', "unreadable CSV (unexpected end of data)"),
        (b"case,group,image,label\na,A," + b"x" * 200_000 + b",y\n", "unreadable CSV (field larger than"),
        (b"case,group,image,label\na,A,\0.nii,y.nii\n", "image is '\\x00.nii'; give the path of a file"),
        (b"case,group,image,label\na,A," + b"x" * 5000 + b".nii,y.nii\n", "missing"),
    ],
)
def test_what_is_no_table_is_told(content: bytes, message: str, table: Path) -> None:
    table.write_bytes(content)
    texts = faults_of(TableSpec(root=table, **SMALL))
    assert any(message in text for text in texts)
    assert all(text.startswith(str(table.parent)) for text in texts)


def test_an_absent_table_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path, tmp_path / "a\0b"):
        assert "cannot be read" in faults_of(TableSpec(root=path, **SMALL))[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"groups": []}, "at least 1 item"),
        ({"groups": ["A", "A"]}, "group 'A' is given 2 times"),
        ({"classes": {"a": 1, "b": 1}}, "belong to several classes"),
        ({"patch": (16, 16), "spacing": (1, 1, 1)}, "spacing has 3 numbers and patch 2"),
        ({"may_be_empty": ["x"]}, "unknown class 'x' in may_be_empty"),
    ],
)
def test_wrong_fields_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TableSpec(root=Path(), **{**SMALL, **fields})


def test_the_key_follows_content_and_meaning_and_not_the_place(table: Path) -> None:
    key = TableSpec(root=table, **SMALL).key()
    other = table.rename(table.with_name("renamed.csv"))
    assert TableSpec(root=other, **SMALL).key() == key
    assert TableSpec(root=other, **{**SMALL, "groups": ["B", "A"]}).key() != key
    other.write_text(other.read_text().replace("c0,sA", "c0,sX"))
    assert TableSpec(root=other, **SMALL).key() != key


# What follows reads anything at all: no file may lead to anything but faults that name it.


@contextmanager
def folder_with(name: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def told(spec: TableSpec | DecathlonSpec | BratsSpec) -> list[Fault]:
    """Faults of the layout; the rest must agree with them."""
    survey = spec.survey()
    faults, notices = survey.faults, survey.notices
    assert all(isinstance(text, str) for text in notices)
    assert all(fault.where and fault.fault for fault in faults)
    if faults:
        with pytest.raises(InputError):
            spec.list_cases()
    else:
        # A case in the list has its files: they may be no volumes, and the look at them says so.
        assert all(spec.inspect_case(info).faults for info in spec.list_cases())
    return faults


CELLS = st.one_of(
    st.sampled_from(
        ["case", "group", "label", "image", "subject", "split", "A", "B", "train", "test", "x.nii", "grade"]
    ),
    st.text(max_size=8),
)
LINES = st.lists(st.lists(CELLS, max_size=7), max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_in_place_of_a_table_end_in_faults(content: bytes) -> None:
    with folder_with("cases.csv", content) as path:
        assert told(TableSpec(root=path, **SMALL))


@settings(max_examples=150, deadline=None)
@given(LINES, st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_any_table_ends_in_faults_or_cases(lines: list[list[str]], separator: str, end: str, headed: bool) -> None:
    header = ["case", "group", "label", "image", "subject", "split", "grade"]
    text = end.join(separator.join(line) for line in ([header] if headed else []) + lines)
    with folder_with("cases.csv", text.encode("utf-8", "replace")) as path:
        (path.parent / "x.nii").write_bytes(b"no volume")
        told(TableSpec(root=path, **SMALL))
        (path.parent / "A").mkdir()
        (path.parent / "A" / "A_seg.nii").write_bytes(b"no volume")
        told(BratsSpec(root=path.parent, grades=path))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just("./x.nii.gz")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "labels",
        "training",
        "modality",
        "channel_names",
        "file_ending",
        "numTraining",
        "dataset",
        "image",
        "label",
        "images",
    ]
)
DESCRIPTIONS = st.fixed_dictionaries(
    {"labels": JSON | st.just({"lesion": 1}), "modality": JSON | st.just({"0": "MRI"})},
    optional={
        "training": JSON | st.lists(st.fixed_dictionaries({"image": JSON, "label": JSON}), max_size=3),
        "dataset": JSON | st.dictionaries(st.text(max_size=4), st.dictionaries(NAMES, JSON, max_size=3), max_size=3),
        "channel_names": JSON | st.just({"0": "MRI"}),
        "file_ending": JSON | st.sampled_from([".nii.gz", ".png"]),
        "numTraining": JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(JSON | DESCRIPTIONS)
def test_any_json_in_place_of_a_description_ends_in_faults_or_cases(body: object) -> None:
    with folder_with("dataset.json", json.dumps(body).encode()) as path:
        (path.parent / "x.nii.gz").write_bytes(b"no volume")
        spec = DecathlonSpec(root=path.parent, classes={"lesion": 1}, patch=(16, 16, 16))
        told(spec)
        assert 0 not in spec.background


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_in_place_of_a_description_end_in_faults(content: bytes) -> None:
    with folder_with("dataset.json", content) as path:
        assert told(DecathlonSpec(root=path.parent, classes={"lesion": 1}, patch=(16, 16, 16)))


PLACES = st.integers(0, 347)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["image.nii", "label.nii"]), st.dictionaries(PLACES, st.integers(0, 255), min_size=1, max_size=4)
)
@example("image.nii", {110: 192, 111: 127})  # an offset that is no number
@example("label.nii", {42: 0})  # no voxel along an axis
@example("label.nii", {43: 255})  # fewer than none
@example("image.nii", {70: 128})  # colours
@example("image.nii", {70: 32})  # complex numbers
def test_any_volume_ends_in_faults_or_figures(name: str, changes: dict[int, int]) -> None:
    # A healthy file with some bytes of its header overwritten.
    with folder_with("cases.csv", b"case,group,image,label\na,A,image.nii,label.nii\n") as path:
        write_volume(path.parent / "image.nii", brain())
        write_volume(path.parent / "label.nii", label(1))
        target = path.parent / name
        content = bytearray(target.read_bytes())
        for place, value in changes.items():
            content[place] = value
        target.write_bytes(content)
        spec = TableSpec(root=path, **SMALL)
        found = spec.inspect_case(spec.list_cases()[0])
        assert all(
            fault.where in (str(path.parent / "image.nii"), str(path.parent / "label.nii")) for fault in found.faults
        )
        assert bool(found.faults) != bool(found.ml)
