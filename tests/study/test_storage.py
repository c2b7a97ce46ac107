import json
import multiprocessing
import os
import signal
import time

import pytest

from study.storage.folders import Storage, is_writable
from study.storage.journal import Journal, read_epochs
from trainers.locks import BusyError, is_written, writing


def record(epoch):
    return {"epoch": epoch, "time": 1.5, "metrics": {"train.loss": 0.25}}


def test_a_journal_gives_back_what_it_was_told(tmp_path):
    journal = Journal(tmp_path)
    for epoch in (1, 2, 2, 1, 3):
        journal.append(record(epoch))
    assert read_epochs(tmp_path) == [record(1), record(2), record(3)]


def test_a_torn_line_is_cut_off_and_written_again(tmp_path):
    journal = Journal(tmp_path)
    for epoch in (1, 2):
        journal.append(record(epoch))
    whole = journal.path.read_bytes()
    for cut in range(1, len(whole) // 2):
        journal.path.write_bytes(whole[:-cut])
        assert read_epochs(tmp_path) == [record(1)]
        again = Journal(tmp_path)
        again.append(record(1))
        again.append(record(2))
        assert journal.path.read_bytes() == whole


def test_no_journal_is_an_empty_one(tmp_path):
    assert read_epochs(tmp_path) == []


def hold(folder, started):
    with writing(folder, "the study"):
        started.set()
        time.sleep(60)


def test_one_writer_at_a_time_and_a_killed_one_lets_go(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    holder = context.Process(target=hold, args=(tmp_path, started))
    holder.start()
    try:
        assert started.wait(30)
        assert is_written(tmp_path)
        refused = pytest.raises(BusyError, match=f"the study is being written by process {holder.pid} on")
        with refused, writing(tmp_path, "the study"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        with writing(tmp_path, "the study", patience=10):
            pass
    finally:
        holder.kill()
        holder.join()
    assert not is_written(tmp_path)


def test_looking_whether_a_folder_is_writable_touches_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert is_writable(tmp_path / "a" / "b")
    assert not is_writable(tmp_path / "file" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_trial_can_be_forgotten_without_losing_its_record(tmp_path):
    storage = Storage(tmp_path)
    folder = storage.trial("abc")
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"key": "abc", "state": "FAILED", "reason": "because"}))
    assert storage.result("abc").reason == "because"
    storage.set_result_aside("abc")
    assert storage.result("abc") is None
    assert "because" in (folder / "result.json.failed").read_text()
