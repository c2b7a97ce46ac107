"""Searches as supplies of trials: what they ask, what they are told, and what a killed driver leaves."""

import json
from dataclasses import replace

import optuna
import pytest

from study.config.load import parse_study
from study.config.search_space import TrialMaker, read_space, representative_settings
from study.planning.plan import make_plan
from study.search.optuna_storage import open_optuna_study, optuna_url
from study.search.references import reference_trials
from study.search.search_source import KEYS, open_search
from study.storage.folders import Storage
from study.storage.journal import Journal
from study.storage.locations import Places
from study.storage.suggestions import SuggestionRecord
from trainers.errors import InputError
from trainers.result import TrialResult, save_result

SEEK = """
name: seek
data: {source: phantom, train: 8, test: 6}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 1}
search:
  strategy: tpe
  trials: 12
  goal: ignore
  references: 1
  space:
    loss: [dice, tversky, ce]
    loss.alpha: {from: 0.1, to: 0.9, log: false}
    phi: [I, BI]
    eps: {from: 1.0e-3 v_hat, to: 10 v_hat}
    lr: {from: 1.0e-3, to: 1.0e-2}
    batch_size: [2, 4]
    labeling: partial
"""
SMALL = """
name: few
data: {source: phantom, train: 8, test: 6}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 1}
search:
  strategy: random
  trials: 12
  references: 1
  space: {loss: [dice, ce], phi: [I, BI], eps: v_hat, batch_size: [2, 4], labeling: partial}
"""
CROSS = """
name: cross
data: {source: phantom, train: 8, test: 6}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 1}
search:
  strategy: transition
  trials: 40
  references: 1
  space:
    {loss: dice, phi: I, eps: {from: 1.0e-3, to: 1.0e+3}, batch_size: [2, 4], labeling: partial}
"""


def maker(study):
    return TrialMaker(study, lambda data: data.model_dump_json())


def search(study, places, announce=lambda spec: None):
    return open_search(study, places, maker(study), announce, lambda specs: [(None, 100.0)] * len(specs))


def ended(spec, places, **metrics):
    """Leave a result where a trial would."""
    figures = {"dsc.A.tumor": 0.9, "dsc.B.tumor": 0.8, "retention.tumor": 0.9, "auc.tumor": 0.5} | {
        name.replace("__", "."): value for name, value in metrics.items()
    }
    result = TrialResult(spec.key, "DONE", metrics=figures, seconds=1.0)
    save_result(places.storage.trial(spec.key), result)
    return result


def run_out(supply, places, most=100, **metrics):
    """Run a supply to its end; the trials in order."""
    given = []
    while len(given) < most and (spec := supply.next()) is not None:
        given.append(spec)
        supply.tell(spec.key, ended(spec, places, **metrics))
    return given


def held(study, places):
    with open_optuna_study(study, places) as memory:
        return memory.get_trials()


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_a_search_asks_for_as_many_as_it_may_and_none_twice(strategy, places):
    study = parse_study(SEEK.replace("tpe", strategy))
    with search(study, places) as supply:
        given = run_out(supply, places)
        assert supply.over
    assert len(given) == len({spec.key for spec in given}) == 12
    assert [str(spec.labeling) for spec in given] == ["full"] + ["partial"] * 11
    states = [trial.state for trial in held(study, places)]
    assert states == [optuna.trial.TrialState.COMPLETE] * 11


def test_phi_eps_and_the_loss_s_own_parameters_come_only_where_they_apply(places):
    study = parse_study(SEEK.replace("tpe", "random").replace("trials: 12", "trials: 40"))
    with search(study, places) as supply:
        run_out(supply, places)
    for trial in held(study, places):
        loss = trial.params["loss"]
        assert ("eps" in trial.params) == ("phi" in trial.params) == (loss != "ce")
        assert ("loss.alpha" in trial.params) == (loss == "tversky")
        assert "labeling" not in trial.params  # one value is no choice


def test_values_told_are_those_of_the_goal_and_finite(places):
    study = parse_study(SEEK)
    with search(study, places) as supply:
        run_out(supply, places, most=2)  # the reference, and one
        spec = supply.next()
        supply.tell(spec.key, TrialResult(spec.key, "FAILED", "out_of_memory", "out of memory"))
        spec = supply.next()
        supply.tell(spec.key, TrialResult(spec.key, "FAILED", "diverged", "diverged at step 3"))
        spec = supply.next()
        supply.tell(spec.key, ended(spec, places, dsc__A__tumor=0.1, dsc__B__tumor=0.2))
    told = [(trial.state.name, trial.value, trial.user_attrs["outcome"]) for trial in held(study, places)]
    assert told == [
        ("COMPLETE", pytest.approx(0.8), "ignores"),
        ("FAIL", None, "failed"),  # memory says nothing of the goal
        ("COMPLETE", 0.0, "diverged"),
        ("COMPLETE", 0.0, "collapsed"),  # under half of what full labeling reached
    ]


