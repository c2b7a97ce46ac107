"""The tracking store made anew from the storage alone."""

import shutil
import sqlite3
import time

import pytest
from mlflow import MlflowClient

from study import delivery
from study.cli import preset_text
from study.places import Places
from study.plan import make_plan
from study.reader import parse_study
from study.records import Records, sync
from study.standing import keep_members, kept_study
from study.storage import Storage
from trainers.errors import InputError
from trainers.locks import BusyError, writing

FIXED = ("dicestudy.kind", "dicestudy.key", "dicestudy.cell", "dicestudy.state", "dicestudy.epochs", "mlflow.runName")


def records(store):
    """What a store says of each run, but for its own identities and the times of writing."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("small").experiment_id
    found = {}
    for run in client.search_runs([experiment], max_results=1000):
        tags = {name: run.data.tags[name] for name in FIXED if name in run.data.tags}
        losses = [
            (entry.step, entry.value, entry.timestamp)
            for entry in client.get_metric_history(run.info.run_id, "train.loss")
        ]
        files = sorted(entry.path for entry in client.list_artifacts(run.info.run_id))
        identity = tags["dicestudy.kind"], tags.get("dicestudy.key", "")
        found[identity] = (tags, run.info.status, run.data.params, run.data.metrics, losses, files)
    return found


@pytest.fixture
def elsewhere(finished, tmp_path):
    """The finished study's storage, and a store that knows nothing of it."""
    shutil.copytree(finished.storage.root, tmp_path / "storage")
    return Places(f"sqlite:///{tmp_path / 'new.db'}", Storage(tmp_path / "storage"))


def test_a_new_store_gets_every_run_epoch_and_file_once(finished, elsewhere):
    found = sync("small", elsewhere)
    assert found == {"study": "small", "trials": 8, "runs": 8, "troubled": ""}
    rebuilt = records(elsewhere.store)
    assert rebuilt == records(finished.store)
    assert sync("small", elsewhere) == found
    assert records(elsewhere.store) == rebuilt


def test_what_has_not_ended_is_said_to_be_stopped(elsewhere):
    key = next(iter((elsewhere.storage.root / "trials").iterdir())).name
    (elsewhere.storage.trial(key) / "result.json").unlink()
    assert sync("small", elsewhere)["runs"] == 8
    states = {identity: status for identity, (_, status, *_) in records(elsewhere.store).items()}
    assert states["trial", key] == "KILLED"
    assert states["study", ""] == "KILLED"


def test_a_trial_that_was_given_up_is_told_with_its_reason_in_a_new_store_as_well(elsewhere):
    key = next(iter((elsewhere.storage.root / "trials").iterdir())).name
    (elsewhere.storage.trial(key) / "result.json").unlink()
    elsewhere.storage.keep_loss(key, "the node died")
    sync("small", elsewhere)
    client = MlflowClient(elsewhere.store)
    experiment = client.get_experiment_by_name("small").experiment_id
    (run,) = client.search_runs([experiment], f"tags.dicestudy.kind = 'trial' and tags.dicestudy.key = '{key}'")
    assert run.info.status == "FAILED"
    assert run.data.tags["dicestudy.state"] == "LOST"
    assert run.data.tags["dicestudy.reason"] == "lost by the engine: the node died"


def test_a_study_that_runs_is_left_to_its_launch(elsewhere):
    busy = pytest.raises(BusyError, match="study small is being written by process")
    with writing(elsewhere.storage.study("small"), "study small"), busy:
        sync("small", elsewhere)


def test_an_unknown_study_is_refused(elsewhere):
    with pytest.raises(InputError, match="no such study"):
        sync("smal", elsewhere)


@pytest.mark.parametrize("name", ["phantom", "phantom-cardiac", "acdc", "acdc-small", "brats", "decathlon", "losses"])
def test_a_study_is_kept_as_it_was_launched(name, places):
    study = parse_study(preset_text(name), name)
    keep_members(study, [], 1, places)
    assert kept_study(name, places) == study


@pytest.mark.parametrize("noticed", ["by a refusal", "at the end"])
def test_what_a_crashed_database_had_confirmed_and_lost_is_told_again(elsewhere, monkeypatch, noticed):
    monkeypatch.setattr(delivery, "REST", 0.0)
    sync("small", elsewhere)
    told = records(elsewhere.store)
    plan = make_plan(kept_study("small", elsewhere), elsewhere.storage)
    kept = Records(plan, elsewhere)
    spec = plan.trials[0]
    run = kept.tracker.runs["trial", spec.key].run_id
    with sqlite3.connect(elsewhere.store.removeprefix("sqlite:///")) as database:
        database.execute("DELETE FROM metrics WHERE run_uuid = ? AND step = 2", [run])
        database.execute("DELETE FROM latest_metrics WHERE run_uuid = ? AND step = 2", [run])
        for tag, value in (("epochs", "1"), ("state", "RUNNING")):
            change = "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?"
            database.execute(change, [value, run, f"dicestudy.{tag}"])
    kept.delivery.deliver(spec.key)
    assert records(elsewhere.store) != told  # it believes what it was told
    if noticed == "at the end":
        assert kept.settle(plan, "DONE", "") == ""
    else:
        calls = []
        deliver = kept.delivery.deliver

        def refuse_once(key):
            calls.append(key)
            if len(calls) == 1:
                raise ConnectionError("refused")
            deliver(key)

        monkeypatch.setattr(kept.delivery, "deliver", refuse_once)
        courier = delivery.Courier(kept.delivery)
        courier.send("refused")
        courier.start()
        while not calls:
            time.sleep(0.01)
        courier.send(spec.key)
        courier.close()
    assert records(elsewhere.store) == told
