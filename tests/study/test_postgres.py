"""The shared store: studies tracked in PostgreSQL, directly and through MLflow's server."""

import itertools
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.commands.answers import best, table, transition_map
from study.commands.launch import INLINE, launch
from study.storage.folders import Storage
from study.storage.locations import Places
from tests.services import mlflow_server, postgres

pytestmark = pytest.mark.postgres

_number = itertools.count()


@pytest.fixture(scope="module")
def database():
    with postgres() as server:
        yield server


@pytest.fixture
def uri(database):
    return database.new_database(f"study{next(_number)}")


@contextmanager
def directly(uri, folder):
    yield Places(uri, Storage(folder / "storage"))


@contextmanager
def through_a_server(uri, folder):
    with mlflow_server(uri, folder / "artifacts") as server:
        yield Places(server.address, Storage(folder / "storage"))


def runs(places, kind):
    client = MlflowClient(places.store)
    experiment = client.get_experiment_by_name("small").experiment_id
    return list(client.search_runs([experiment], f"tags.`dicestudy.kind` = '{kind}'", max_results=1000))


def answers(places):
    return {
        **{goal: best("small", goal=goal, top=None, places=places) for goal in ("ignore", "empty", "dice")},
        "table": table("small", places=places),
        "map": transition_map("small", places=places),
    }


def assert_all_is_there_once(places):
    """Eight trials in eight cells, each with all of its epochs and figures, and nothing left running."""
    client = MlflowClient(places.store)
    trials, cells = runs(places, "trial"), runs(places, "cell")
    assert len({run.data.tags["dicestudy.key"] for run in trials}) == 8
    assert Counter(run.info.status for run in trials) == {"FINISHED": 8}
    assert Counter(run.info.status for run in cells) == {"FINISHED": 8}
    assert [run.info.status for run in runs(places, "study")] == ["FINISHED"]
    for run in trials:
        assert [point.step for point in client.get_metric_history(run.info.run_id, "train.loss")] == [1, 2]
        assert {"phi", "eps", "labeling", "v_hat"} <= run.data.params.keys()
        assert "final.dsc.A.tumor" in run.data.metrics
        assert run.data.tags["mlflow.parentRunId"] in {cell.info.run_id for cell in cells}


@pytest.mark.parametrize("reached", [directly, through_a_server])
def test_a_study_says_the_same_as_on_sqlite(reached, uri, study, finished, tmp_path):
    with reached(uri, tmp_path) as places:
        first = launch(study, places, address=INLINE, quiet=True)
        assert (first.started, first.done, first.troubled) == (8, 8, "")
        assert_all_is_there_once(places)
        assert answers(places) == answers(finished)

        again = launch(study, places, address=INLINE, quiet=True)
        assert (again.started, again.done, again.troubled) == (0, 8, "")
        assert_all_is_there_once(places)

        # A reader with nothing but the store: per-case tables come from its artifacts.
        elsewhere = Places(places.store, Storage(tmp_path / "elsewhere"))
        assert answers(elsewhere) == answers(finished)
        client = MlflowClient(places.store)
        (run,) = runs(places, "study")
        report = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
        assert "<h1>small</h1>" in report.read_text()


@contextmanager
def killing_after_the_first_trial(places, kill):
    """Call ``kill`` as soon as one trial of a launch inside has ended."""
    over = threading.Event()

    def watch():
        while not over.is_set() and not list(places.storage.root.glob("trials/*/result.json")):
            time.sleep(0.01)
        kill()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.fixture
def impatient(monkeypatch):
    """A tracking client that gives a dead server up after its first silence and one more."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def test_a_server_killed_in_the_middle_gets_all_from_the_next_launch(uri, study, finished, tmp_path, impatient, capfd):
    storage = Storage(tmp_path / "storage")
    with mlflow_server(uri, tmp_path / "artifacts") as server:
        places = Places(server.address, storage)
        with killing_after_the_first_trial(places, server.kill):
            ended = launch(study, places, address=INLINE, quiet=True)
    assert (ended.started, ended.done, ended.failed) == (8, 8, 0)
    assert ended.troubled
    assert "Traceback" not in capfd.readouterr().err

    with mlflow_server(uri, tmp_path / "artifacts") as server:
        places = Places(server.address, storage)
        again = launch(study, places, address=INLINE, quiet=True)
        assert (again.started, again.done, again.troubled) == (0, 8, "")
        assert_all_is_there_once(places)
        assert answers(places) == answers(finished)


def test_a_database_killed_in_the_middle_gets_all_from_the_next_launch(database, uri, study, finished, tmp_path, capfd):
    places = Places(uri, Storage(tmp_path / "storage"))
    try:
        with killing_after_the_first_trial(places, database.kill):
            ended = launch(study, places, address=INLINE, quiet=True)
    finally:
        database.start()
    assert (ended.started, ended.done, ended.failed) == (8, 8, 0)
    assert ended.troubled
    assert "Traceback" not in capfd.readouterr().err

    again = launch(study, places, address=INLINE, quiet=True)
    assert (again.started, again.done, again.troubled) == (0, 8, "")
    assert_all_is_there_once(places)
    assert answers(places) == answers(finished)