def test_several_goals_for_nsga2(places):
    study = parse_study(SEEK.replace("tpe", "nsga2").replace("goal: ignore", "goal: [emptied, labelled, auc]"))
    with search(study, places) as supply:
        run_out(supply, places)
    assert {tuple(trial.values) for trial in held(study, places)} == {(0.8, 0.9, 0.5)}


def test_a_lost_memory_is_told_what_the_storage_knows(places, tmp_path):
    study = parse_study(SEEK)
    elsewhere = Places(f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}", places.storage)
    with search(study, elsewhere) as supply:
        first = run_out(supply, elsewhere)
    heard = []
    with search(study, places, lambda spec: heard.append(spec.key)) as supply:
        again = run_out(supply, places)
        assert supply.over
    assert again == []
    assert {spec.key for spec in first} == set(heard)
    assert [trial.params for trial in held(study, places)] == [trial.params for trial in held(study, elsewhere)]
    assert {trial.state.name for trial in held(study, places)} == {"COMPLETE"}


def test_what_is_done_already_is_told_and_not_run(places):
    """Another study has run some of the settings that this one comes to."""
    study = parse_study(SMALL)
    done = [maker(study).trial(setting) for setting in representative_settings(read_space(study).spaces[0])]
    for spec in done:
        ended(spec, places)
    with search(study, places) as supply:
        given = run_out(supply, places)
    assert not {spec.key for spec in given} & {spec.key for spec in done}
    told = {key for trial in held(study, places) for key in trial.user_attrs[KEYS]}
    assert told >= {spec.key for spec in done}


@pytest.mark.parametrize("text", [SEEK, CROSS], ids=["tpe", "transition"])
def test_a_killed_driver_s_trials_are_asked_for_again_under_the_same_keys(text, places):
    study = parse_study(text)
    supply = search(study, places)
    entered = supply.__enter__()
    run_out(entered, places, most=4)
    lost = [entered.next() for _ in range(3)]
    finished = lost.pop()
    ended(finished, places)  # over, but its driver was killed before it heard
    entered.release_running = lambda: None  # killed: nothing is put in order
    supply.__exit__(None, None, None)
    assert [trial.state.name for trial in held(study, places)].count("RUNNING") == 3

    with search(study, places) as supply:
        again = run_out(supply, places)
        assert supply.over
    assert [spec.key for spec in again[:2]] == [spec.key for spec in lost]
    assert finished.key not in {spec.key for spec in again}
    trials = held(study, places)
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    keys = [key for trial in trials for key in trial.user_attrs[KEYS]]
    assert len(keys) == len(set(keys))
    assert {finished.key, *(spec.key for spec in lost)} <= set(keys)


def test_a_driver_killed_between_telling_optuna_and_writing_the_list(places):
    study = parse_study(SEEK)
    supply = search(study, places)
    entered = supply.__enter__()
    run_out(entered, places, most=3)
    lost = entered.next()
    entered.release_running = lambda: None
    supply.__exit__(None, None, None)
    record = SuggestionRecord.of(study, places.storage)
    lines = record.path.read_text().splitlines(keepends=True)
    assert json.loads(lines[-1])["key"] == lost.key
    record.path.write_text("".join(lines[:-1]))

    with search(study, places) as supply:
        again = run_out(supply, places)
    assert again[0].key == lost.key
    listed = [spec.key for spec in record.read()]
    assert len(listed) == len(set(listed))
    assert set(listed) == {key for trial in held(study, places) for key in trial.user_attrs[KEYS]}


def test_a_stopped_search_leaves_nothing_running(places):
    study = parse_study(SEEK)
    with search(study, places) as supply:
        run_out(supply, places, most=3)
        left = supply.next()
        supply.tell(left.key, None)
    assert [trial.state.name for trial in held(study, places)] == ["COMPLETE", "COMPLETE", "WAITING"]
    with search(study, places) as supply:
        assert supply.next().key == left.key


def test_several_seeds_and_folds_make_one_setting(places):
    study = parse_study(SEEK.replace("references: 1", "references: 0") + "seeds: 2\nfolds: 2\n")
    with search(study, places) as supply:
        given = run_out(supply, places)
    assert len(given) == 12
    assert len({spec.cell for spec in given}) == 3 == len(held(study, places))


