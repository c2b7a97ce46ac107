"""One writer a folder; another machine's holder by its lease, which runs out."""

import os
import threading
import time

import pytest

from trainers import locks
from trainers.locks import LOCK_FILE, BusyError, is_written, writing

ELSEWHERE = "process 7 on another-host 0123abcd since 2026-01-01 00:00:00"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(locks, "RENEWAL", 0.1)
    monkeypatch.setattr(locks, "EXPIRY", 0.8)


def test_a_holder_signs_renews_and_leaves_no_signature(tmp_path):
    file = tmp_path / LOCK_FILE
    with writing(tmp_path, "this") as require:
        assert f"process {os.getpid()} on {locks.machine()} since " in file.read_text()
        before = file.stat().st_mtime_ns
        time.sleep(0.4)
        assert file.stat().st_mtime_ns > before
        require()
    assert file.read_text() == ""
    assert not is_written(tmp_path)


def test_a_silent_holder_elsewhere_is_waited_for_and_then_replaced(tmp_path):
    (tmp_path / LOCK_FILE).write_text(ELSEWHERE)
    assert is_written(tmp_path)
    begun = time.monotonic()
    with writing(tmp_path, "this", patience=0.0):
        assert time.monotonic() - begun >= locks.EXPIRY
        assert ELSEWHERE not in (tmp_path / LOCK_FILE).read_text()


def test_a_living_holder_elsewhere_is_named_and_left_alone(tmp_path):
    file, over = tmp_path / LOCK_FILE, threading.Event()
    file.write_text(ELSEWHERE)

    def live():
        while not over.wait(0.1):
            os.utime(file)

    heart = threading.Thread(target=live)
    heart.start()
    try:
        refused = pytest.raises(BusyError, match="this is being written by process 7 on another-host")
        with refused, writing(tmp_path, "this", patience=0.3):
            pass
        assert is_written(tmp_path)
    finally:
        over.set()
        heart.join()
    assert file.read_text() == ELSEWHERE


def test_a_holder_of_this_machine_that_is_gone_needs_no_waiting(tmp_path):
    (tmp_path / LOCK_FILE).write_text(f"process 7 on {locks.machine()} since 2026-01-01 00:00:00")
    assert not is_written(tmp_path)
    begun = time.monotonic()
    with writing(tmp_path, "this"):
        assert time.monotonic() - begun < locks.EXPIRY


def test_a_holder_that_was_replaced_is_told_and_leaves_the_signature_of_the_other(tmp_path):
    file = tmp_path / LOCK_FILE
    with writing(tmp_path, "this") as require:
        file.write_text(ELSEWHERE)
        time.sleep(5 * locks.RENEWAL)
        with pytest.raises(BusyError, match="this was taken over by process 7 on another-host"):
            require()
    assert file.read_text() == ELSEWHERE
