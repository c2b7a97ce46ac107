import multiprocessing as mp
import os
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from tests.trainers.data.conftest import write_nifti
from trainers.data.base import CaseArrays, CaseInfo
from trainers.data.prepared.read import is_prepared, open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.acdc import AcdcSpec
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.data.sources.phantom_heart import CardiacPhantomSpec
from trainers.data.sources.registry import SOURCES, AnyDataSpec
from trainers.errors import InputError

SPEC = PhantomSpec(train=6, test=4, shape=(16, 16, 14))


class BrokenSpec(PhantomSpec):
    """Fails, or changes shape, at the fifth case."""

    wrong_shape: bool = False

    def load_case(self, info: CaseInfo) -> CaseArrays:
        arrays = super().load_case(info)
        if info.case != "train-0004":
            return arrays
        if self.wrong_shape:
            return CaseArrays(arrays.image[:, 1:], arrays.label[:, 1:], arrays.spacing)
        raise InputError("broken")


def prepare_slowly(storage: Path, told) -> None:
    def slowly(done: int, total: int) -> None:
        told.put(1)
        time.sleep(0.05)

    prepare(SPEC, storage, slowly)


def forever(done: int, total: int) -> None:
    time.sleep(60 if done == 3 else 0)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "lock"}


@pytest.mark.parametrize("spec", [SPEC, CardiacPhantomSpec(train=2, test=2)])
def test_what_is_opened_is_what_the_source_gives(spec, tmp_path: Path) -> None:
    told = []
    folder = prepare(spec, tmp_path, lambda done, total: told.append((done, total)))
    data = open_prepared(folder)
    assert folder == tmp_path / "prepared" / spec.key()
    assert list(data.cases) == spec.list_cases()
    assert told == [(done, len(data.cases)) for done in range(1, len(data.cases) + 1)]
    assert (data.classes, data.groups, data.head) == (spec.classes, spec.groups, spec.head)
    assert (data.patch, data.whole) == (spec.patch_shape, False)
    for index, info in enumerate(data.cases):
        arrays = spec.load_case(info)
        assert np.array_equal(data.images[index], arrays.image)
        assert np.array_equal(data.labels[index], arrays.label)
        assert data.volumes[index].tolist() == arrays.label.sum(axis=(1, 2, 3)).tolist()
        assert data.voxel_ml[index] == arrays.voxel_ml
        assert data.truths[index] is None


def test_the_original_label_comes_back_as_it_was(tree, tmp_path: Path) -> None:
    spec = AcdcSpec(root=tree, spacing=(4, 4, 10), patch=(32, 32, 8))
    data = open_prepared(prepare(spec, tmp_path))
    for index, info in enumerate(spec.list_cases()):
        truth, arrays = data.truths[index], spec.load_case(info)
        assert truth.grid == arrays.truth.grid
        assert np.array_equal(truth.maps(3), arrays.truth.maps(3))
        values = np.asanyarray(nib.load(info.label).dataobj)
        assert truth.maps(3).sum(axis=(1, 2, 3)).tolist() == [(values == n).sum() for n in (1, 2, 3)]


def test_arrays_are_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    data = open_prepared(prepare(SPEC, tmp_path))
    assert isinstance(data.images[0], np.memmap)
    assert isinstance(data.labels[0], np.memmap)
    assert (data.images[0].dtype, data.labels[0].dtype) == (np.float32, np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        data.images[0][0] = 0


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    folder = prepare(SPEC, tmp_path)
    before, told = stamps(folder), []
    assert prepare(SPEC, tmp_path, lambda *step: told.append(step)) == folder
    assert stamps(folder) == before
    assert told == []


def test_a_folder_of_an_older_form_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "prepared" / SPEC.key()
    folder.mkdir(parents=True)
    (folder / "cases.json").write_text("{}")
    (folder / "images.npy").write_bytes(b"old")
    assert len(open_prepared(prepare(SPEC, tmp_path)).cases) == 10
    assert not (folder / "images.npy").exists()


def test_a_failure_leaves_no_case_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="broken"):
        prepare(BrokenSpec(), tmp_path)
    assert list(stamps(tmp_path / "prepared" / BrokenSpec().key())) == []


def test_a_case_of_another_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train-0004: image of shape \(2, 23, 24, 16\), expected"):
        prepare(BrokenSpec(wrong_shape=True), tmp_path)


def test_a_file_that_changes_meanwhile_is_noticed(tree, tmp_path: Path) -> None:
    spec = AcdcSpec(root=tree, spacing=(5, 5, 10), patch=(32, 32, 8))

    def meddle(done: int, total: int) -> None:
        if done == 1:
            config = tree / "training" / "patient003" / "patient003_frame01_gt.nii.gz"
            write_nifti(config, np.ones((32, 32, 8), np.uint8))

    with pytest.raises(InputError, match="changed while it was prepared"):
        prepare(spec, tmp_path, meddle)
    assert not is_prepared(next((tmp_path / "prepared").iterdir()))
    assert is_prepared(prepare(spec, tmp_path))


def test_two_processes_at_once_do_the_work_once(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    told = context.SimpleQueue()
    both = [context.Process(target=prepare_slowly, args=(tmp_path, told)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    steps = 0
    while not told.empty():
        steps += told.get()
    assert steps == 10
    assert len(open_prepared(tmp_path / "prepared" / SPEC.key()).cases) == 10


def test_one_killed_halfway_is_gone_on_with(tmp_path: Path) -> None:
    process = mp.get_context("spawn").Process(target=prepare, args=(SPEC, tmp_path, forever))
    process.start()
    folder = tmp_path / "prepared" / SPEC.key()
    deadline = time.monotonic() + 60
    while not (folder / "000002.case.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not is_prepared(folder)
    done = stamps(folder)
    (folder / ".000003.image.npy.1-2.tmp").write_bytes(b"torn")
    told = []
    prepare(SPEC, tmp_path, lambda done, total: told.append(done))
    assert told == list(range(4, 11))
    after = stamps(folder)
    assert all(after[name] == stamp for name, stamp in done.items())
    assert not list(folder.glob(".*.tmp"))
    fresh = prepare(SPEC, tmp_path / "fresh")
    for name in after:
        assert (folder / name).read_bytes() == (fresh / name).read_bytes()


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_found_by_its_name(name: str) -> None:
    declared = {"root": "somewhere", "patch": [16, 16, 16], "classes": {"a": 1}}
    section = {"source": name} | {
        "acdc": {"root": "somewhere"},
        "brats": {"root": "somewhere"},
        "decathlon": declared,
        "table": declared | {"groups": ["A"]},
    }.get(name, {})
    spec = TypeAdapter(AnyDataSpec).validate_python(section)
    assert type(spec) is SOURCES[name]
    assert TypeAdapter(AnyDataSpec).validate_json(spec.model_dump_json()) == spec


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"'phantom', .*'phantom-cardiac', 'acdc'"):
        TypeAdapter(AnyDataSpec).validate_python({"source": "phantm"})
