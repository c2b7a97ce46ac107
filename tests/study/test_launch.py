"""Launching for real: MLflow on SQLite, trials inline; Ray itself in test_engine.py."""

from collections import Counter

import pytest
from mlflow import MlflowClient

from study.commands.launch import INLINE, launch
from study.commands.status import status
from study.config.load import parse_study
from study.planning.plan import make_plan
from trainers.errors import InputError
from trainers.locks import BusyError, writing
from trainers.result import RESULT_FILE, load_result


def runs(places, name="small"):
    client = MlflowClient(places.store)
    return client.search_runs([client.get_experiment_by_name(name).experiment_id], max_results=1000)


def by_kind(places, kind):
    return [run for run in runs(places) if run.data.tags["dicestudy.kind"] == kind]


def test_every_trial_has_one_run_and_none_is_left_running(finished, study):
    assert Counter(run.data.tags["dicestudy.kind"] for run in runs(finished)) == {"study": 1, "cell": 8, "trial": 8}
    assert {run.info.status for run in runs(finished)} == {"FINISHED"}
    keys = {spec.key for spec in make_plan(study, finished.storage).trials}
    assert {run.data.tags["dicestudy.key"] for run in by_kind(finished, "trial")} == keys


def test_a_trial_run_is_laid_out_as_promised(finished):
    run = by_kind(finished, "trial")[0]
    cells = {cell.info.run_id for cell in by_kind(finished, "cell")}
    assert run.data.tags["mlflow.parentRunId"] in cells
    assert {
        "final.dsc.A.tumor",
        "final.dv_ml.B.tumor",
        "final.retention.tumor",
        "final.auc.tumor",
    } <= run.data.metrics.keys()
    assert {"train.loss", "val.loss", "val.dsc.A.tumor"} <= run.data.metrics.keys()
    assert {
        "phi",
        "eps",
        "eps_voxels",
        "v_hat",
        "batch_size",
        "labeling",
        "fold",
        "seed",
        "lr",
    } <= run.data.params.keys()
    assert run.data.metrics["hp.batch_size"] == 2
    assert run.data.metrics["hp.eps_voxels"] == float(run.data.params["eps_voxels"])
    client = MlflowClient(finished.store)
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train.loss")] == [1, 2]
    assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["cases.csv"]


def test_cells_and_the_study_have_their_figures_and_files(finished):
    for run in by_kind(finished, "cell"):
        assert run.data.metrics["n"] == 1
        assert {
            "valid",
            "final.dsc.A.tumor",
            "final.dsc.A.tumor.low",
            "final.dsc.A.tumor.high",
        } <= run.data.metrics.keys()
    (run,) = by_kind(finished, "study")
    files = {entry.path for entry in MlflowClient(finished.store).list_artifacts(run.info.run_id)}
    assert {"report.html", "map.json", "map.csv", "table.json", "study.yaml"} <= files
    assert "8 trials in 8 cells: 8 done" in run.data.tags["mlflow.note.content"]


def test_a_finished_study_starts_nothing(study, places):
    first = launch(study, places, address=INLINE, quiet=True)
    before = {run.info.run_id: run.info.end_time for run in by_kind(places, "trial")}
    again = launch(study, places, address=INLINE, quiet=True)
    assert (first.started, again.started) == (8, 0)
    assert {run.info.run_id: run.info.end_time for run in by_kind(places, "trial")} == before


def test_a_grown_study_runs_only_the_new_and_a_shrunk_one_forgets_the_rest(study_text, places):
    small = parse_study(study_text.replace("phi: [I, BI]", "phi: I").replace("[1.0e-7, v_hat]", "1.0e-7"))
    assert launch(small, places, address=INLINE, quiet=True).started == 2
    grown = parse_study(study_text.replace("phi: [I, BI]", "phi: I"))
    assert launch(grown, places, address=INLINE, quiet=True).started == 2
    assert launch(small, places, address=INLINE, quiet=True).started == 0
    members = Counter(run.data.tags["dicestudy.in_study"] for run in by_kind(places, "trial"))
    assert members == {"true": 2, "false": 2}


