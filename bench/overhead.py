"""What a trial costs beyond its training: a study against Ray Tune with its stock MLflow callback.

    python -m bench.overhead [--trials 100]

Both run the same near-empty trials on this machine, two at a time, and record them in an SQLite store of
their own. The peer is what its documentation shows: a function trainable that trains and reports, an
``MLflowLoggerCallback``, all settings left as they are. The training alone is timed in this process and
taken off both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from study.commands.launch import launch
from study.config.load import parse_study
from study.config.spec import StudySpec
from study.execution.ray_cluster import quiet_environment
from study.planning.plan import make_plan
from study.storage.folders import Storage
from study.storage.locations import Places
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.spec import TrialSpec

STUDY = """
name: {name}
data: {{source: phantom, train: 4, test: 2}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: 1, lr: 1.0e-3}}
seeds: {trials}
search:
  space: {{loss: dice, phi: I, eps: 1.0e-7, batch_size: 4, labeling: partial}}
"""


def ours(study: StudySpec, folder: Path) -> float:
    places = Places(f"sqlite:///{folder / 'ours.db'}", Storage(folder / "ours"))
    started = time.perf_counter()
    ended = launch(study, places, quiet=True)
    assert ended.done == ended.trials, ended
    return time.perf_counter() - started


def stock(trials: list[TrialSpec], data: Path, folder: Path) -> float:
    quiet_environment(stock_loggers=True)
    started = time.perf_counter()
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    tuner = tune.Tuner(
        train_and_report,
        param_space={"spec": tune.grid_search([spec.model_dump_json() for spec in trials]), "data": str(data)},
        run_config=tune.RunConfig(
            name="stock",
            storage_path=str(folder / "stock"),
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder / 'stock.db'}", experiment_name="stock")],
        ),
    )
    results = tuner.fit()
    assert not results.errors, results.errors
    seconds = time.perf_counter() - started
    ray.shutdown()
    return seconds


def train_and_report(config: dict[str, Any]) -> None:
    from ray import tune

    from trainers.trial import run_trial

    with tempfile.TemporaryDirectory() as folder:
        spec = TrialSpec.model_validate_json(config["spec"])
        result = run_trial(spec, open_prepared(Path(config["data"])), Path(folder))
        tune.report({f"final_{name}": value for name, value in result.metrics.items()})


def training_alone(trials: list[TrialSpec], data: Path, folder: Path) -> float:
    """Seconds a trial, the imports paid before."""
    from trainers.trial import run_trial

    alone = folder / "alone"
    alone.mkdir()
    for number, spec in enumerate(trials[:11]):
        if number == 1:
            started = time.perf_counter()
        run_trial(spec, open_prepared(data), alone / spec.key)
    return (time.perf_counter() - started) / 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=100)
    count = parser.parse_args().trials
    study = parse_study(STUDY.format(name="overhead", trials=count))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials = list(make_plan(study, Storage(folder / "ours")).trials)
        data = prepare(study.data, folder)
        training = training_alone(trials, data, folder)
        workers = os.cpu_count() or 1
        print(f"{count} near-empty trials, {workers} at a time; a training alone: {training:.3f} s")
        seconds = {"stock": stock(trials, data, folder), "dicestudy": ours(study, folder)}
    beyond = {who: (total / count) - training / workers for who, total in seconds.items()}
    for who, total in seconds.items():
        print(f"{who:10} {total:7.1f} s in all, {total / count:.3f} s a trial, {beyond[who]:.3f} s beyond training")
    print(f"dicestudy / stock, beyond training: {beyond['dicestudy'] / beyond['stock']:.3f} (at most 0.2 is wanted)")


if __name__ == "__main__":
    main()
