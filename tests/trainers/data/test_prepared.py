import multiprocessing as mp
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from trainers.data.acdc import AcdcSpec
from trainers.data.base import CaseArrays, CaseInfo
from trainers.data.cardiac import CardiacPhantomSpec
from trainers.data.phantom import PhantomSpec
from trainers.data.prepared import open_prepared, prepare
from trainers.data.sources import SOURCES, AnyDataSpec
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


def slowly(done: int, total: int) -> None:
    time.sleep(0.05)


def forever(done: int, total: int) -> None:
    time.sleep(60 if done == 3 else 0)


def left_in(storage: Path) -> list[str]:
    return sorted(path.name for path in (storage / "prepared").iterdir())


@pytest.mark.parametrize("spec", [SPEC, CardiacPhantomSpec(train=2, test=2)])
def test_what_is_opened_is_what_the_source_gives(spec, tmp_path: Path) -> None:
    told = []
    folder = prepare(spec, tmp_path, lambda done, total: told.append((done, total)))
    data = open_prepared(folder)
    assert folder == tmp_path / "prepared" / spec.key()
    assert list(data.cases) == spec.list_cases()
    assert told == [(done, len(data.cases)) for done in range(1, len(data.cases) + 1)]
    assert (data.classes, data.groups, data.head) == (spec.classes, spec.groups, spec.head)
    for index, info in enumerate(data.cases):
        arrays = spec.load_case(info)
        assert np.array_equal(data.images[index], arrays.image)
        assert np.array_equal(data.labels[index], arrays.label)
        assert data.voxel_ml[index] == arrays.voxel_ml


def test_arrays_are_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    data = open_prepared(prepare(SPEC, tmp_path))
    assert isinstance(data.images, np.memmap)
    assert isinstance(data.labels, np.memmap)
    assert (data.images.dtype, data.labels.dtype) == (np.float32, np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    folder = prepare(SPEC, tmp_path)
    before = (folder / "images.npy").stat().st_mtime_ns
    told = []
    assert prepare(SPEC, tmp_path, lambda *step: told.append(step)) == folder
    assert (folder / "images.npy").stat().st_mtime_ns == before
    assert told == []


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="broken"):
        prepare(BrokenSpec(), tmp_path)
    assert left_in(tmp_path) == []


def test_a_case_of_another_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train-0004: image of shape \(2, 23, 24, 16\), expected"):
        prepare(BrokenSpec(wrong_shape=True), tmp_path)
    assert left_in(tmp_path) == []


def test_who_comes_second_takes_the_firsts_copy(tmp_path: Path) -> None:
    inner = []

    def overtaken(done: int, total: int) -> None:
        if done == total:
            inner.append(prepare(SPEC, tmp_path))
            inner.append((inner[0] / "images.npy").stat().st_ino)

    assert prepare(SPEC, tmp_path, overtaken) == inner[0]
    assert (inner[0] / "images.npy").stat().st_ino == inner[1]
    assert left_in(tmp_path) == [SPEC.key()]


def test_two_processes_at_once_leave_one_copy(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    both = [context.Process(target=prepare, args=(SPEC, tmp_path, slowly)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert left_in(tmp_path) == [SPEC.key()]
    assert len(open_prepared(tmp_path / "prepared" / SPEC.key()).cases) == 10


def test_one_killed_halfway_leaves_no_final_folder_and_is_no_obstacle(tmp_path: Path) -> None:
    process = mp.get_context("spawn").Process(target=prepare, args=(SPEC, tmp_path, forever))
    process.start()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("prepared/.*/images.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "prepared" / SPEC.key()).exists()
    assert len(open_prepared(prepare(SPEC, tmp_path)).cases) == 10


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_found_by_its_name(name: str) -> None:
    section = {"source": name} | ({"root": "somewhere"} if name == "acdc" else {})
    spec = TypeAdapter(AnyDataSpec).validate_python(section)
    assert type(spec) is SOURCES[name]
    assert TypeAdapter(AnyDataSpec).validate_json(spec.model_dump_json()) == spec


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="'phantom', 'phantom-cardiac', 'acdc'"):
        TypeAdapter(AnyDataSpec).validate_python({"source": "phantm"})


def test_phantoms_have_no_files_to_check() -> None:
    assert SPEC.check_files() == []
    assert AcdcSpec(root=Path("/nowhere")).check_files() != []
