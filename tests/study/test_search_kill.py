"""A search whose driver is killed at any moment, and launched again: it goes on with what it knew."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from mlflow import MlflowClient

from study.config.load import parse_study
from study.search.optuna_storage import open_optuna_study
from study.search.search_source import KEYS
from study.storage.folders import Storage
from study.storage.locations import Places
from study.storage.suggestions import SuggestionRecord

pytestmark = [pytest.mark.engine, pytest.mark.long]

SPACES = {
    "tpe": "{loss: [dice, iou], phi: I, eps: {from: 0.001 v_hat, to: v_hat}, batch_size: 4, labeling: partial}",
    # Wide, so that no slice is done before the last kill.
    "transition": "{loss: dice, phi: I, eps: {from: 1e-9 v_hat, to: 1000 v_hat}, batch_size: [1, 2, 4],"
    " labeling: partial}",
}
STUDY = """
name: killed
data: {{source: phantom, train: 4, test: 4}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: 2, lr: 5.0e-3}}
search: {{strategy: {strategy}, trials: 30, references: 1, space: {space}}}
"""
KILLS = 5
# The driver itself, run inline: a cluster around it dies with it, and only takes longer to come back.
DRIVER = """
import sys
from pathlib import Path
from study.commands.launch import INLINE, launch
from study.storage.locations import Places
from study.config.load import load
from study.storage.folders import Storage
from trainers import trial
run, log = trial.run_trial, open(sys.argv[4], "a")
def logged(spec, data, folder, *rest):
    result = run(spec, data, folder, *rest)
    print(spec.key, file=log, flush=True)
    return result
trial.run_trial = logged
ended = launch(load(sys.argv[1]), Places(sys.argv[2], Storage(Path(sys.argv[3]))), address=INLINE, quiet=True)
"""


@pytest.mark.parametrize("strategy", SPACES)
def test_killed_at_random_five_times(strategy, tmp_path):
    text = STUDY.format(strategy=strategy, space=SPACES[strategy])
    (tmp_path / "study.yaml").write_text(text)
    study = parse_study(text)
    places = Places(f"sqlite:///{tmp_path / 'mlflow.db'}", Storage(tmp_path / "storage"))
    log = tmp_path / "trained"
    log.touch()
    command = [
        *(sys.executable, "-c", DRIVER, str(tmp_path / "study.yaml"), places.store),
        *(str(places.storage.root), str(log)),
    ]
    record = SuggestionRecord.of(study, places.storage)
    rng = random.Random(strategy)
    kills, known = 0, set()
    while True:
        driver = subprocess.Popen(command, stderr=subprocess.PIPE)
        if kills < KILLS:
            # Somewhere within a trial or two after it has asked for the next.
            before, deadline = len(record.epochs()), time.monotonic() + 120
            while driver.poll() is None and len(record.epochs()) <= before and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 1.0))
        if kills < KILLS and driver.poll() is None:
            driver.send_signal(signal.SIGKILL)
            kills += 1
        error = driver.communicate()[1].decode()
        asked = set(record.epochs())
        assert known <= asked  # it goes on with what it knew
        known = asked
        if driver.returncode == 0:
            break
        assert driver.returncode == -signal.SIGKILL, error
    assert kills == KILLS

    finished = Counter(log.read_text().split())
    assert max(finished.values()) == 1  # no trial was trained to its end twice
    with open_optuna_study(study, places) as memory:
        trials = memory.get_trials()
    assert not [trial for trial in trials if not trial.state.is_finished()]
    keys = [key for trial in trials for key in trial.user_attrs[KEYS]]
    assert len(keys) == len(set(keys))
    # By its result: a kill may come between that and the line in the log.
    over = {path.parent.name for path in places.storage.root.glob("trials/*/result.json")}
    assert set(finished) <= over
    assert over & known == set(keys)
    client = MlflowClient(places.store)
    runs = client.search_runs([client.get_experiment_by_name("killed").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    counts = Counter(run.data.tags["dicestudy.key"] for run in runs if run.data.tags["dicestudy.kind"] == "trial")
    assert set(counts) == over
    assert max(counts.values()) == 1
    lines = [json.loads(line)["key"] for line in record.path.read_text().splitlines()]
    assert len(lines) == len(set(lines))
