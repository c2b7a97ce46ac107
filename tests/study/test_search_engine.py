"""Searches on Ray Tune itself: trials asked for while others run, ended early, and told to Optuna."""

import pytest
from mlflow import MlflowClient

from study.commands.answers import best, transition_map, trials
from study.commands.launch import launch
from study.config.load import parse_study
from study.search.optuna_storage import open_optuna_study
from study.search.search_source import KEYS
from study.storage.suggestions import SuggestionRecord
from trainers.result import PRUNED_REASON

pytestmark = pytest.mark.engine

STUDY = """
name: sought
data: {{source: phantom, train: 8, test: 6}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: {epochs}, clip: 0.1}}
search: {{strategy: {strategy}, trials: {trials}, {options}, space: {space}}}
"""


def looked_at(study, places):
    with open_optuna_study(study, places) as memory:
        return memory.get_trials()


def test_trials_behind_the_others_are_ended_early(places):
    # A learning rate of 1e-6 finds nothing: whoever draws one is behind.
    space = "{loss: dice, phi: I, eps: 1.0e-7, lr: {from: 1.0e-6, to: 2.0e-2}, batch_size: 2, labeling: full}"
    options = "goal: dice, early_stopping: median"
    study = parse_study(STUDY.format(strategy="random", trials=16, epochs=8, options=options, space=space))
    ended = launch(study, places, quiet=True)
    assert ended.done + ended.failed == ended.trials == 16
    assert ended.lost == 0
    early = [trial for trial in trials("sought", places=places) if trial["reason"].startswith(PRUNED_REASON)]
    assert len(early) == ended.failed > 0
    states = [trial.state.name for trial in looked_at(study, places)]
    assert (states.count("PRUNED"), states.count("COMPLETE")) == (len(early), 16 - len(early))
    again = launch(study, places, quiet=True)
    assert (again.started, again.failed) == (0, len(early))


@pytest.mark.parametrize("strategy", ["nsga2", "transition"])
def test_what_a_search_asked_for_is_run_once_and_told(strategy, places):
    space = (
        "{loss: dice, phi: I, eps: {from: 1.0e-3 v_hat, to: 10 v_hat}, batch_size: 2, lr: 5.0e-3, labeling: partial}"
    )
    study = parse_study(STUDY.format(strategy=strategy, trials=9, epochs=2, options="references: 1", space=space))
    ended = launch(study, places, quiet=True)
    assert (ended.done, ended.failed, ended.lost) == (9, 0, 0)
    asked = SuggestionRecord.of(study, places.storage).epochs()
    assert len(asked) == 8  # and the reference
    told = looked_at(study, places)
    assert {trial.state.name for trial in told} == {"COMPLETE"}
    assert [key for trial in told for key in trial.user_attrs[KEYS]] == list(asked)
    client = MlflowClient(places.store)
    runs = client.search_runs([client.get_experiment_by_name("sought").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sum(run.data.tags["dicestudy.kind"] == "trial" for run in runs) == 9
    assert best("sought", goal="dice", places=places)
    assert transition_map("sought", places)["slices"]
