"""The tracking store made anew from the storage alone."""

import shutil
import sqlite3
import time

import pytest
from mlflow import MlflowClient

from study.commands.sync import StudySync, sync
from study.config.load import parse_study
from study.config.presets import preset_text
from study.planning.plan import make_plan
from study.storage.folders import Storage
from study.storage.locations import Places
from study.storage.study_record import read_study, write_study_record
from study.tracking import background, delivery
from study.tracking.writer import MlflowTracker
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
    elsewhere.storage.save_loss_reason(key, "the node died")
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
    write_study_record(study, [], 1, places)
    assert read_study(name, places) == study


@pytest.mark.parametrize("noticed", ["by a refusal", "at the end"])
def test_what_a_crashed_database_had_confirmed_and_lost_is_told_again(elsewhere, monkeypatch, noticed):
    monkeypatch.setattr(background, "COOLDOWN_S", 0.0)
    sync("small", elsewhere)
    told = records(elsewhere.store)
    plan = make_plan(read_study("small", elsewhere), elsewhere.storage)
    kept = StudySync(plan, elsewhere)
    spec = plan.trials[0]
    run = kept.tracker.runs["trial", spec.key].run_id
    with sqlite3.connect(elsewhere.store.removeprefix("sqlite:///")) as database:
        database.execute("DELETE FROM metrics WHERE run_uuid = ? AND step = 2", [run])
        database.execute("DELETE FROM latest_metrics WHERE run_uuid = ? AND step = 2", [run])
        for tag, value in (("epochs", "1"), ("state", "RUNNING")):
            change = "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?"
            database.execute(change, [value, run, f"dicestudy.{tag}"])
    kept.delivery.sync_trial(spec.key)
    assert records(elsewhere.store) != told  # it believes what it was told
    if noticed == "at the end":
        assert kept.finalize(plan, "DONE", "") == ""
    else:
        calls = []
        deliver = kept.delivery.sync_trial

        def refuse_once(key):
            calls.append(key)
            if len(calls) == 1:
                raise ConnectionError("refused")
            deliver(key)

        monkeypatch.setattr(kept.delivery, "sync_trial", refuse_once)
        background_sync = background.BackgroundSync(kept.delivery)
        background_sync.send("refused")
        background_sync.start()
        while not calls:
            time.sleep(0.01)
        background_sync.send(spec.key)
        background_sync.close()
    assert records(elsewhere.store) == told


def metric_rows(store):
    with sqlite3.connect(store.removeprefix("sqlite:///")) as database:
        return database.execute("SELECT COUNT(*) FROM metrics").fetchone()[0]


def test_who_settles_again_tells_nothing_that_is_known(elsewhere):
    sync("small", elsewhere)
    before = metric_rows(elsewhere.store)
    sync("small", elsewhere)
    assert metric_rows(elsewhere.store) == before


def test_a_crash_between_an_ending_s_tag_and_its_status_is_mended(elsewhere):
    sync("small", elsewhere)
    told = records(elsewhere.store)
    with sqlite3.connect(elsewhere.store.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL")
    assert {status for _, status, *_ in records(elsewhere.store).values()} == {"RUNNING"}
    sync("small", elsewhere)
    assert records(elsewhere.store) == told


def test_a_cell_that_goes_on_says_so_and_loses_its_old_reason(elsewhere):
    plan = make_plan(read_study("small", elsewhere), elsewhere.storage)
    spec = plan.trials[0]
    result = elsewhere.storage.trial(spec.key) / "result.json"
    result.rename(result.with_name("later"))
    sync("small", elsewhere)
    client = MlflowClient(elsewhere.store)
    kept = StudySync(plan, elsewhere)
    cell = kept.tracker.runs["cell", spec.cell].run_id

    def told():
        run = client.get_run(cell)
        return run.info.status, run.data.tags["dicestudy.state"], run.data.tags["dicestudy.reason"]

    assert told() == ("KILLED", "STOPPED", "not all of its trials are over")
    kept.delivery.sync_trial(spec.key)
    assert told() == ("RUNNING", "RUNNING", "")
    result.with_name("later").rename(result)
    kept.delivery.sync_trial(spec.key)
    assert kept.finalize(plan, "DONE", "") == ""
    assert told() == ("FINISHED", "DONE", "")


def test_news_comes_before_cells_and_cells_are_told_when_none_waits(elsewhere):
    """However long the figures of cells take, a tenth of the time is spent on them while trials wait."""
    plan = make_plan(read_study("small", elsewhere), elsewhere.storage)
    tracker = MlflowTracker(elsewhere.store, "small", elsewhere.artifacts / "small")
    kept = delivery.Delivery(plan.trials, elsewhere.storage, tracker)
    order = []
    deliver, refresh = kept.sync_trial, kept.refresh_cell
    kept.sync_trial = lambda key: (order.append("trial"), deliver(key))

    def slowly():
        order.append("cell")
        time.sleep(0.3)
        refresh()

    kept.refresh_cell = slowly
    background_sync = background.BackgroundSync(kept)
    for spec in plan.trials:
        background_sync.send(spec.key)
    background_sync.start()
    while kept.stale or len(order) < len(plan.trials):
        time.sleep(0.05)
    background_sync.close()
    last = len(order) - 1 - order[::-1].index("trial")
    assert order[:last].count("cell") <= 2
    assert order[last:].count("cell") >= len(kept.cells) - 2
    run = tracker.client.get_run(tracker.runs["cell", plan.trials[0].cell].run_id)
    assert run.data.metrics["n"] == 1
