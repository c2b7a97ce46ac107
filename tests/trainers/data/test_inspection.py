import numpy as np
import pytest

from tests.trainers.data.conftest import frame_path, write_nifti
from trainers.data.base import CaseInfo
from trainers.data.inspection import across_cases, inspect, statistics
from trainers.data.sources.acdc import AcdcSpec
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.data.sources.phantom_heart import CardiacPhantomSpec

SMALL = {"spacing": (5, 5, 10), "patch": (32, 32, 8)}
PHANTOM = PhantomSpec(train=4, test=2, shape=(16, 16, 14))


def faults_of(cases, spec=PHANTOM) -> list[str]:
    return [str(fault) for fault in across_cases(spec, cases)]


def test_figures_are_those_of_the_voxels(tree) -> None:
    spec = AcdcSpec(root=tree, **SMALL)
    told = []
    found = inspect(spec, lambda done, total: told.append((done, total)))
    assert (found.faults, told[-1]) == ([], (6, 6))
    figures = statistics(found, spec)
    assert (figures["cases"], figures["subjects"], figures["groups"]) == (6, 3, {"ED": 3, "ES": 3})
    assert figures["spacing_mm"] == {"min": [5, 5, 10], "max": [5, 5, 10]}
    voxels = np.array([spec.load_case(info).label.sum(axis=(1, 2, 3)) for info in found.cases])
    assert np.array_equal(found.volumes, voxels)
    # The patch is the file's own grid, so the prepared voxels are those of the file: 5×5×10 mm are ¼ ml.
    at_ed = [row for row, info in zip(voxels, found.cases, strict=True) if info.group == "ED"]
    assert figures["volumes_ml"]["ED"]["MYO"]["mean"] == pytest.approx(np.mean(at_ed, axis=0)[1] / 4)


def test_generated_cases_have_figures_too() -> None:
    figures = statistics(inspect(PHANTOM), PHANTOM)
    assert figures["groups"] == {"A": 3, "B": 3}
    assert figures["size_voxels"] == {"min": [16, 16, 14], "max": [16, 16, 14]}


def test_faults_of_several_files_come_together(tree) -> None:
    frame_path(tree, 1, "ED").write_bytes(b"no volume")
    write_nifti(frame_path(tree, 2, "ES", "_gt"), np.full((32, 32, 8), 7, np.uint8))
    write_nifti(frame_path(tree, 3, "ES", "_gt"), np.ones((30, 32, 8), np.uint8))
    found = [str(fault) for fault in inspect(AcdcSpec(root=tree, **SMALL)).faults]
    assert len(found) == 3
    for name, text in zip(("patient001", "patient002", "patient003"), found, strict=True):
        assert name in text
    assert "unreadable NIfTI file" in found[0]
    assert "label values 7; known: 0, 1, 2, 3" in found[1]
    assert "label of shape 30×32×8, expected its image's 32×32×8" in found[2]


def test_a_class_in_no_case_is_told(tree) -> None:
    for patient in (1, 2, 3):
        for phase in ("ED", "ES"):
            write_nifti(frame_path(tree, patient, phase, "_gt"), np.ones((32, 32, 8), np.uint8))
    found = inspect(AcdcSpec(root=tree, may_be_empty=("RV", "MYO", "LV"), **SMALL)).faults
    assert [fault.where for fault in found] == ["class MYO", "class LV"]


def test_an_empty_map_is_a_fault_unless_it_may_be(tree) -> None:
    write_nifti(frame_path(tree, 1, "ED", "_gt"), np.zeros((32, 32, 8), np.uint8))
    found = inspect(AcdcSpec(root=tree, **SMALL)).faults
    assert [fault.fault for fault in found] == ["no voxel of RV", "no voxel of MYO", "no voxel of LV"]
    spec = AcdcSpec(root=tree, may_be_empty=("RV", "MYO", "LV"), **SMALL)
    found = inspect(spec)
    assert found.faults == []
    assert statistics(found, spec)["volumes_ml"]["ED"]["LV"]["empty"] == pytest.approx(1 / 3)


def test_cases_are_told_against_each_other() -> None:
    assert faults_of([CaseInfo("a", "s", "A"), CaseInfo("a", "t", "B")]) == [
        "case a: given 2 times; name each case once"
    ]
    assert faults_of([CaseInfo("a", "s", "A"), CaseInfo("b", "s", "B")]) == [
        "subject s: in groups A, B; put all its cases into one group"
    ]
    assert [text.split(";")[0] for text in faults_of([CaseInfo("a", "s", "A")])] == ["group B: has no cases"]
    assert "group C: is not declared, known: A, B" in faults_of([CaseInfo("a", "s", "C")])[-1]


def test_subjects_of_paired_groups_are_in_several() -> None:
    heart = CardiacPhantomSpec(train=2, test=2)
    assert heart.paired
    assert faults_of([CaseInfo("a", "s", "ED"), CaseInfo("b", "s", "ES")], heart) == []
