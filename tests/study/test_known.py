"""Answers that are kept on the storage: read while no trial has ended since, and the same as computed anew."""

import shutil
from dataclasses import replace

import pytest

from study.commands import cached_answers as known
from study.commands.answers import best, table, transition_map, trials
from study.commands.cached_answers import KEPT, StudyResults
from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.execution.inline import InlineEngine
from study.storage.folders import Storage
from study.storage.locations import Places
from study.tracking import reader as query
from study.tracking.client import open_client
from study.tracking.reader import read_tables
from study.tracking.row_cache import KEPT_ROWS


def answers_of(study, places):
    return (
        best(study, goal="dice", places=places),
        best(study, pareto=("dsc.A.tumor", "dsc.B.tumor"), places=places),
        table(study, places),
        transition_map(study, places),
    )


@pytest.fixture
def anew(tmp_path):
    """The same store, read without what is kept: from a copy of the storage without it."""

    def find(places):
        other = tmp_path / "anew"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(places.storage.root, other)
        for kept in other.glob(f"studies/*/{KEPT}"):
            shutil.rmtree(kept)
        for kept in other.glob(f"studies/*/{KEPT_ROWS}"):
            kept.unlink()
        return replace(places, storage=Storage(other))

    return find


def test_after_a_launch_answers_are_read_and_no_trial_is(study, places, anew, monkeypatch):
    launch(study, places, address=INLINE, quiet=True)
    computed = answers_of("small", anew(places))

    def refuse(*_):
        raise AssertionError("the trials were read")

    monkeypatch.setattr(known, "read_tables", refuse)
    assert answers_of("small", places) == computed


def test_what_ended_since_is_read_on_top_of_what_is_kept(study_text, places, anew, monkeypatch):
    study = parse_study(study_text + "seeds: 2\n")
    asked = []
    read = query.all_runs
    monkeypatch.setattr(query, "MARGIN_MS", 0)

    def count(client, experiment, where):
        runs = list(read(client, experiment, where))
        asked.append(len(runs))
        return iter(runs)

    run_trials, checked = InlineEngine.run_trials, []

    def look_on(self, supply, given):
        def hear(event):
            given.listen(event)
            if event.kind == "ended" and len(checked) < 3:
                checked.append(event.key)

        run_trials(self, supply, replace(given, listen=hear, should_stop=lambda: len(checked) == 3))

    monkeypatch.setattr(InlineEngine, "run_trials", look_on)
    launch(study, places, address=INLINE, quiet=True)
    read_tables("small", places)
    monkeypatch.setattr(query, "all_runs", count)
    first = read_tables("small", places)
    assert len(first.trials) == 3
    assert asked[0] < 3  # only the last to end
    monkeypatch.undo()
    launch(study, places, address=INLINE, quiet=True)
    assert len(read_tables("small", places).trials) == 16
    assert answers_of("small", places) == answers_of("small", anew(places))


def test_a_trial_that_runs_again_is_left_out_meanwhile(study, places):
    launch(study, places, address=INLINE, quiet=True)
    tables = read_tables("small", places)
    client = open_client(places.store)
    experiment = client.get_experiment_by_name("small").experiment_id
    run = client.search_runs([experiment], "tags.`dicestudy.kind` = 'trial'", max_results=1)[0]
    key = run.data.tags["dicestudy.key"]
    client.update_run(run.info.run_id, status="RUNNING")
    client.set_tag(run.info.run_id, "dicestudy.state", "RUNNING")
    less = read_tables("small", places)
    assert set(tables.trials["key"]) - set(less.trials["key"]) == {key}
    assert key not in set(less.cases["key"])
    client.set_tag(run.info.run_id, "dicestudy.state", "DONE")
    client.set_terminated(run.info.run_id)
    again = read_tables("small", places)
    assert again.trials.equals(tables.trials)
    assert again.cases.equals(tables.cases)


def test_what_is_damaged_or_of_other_code_is_computed_anew(finished, tmp_path, monkeypatch):
    places = Places(finished.store, Storage(tmp_path / "storage"))
    shutil.copytree(finished.storage.root, places.storage.root)
    wanted = answers_of("small", places)
    for path in places.storage.study("small").glob(f"{KEPT}/*/*/*"):
        path.write_bytes(path.read_bytes()[:20])
    (places.storage.study("small") / KEPT_ROWS).write_bytes(b"PAR1")
    assert answers_of("small", places) == wanted
    monkeypatch.setattr(known, "hash_of_code", lambda *_: "other")
    assert answers_of("small", places) == wanted
    assert len(list((places.storage.study("small") / KEPT).iterdir())) == 1


def test_a_storage_that_cannot_be_written_to_keeps_nothing(finished, tmp_path):
    places = Places(finished.store, Storage(tmp_path / "storage"))
    shutil.copytree(finished.storage.root, places.storage.root)
    wanted = answers_of("small", finished)
    folder = places.storage.study("small")
    shutil.rmtree(folder / KEPT)
    (folder / KEPT_ROWS).unlink(missing_ok=True)
    # Root may write everywhere, but nobody can write below a file, or put one in a folder's place.
    (folder / KEPT).touch()
    (folder / KEPT_ROWS).mkdir()
    assert answers_of("small", places) == wanted
    assert StudyResults("small", places).trials.entries([0]) == trials("small", places=places)[:1]
