"""Many trials: hosts that share them, and whether the last costs what the first did.

    python -m bench.scaling hosts        # 1, 2 and 3 hosts, trials that take a fixed time
    python -m bench.scaling many         # near-empty trials through Ray, the storage and MLflow on PostgreSQL
    python -m bench.scaling many --trials 10000 --strategy tpe --store sqlite --untrained    # the driver's part alone

``hosts`` needs root and network namespaces. Its trials sleep for most of their time, since all hosts share the two
cores of one machine; efficiency is the sum of the trials' times / (hosts × time from the first start to the last end).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

import trainers.trial
from bench.faults import IMPORTED
from bench.overhead import STUDY
from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.planning.plan import make_plan
from study.storage.folders import Storage
from study.storage.journal import EPOCHS_FILE
from study.storage.locations import Places
from tests.cluster import Cluster, cluster
from tests.services import mlflow_server, postgres
from trainers.assignment import assign_cases
from trainers.data.prepared.read import PreparedData
from trainers.metrics import score_case, summarise
from trainers.result import RESULT_FILE, TrialResult, save_result
from trainers.spec import TrialSpec
from trainers.trial import Report

SLEEP = 12.0
"""Seconds that a trial of ``hosts`` sleeps before it trains."""
ROUNDS = 5
"""Trials of ``hosts`` for each host."""
SEEDS = 5
"""Trials of a grid's cell."""
GRID = """
name: many
data: {{source: phantom, train: 4, test: 2}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: 1, lr: 1.0e-3}}
seeds: {seeds}
search:
  space: {{loss: dice, phi: I, eps: {{from: 1.0e-6, to: 1.0e+6, points: {cells}}}, batch_size: 4, labeling: partial}}
"""
TPE = """
name: many
data: {{source: phantom, train: 4, test: 2}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: 1, lr: 1.0e-3}}
search:
  strategy: tpe
  goal: dice
  trials: {trials}
  references: 0
  space: {{loss: [dice, iou], phi: [I, BI], eps: {{from: 1.0e-3, to: 1.0e+3}}, batch_size: [2, 4], labeling: partial}}
"""


def hosts() -> None:
    print("| hosts | trials | seconds from the first start to the last end | efficiency |\n|---|---|---|---|")
    with TemporaryDirectory(prefix="dicestudy-scaling-", dir="/var/tmp") as name:
        folder = Path(name)
        extra = {"PYTHONPATH": IMPORTED, "DICESTUDY_INJECT": str(folder / "inject.json")}
        (folder / "inject.json").write_text(json.dumps({"*": f"last {SLEEP}"}))
        for count in (1, 2, 3):
            with cluster(folder, count, extra) as there:
                there.start_all()
                _run(there, f"hosts-{count}", count)


def _run(there: Cluster, name: str, count: int) -> None:
    trials = ROUNDS * count
    file, storage = there.folder / f"{name}.yaml", Storage(there.folder / name)
    file.write_text(STUDY.format(name=name, trials=trials))
    command = [
        *(sys.executable, "-m", "study.cli", "launch", str(file), "--quiet"),
        *("--address", there.address, "--storage", str(storage.root)),
    ]
    subprocess.run(command, env=there.environment, check=True)
    keys = [spec.key for spec in make_plan(parse_study(file.read_text()), storage).trials]
    ends = [(storage.trial(key) / RESULT_FILE).stat().st_mtime for key in keys]
    # A trial's first word is its spec.
    starts = [(storage.trial(key) / "spec.json").stat().st_mtime for key in keys]
    busy = sum(end - start for start, end in zip(starts, ends, strict=True))
    seconds = max(ends) - min(starts)
    print(f"| {count} | {trials} | {seconds:.1f} | {busy / (count * seconds):.2f} |", flush=True)


def many(trials: int, strategy: str, kind: str, *, trained: bool) -> None:
    with TemporaryDirectory() as name, STORES[kind](Path(name)) as store:
        study = parse_study(
            GRID.format(seeds=SEEDS, cells=trials // SEEDS) if strategy == "grid" else TPE.format(trials=trials)
        )
        places = Places(store, Storage(Path(name) / "storage"))
        with _memory() as seen:
            begun = time.time()
            ended = launch(study, places, address=None if trained else INLINE, quiet=True)
            returned = time.time()
        assert ended.done == trials, ended
        ends = sorted(path.stat().st_mtime for path in places.storage.root.glob(f"trials/*/{RESULT_FILE}"))
        assert len(list(places.storage.root.glob(f"trials/*/{EPOCHS_FILE}"))) == trials
    block = trials // 10
    first = (ends[2 * block] - ends[block]) / block
    last = (ends[-1] - ends[-block - 1]) / block
    early = max(used for when, used in seen if ends[block] <= when <= ends[2 * block])
    late = max(used for when, used in seen if ends[-block - 1] <= when <= ends[-1])
    kind_of = "near-empty" if trained else "untrained"
    print(
        f"{trials} {kind_of} trials ({strategy}, {kind}): {first:.3f} s each in the second tenth and {last:.3f} s in "
        f"the last (ratio {last / first:.2f}), the driver's memory {early:.0f} and {late:.0f} MiB there (ratio "
        f"{late / early:.2f}); the first ended {ends[0] - begun:.0f} s after the launch began, and the last "
        f"{returned - ends[-1]:.0f} s before everything of it was in the store"
    )


def _end_at_once(
    spec: TrialSpec, data: PreparedData, folder: Path, report: Report = lambda _: None, device: str = "cpu"
) -> TrialResult:
    """A trial without its training: an epoch, a score for each held-out case, and its ending."""
    given = assign_cases(spec, data.table)
    report({"epoch": 1, "time": time.time(), "metrics": {"train.loss": 0.5}})
    hidden = given.hidden
    scores = [
        score
        for index in given.held_out
        for score in score_case(data.cases[index], data.classes, [90], [100], [100], hidden[index].tolist(), 1.0)
    ]
    result = TrialResult(
        spec.key, "DONE", metrics=summarise(scores, spec.empty), v_hat=given.v_hat, eps_voxels=given.eps, device=device
    )
    save_result(folder, result, scores)
    return result


@contextmanager
def _sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'mlflow.db'}"


@contextmanager
def _served_postgres(folder: Path) -> Iterator[str]:
    (folder / "artifacts").mkdir()
    with postgres() as database, mlflow_server(database.uri, folder / "artifacts") as server:
        yield server.address


STORES = {"sqlite": _sqlite, "postgres": _served_postgres}


@contextmanager
def _memory() -> Iterator[list[tuple[float, float]]]:
    """This process's memory [MiB] every half second, with the time."""
    seen: list[tuple[float, float]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            seen.append((time.time(), psutil.Process().memory_info().rss / 2**20))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=["hosts", "many"])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--strategy", choices=["grid", "tpe"], default="grid")
    parser.add_argument("--store", choices=list(STORES), default="postgres")
    parser.add_argument("--untrained", action="store_true", help="trials that end at once, in this process")
    given = parser.parse_args()
    started = time.monotonic()
    if given.part == "hosts":
        hosts()
    else:
        if given.untrained:
            trainers.trial.run_trial = _end_at_once
        many(given.trials, given.strategy, given.store, trained=not given.untrained)
    print(f"({time.monotonic() - started:.0f} s in all)", file=sys.stderr)


if __name__ == "__main__":
    main()