def test_a_small_space_is_exhausted(places):
    study = parse_study(SMALL)
    with search(study, places) as supply:
        given = run_out(supply, places)
        assert supply.over
    assert len(given) == 1 + 6  # a reference; I and BI, and ce, at two batch sizes


def test_drivers_of_one_store_share_what_they_know(places, tmp_path):
    study = parse_study(SEEK)
    other = replace(places, storage=Storage(tmp_path / "elsewhere"))
    other.storage.make()
    with search(study, places) as mine, search(study, other) as theirs:
        run_out(mine, places, most=4)
        running = theirs.next()  # their reference
        running = theirs.next() if running.labeling.name == "full" else running
        assert running is not None
        run_out(mine, places, most=2)
        with open_optuna_study(study, places) as memory:
            by_place = {trial.user_attrs["storage"] for trial in memory.get_trials()}
    assert by_place == {str(places.storage.root.resolve()), str(other.storage.root.resolve())}


def test_transition_finds_the_crossing_and_stops(places):
    study = parse_study(CROSS)
    with search(study, places) as supply:
        given = []
        while (spec := supply.next()) is not None:
            given.append(spec)
            crossing = 3.0 if spec.batch_size == 2 else 8.0
            kept = 0.9 if spec.labeling.name == "full" or spec.loss.eps.amount < crossing else 0.1
            supply.tell(spec.key, ended(spec, places, retention__tumor=kept))
        assert supply.over
        located = supply.memory.sampler.slice_states(supply.memory.get_trials())
    assert len(given) < 36
    assert [str(spec.labeling) for spec in given].count("full") == 2  # one for each batch size
    for found, truth in zip(located, (3.0, 8.0), strict=True):
        assert 10**found.located.low <= truth <= 10**found.located.high
        assert found.located.width <= 0.5
    seeds = [(spec.batch_size, spec.seed) for spec in given if spec.labeling.name == "partial"]
    assert len(seeds) == len(set(seeds))


def test_transition_begins_no_trial_while_those_that_run_are_likely_to_be_enough(places):
    study = parse_study(CROSS.replace("[2, 4]", "2").replace("1.0e+3", "1.0e+1"))

    def kept(spec):
        return 0.9 if spec.labeling.name == "full" or spec.loss.eps.amount < 0.3 else 0.1

    with search(study, places) as supply:
        running, most = [], []
        while not supply.over:
            while len(running) < 16 and (spec := supply.next()) is not None:
                running.append(spec)
            most.append(len(running))
            spec = running.pop(0)
            supply.tell(spec.key, ended(spec, places, retention__tumor=kept(spec)))
        (found,) = supply.memory.sampler.slice_states(supply.memory.get_trials())
    assert most[0] == 16
    waited = [count for count in most if count < 16]
    assert len(waited) > 8  # some workers were let go before the end
    assert not running
    assert found.located.width <= 0.5


def test_what_was_running_is_asked_for_again_at_once_though_it_is_likely_to_be_enough(places):
    study = parse_study(CROSS.replace("[2, 4]", "2").replace("1.0e+3", "1.0e+1").replace("trials: 40", "trials: 90"))
    with search(study, places) as supply:
        before = [spec.key for spec in iter(supply.next, None)]
    with search(study, places) as supply:
        after = [spec.key for spec in iter(supply.next, None)]
    assert len(before) > 10
    assert set(before) <= set(after)


def test_a_driver_waits_for_no_other_s_trials(places, tmp_path):
    study = parse_study(CROSS.replace("[2, 4]", "2").replace("trials: 40", "trials: 90").replace("1.0e+3", "1.0e+1"))
    other = Places(places.store, Storage(tmp_path / "other"))
    other.storage.make()
    with search(study, places) as mine:
        given = list(iter(mine.next, None))
        assert 10 < len(given) < 80  # no more is wanted of what is known
        with search(study, other) as theirs:
            first, second = theirs.next(), theirs.next()
            assert first.labeling.name == "full"  # a storage has references of its own
            assert second is None  # while that one runs
            theirs.tell(first.key, ended(first, other))
            assert theirs.next() is not None


def test_transition_gives_up_where_there_is_no_crossing(places):
    study = parse_study(CROSS.replace("[2, 4]", "2"))
    with search(study, places) as supply:
        given = run_out(supply, places)
        (found,) = supply.memory.sampler.slice_states(supply.memory.get_trials())
    assert len(given) < 15
    assert found.located.inside < 0.02


