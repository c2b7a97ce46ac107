"""A trial on a storage that is away, read-only or full for a while."""

import pytest

from study.execution import trial_worker as worker
from study.storage.folders import Storage
from study.storage.journal import read_epochs
from trainers.data.prepared.write import prepare
from trainers.result import CASES_FILE, load_result


@pytest.fixture
def storage(tmp_path, trial):
    storage = Storage(tmp_path / "storage")
    storage.make()
    prepare(trial.data, storage.root)
    return storage


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(worker, "STORAGE_PAUSE", 0.1)


@pytest.fixture
def wanted(storage, trial):
    """What the trial comes to undisturbed."""
    result = worker.work(trial, storage)
    found = storage.trial(trial.key)
    cases = (found / CASES_FILE).read_bytes()
    found.rename(found.with_name("undisturbed"))
    return result.metrics, cases, [record["metrics"] for record in read_epochs(found.with_name("undisturbed"))]


@pytest.mark.parametrize("emptied", [False, True], ids=["gone", "an empty folder in its place"])
def test_a_storage_that_vanishes_is_waited_for_and_not_begun_anew(storage, trial, wanted, emptied):
    away, waits = storage.root.with_name("away"), []

    def vanish(record):
        if record["epoch"] == 1 and not away.exists() and not waits:
            storage.root.rename(away)
            if emptied:
                storage.root.mkdir()

    def come_back(why):
        waits.append(why)
        if len(waits) == 3:
            if emptied:
                assert not list(storage.root.iterdir())
                storage.root.rmdir()
            assert not storage.root.exists()
            away.rename(storage.root)

    result = worker.work(trial, storage, tell=vanish, complain=come_back)
    assert len(waits) == 3
    assert "waits for the storage" in waits[0]
    assert "No such file or directory" in waits[0]
    folder = storage.trial(trial.key)
    assert (result.state, load_result(folder).metrics) == ("DONE", result.metrics)
    epochs = [record["metrics"] for record in read_epochs(folder)]
    assert (result.metrics, (folder / CASES_FILE).read_bytes(), epochs) == wanted


def test_a_storage_that_stays_away_is_the_machine_s_fault_and_not_the_trial_s(storage, trial, monkeypatch):
    monkeypatch.setattr(worker, "STORAGE_PATIENCE", 0.3)
    away = storage.root.with_name("away")

    def vanish(_):
        if not away.exists():
            storage.root.rename(away)

    with pytest.raises(FileNotFoundError):
        worker.work(trial, storage, tell=vanish)
    assert not storage.root.exists()
    away.rename(storage.root)
    assert storage.result(trial.key) is None
    assert worker.work(trial, storage).state == "DONE"