def test_a_lost_store_is_rebuilt_from_the_storage(study_text, places, tmp_path):
    study = parse_study(study_text.replace("phi: [I, BI]", "phi: I").replace("[1.0e-7, v_hat]", "1.0e-7"))
    launch(study, places, address=INLINE, quiet=True)

    def told(where):
        return sorted(
            (run.data.tags["dicestudy.key"], *sorted(run.data.params.items()), *sorted(run.data.metrics.items()))
            for run in by_kind(where, "trial")
        )

    rebuilt = type(places)(f"sqlite:///{tmp_path / 'new.db'}", places.storage)
    assert launch(study, rebuilt, address=INLINE, quiet=True).started == 0
    assert told(rebuilt) == told(places)


def test_a_failed_trial_is_recorded_once_and_rerun_only_when_asked(study_text, places, monkeypatch):
    import trainers.training

    study = parse_study(study_text.replace("phi: [I, BI]", "phi: I").replace("[1.0e-7, v_hat]", "1.0e-7"))

    def broken(*_, **__):
        raise RuntimeError("no such thing as a free lunch")

    monkeypatch.setattr(trainers.training, "build_network", broken)
    assert launch(study, places, address=INLINE, quiet=True).failed == 2
    monkeypatch.undo()
    assert {run.info.status for run in by_kind(places, "trial")} == {"FAILED"}
    assert "free lunch" in by_kind(places, "trial")[0].data.tags["dicestudy.reason"]
    again = launch(study, places, address=INLINE, quiet=True)
    assert (again.started, again.failed) == (0, 2)
    assert "free lunch" in status("small", places)["failures"][0]["reason"]
    retried = launch(study, places, address=INLINE, retry_failed=True, quiet=True)
    assert (retried.started, retried.done, retried.failed) == (2, 2, 0)
    assert {run.info.status for run in by_kind(places, "trial")} == {"FINISHED"}
    assert len(by_kind(places, "trial")) == 2


def test_a_second_launch_at_the_same_time_says_who_runs_it(study, places):
    busy = pytest.raises(BusyError, match="study small is being written by process")
    with writing(places.storage.study("small"), "study small"), busy:
        launch(study, places, address=INLINE, quiet=True)


def test_a_trial_lost_halfway_is_told_as_stopped_and_goes_on(study_text, places):
    study = parse_study(study_text.replace("phi: [I, BI]", "phi: I").replace("[1.0e-7, v_hat]", "1.0e-7"))
    launch(study, places, address=INLINE, quiet=True)
    key = make_plan(study, places.storage).trials[0].key
    before = (places.storage.trial(key) / "cases.csv").read_bytes()
    # As after a kill between the last checkpoint and the ending.
    (places.storage.trial(key) / RESULT_FILE).unlink()
    assert make_plan(study, places.storage).as_dict()["to_run"] == 1
    assert launch(study, places, address=INLINE, quiet=True).started == 1
    assert (places.storage.trial(key) / "cases.csv").read_bytes() == before
    assert len(by_kind(places, "trial")) == 2


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("http://127.0.0.1:9", "does not answer"),
        ("postgresql://u:secret@127.0.0.1:9/x", "does not answer"),
        ("ftp://somewhere", "unknown kind of store 'ftp'"),
        ("sqlite:////etc/hostname/x.db", "its folder cannot be written to"),
    ],
)
def test_an_unreachable_store_is_refused_and_nothing_is_written(study, tmp_path, store, words):
    from study.storage.folders import Storage
    from study.storage.locations import Places

    with pytest.raises(InputError, match=words) as caught:
        launch(study, Places(store, Storage(tmp_path / "storage")), address=INLINE, quiet=True)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_does_not_fit_the_data_is_refused(study_text, places):
    with pytest.raises(InputError, match="9 is more than the 8 training cases"):
        launch(parse_study(study_text.replace("batch_size: 2", "batch_size: 9")), places, address=INLINE, quiet=True)


def test_a_trial_without_memory_is_tried_once_more_alone_where_asked(study_text, places):
    text = study_text.replace("phi: [I, BI]", "phi: I").replace("eps: [1.0e-7, v_hat]", "eps: v_hat")
    networks = "[tiny, {name: tiny, features: [8, 1000000000]}]"
    text = text.replace("labeling: [full, partial]", f"labeling: full\n    network: {networks}")
    ended = launch(parse_study(text + "resources: {retry_alone: true}"), places, address=INLINE, quiet=True)
    assert (ended.done, ended.failed) == (1, 1)
    (result,) = places.storage.root.glob("trials/*/result.json.failed")
    again = load_result(result.parent)
    assert again.ending == "out_of_memory"
    assert status("small", places)["failures"][0]["reason"].startswith("out of memory at batch size 2")