def test_where_optuna_s_tables_are(places, tmp_path, monkeypatch):
    assert optuna_url(places) == f"sqlite:///{tmp_path / 'optuna.db'}"
    assert optuna_url(replace(places, store="http://server:5000")).endswith("storage/optuna.db")
    url = optuna_url(replace(places, store="postgresql://me:secret@server/db"))
    assert url == "postgresql://me:secret@server/db?options=-csearch_path%3Ddicestudy_optuna"
    monkeypatch.setenv("DICESTUDY_OPTUNA", "sqlite:////tmp/mine.db")
    assert optuna_url(places) == "sqlite:////tmp/mine.db"


def test_a_memory_that_does_not_answer_is_a_clear_refusal(places, monkeypatch):
    monkeypatch.setenv("DICESTUDY_OPTUNA", "postgresql://me:secret@127.0.0.1:9/db")
    with pytest.raises(InputError, match="DICESTUDY_OPTUNA") as caught, search(parse_study(SEEK), places):
        pass
    assert "secret" not in str(caught.value)


def test_the_record_survives_a_torn_line_and_knows_its_search(places):
    study = parse_study(SEEK)
    spec = reference_trials(study, maker(study))[0]
    record = SuggestionRecord.of(study, places.storage)
    record.append(spec, {})
    with record.path.open("a") as file:
        file.write('{"search": "torn')
    assert record.read() == [spec]
    SuggestionRecord.of(study, places.storage).append(spec, {})
    assert [json.loads(line)["key"] for line in record.path.read_text().splitlines()] == [spec.key] * 2
    assert SuggestionRecord.of(parse_study(SEEK.replace("goal: ignore", "goal: dice")), places.storage).read() == []
    assert SuggestionRecord.of(parse_study(SEEK.replace("trials: 12", "trials: 50")), places.storage).read() == [
        spec,
        spec,
    ]


def test_a_plan_says_what_a_search_may_take(places):
    plan = make_plan(parse_study(SEEK), places.storage).as_dict()
    assert (plan["trials"], plan["to_run"]) == (12, 12)


EARLY = SEEK.replace("goal: ignore", "goal: dice\n  early_stopping: {kind}").replace("epochs: 1", "epochs: 9")


def test_a_trial_behind_the_others_is_ended_and_told_so(places):
    study = parse_study(EARLY.replace("{kind}", "median").replace("trials: 12", "trials: 8"))
    with search(study, places) as supply:
        given = []
        while (spec := supply.next()) is not None:
            given.append(spec)
            journal, quality = Journal(places.storage.trial(spec.key)), 0.2 if len(given) == 7 else 0.8
            places.storage.trial(spec.key).mkdir(parents=True)
            for epoch in range(1, 10):
                journal.append({"epoch": epoch, "time": 0.0, "metrics": {"val.dsc.A.tumor": quality}})
                if supply.should_prune(spec.key):
                    supply.tell(spec.key, None)
                    break
            else:
                supply.tell(spec.key, ended(spec, places))
    states = [trial.state.name for trial in held(study, places)]
    assert states == ["COMPLETE"] * 6 + ["PRUNED"] + ["COMPLETE"]
    result = places.storage.result(given[6].key)
    assert (result.state, result.reason[:13]) == ("FAILED", "stopped early")
    with search(study, places) as supply:
        assert supply.over  # it is over, and not run again


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (SEEK.replace("goal: ignore", "early_stopping: asha"), "appears late"),
        (CROSS.replace("trials: 40", "trials: 40\n  early_stopping: median"), "appears late"),
        (EARLY.replace("{kind}", "asha") + "seeds: 2\n", "compares single trainings"),
        (SEEK.replace("goal: ignore", "goal: ignor"), "did you mean 'ignore'"),
        (SEEK.replace("goal: ignore", "goal: [emptied, auc]"), "nsga2 several"),
        (SEEK.replace("  trials: 12\n", ""), "trials is missing"),
        (SEEK.replace("strategy: tpe", "strategy: grid"), "a grid runs all"),
        (SEEK.replace("labeling: partial", "labeling: [full, partial]"), "would always choose"),
        (SEEK.replace("goal: ignore", "precision: 0.2"), "precision is for the transition"),
        (SEEK.replace("from: 1.0e-3, to", "from: 1.0e-3, until"), "fields from, to, and log or points"),
        (SEEK.replace("from: 1.0e-3, to: 1.0e-2", "from: 1.0e-1, to: 1.0e-2"), "lower end first"),
        (CROSS.replace("{from: 1.0e-3, to: 1.0e+3}", "v_hat"), "looked for in a range"),
        (CROSS.replace("[2, 4]", "{from: 2, to: 4}"), "list its values"),
        (CROSS.replace("loss: dice", "loss: [dice, ce]"), "has no ε"),
    ],
)
def test_what_a_search_cannot_do(written, words):
    with pytest.raises(InputError) as caught:
        parse_study(written)
    assert words in str(caught.value)
