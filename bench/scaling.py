"""Many trials: hosts that share them, and whether the thousandth costs what the first did.

    python -m bench.scaling hosts        # 1, 2 and 3 hosts, trials that take a fixed time
    python -m bench.scaling thousand     # near-empty trials through Ray, the storage and MLflow on PostgreSQL

``hosts`` needs root and network namespaces. Its trials sleep for most of their time, since all hosts share the two
cores of one machine; efficiency is the sum of the trials' times / (hosts × time from the first start to the last end).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.faults import IMPORTED
from bench.overhead import STUDY
from study.launching import launch
from study.places import Places
from study.plan import make_plan
from study.reader import parse_study
from study.storage import EPOCHS_FILE, Storage
from tests.cluster import Cluster, cluster
from tests.services import mlflow_server, postgres
from trainers.outcome import RESULT_FILE

SLEEP = 12.0
"""Seconds that a trial of ``hosts`` sleeps before it trains."""
ROUNDS = 5
"""Trials of ``hosts`` for each host."""
BLOCK = 100
"""Trials whose mean time is compared, at the beginning and at the end."""


def hosts() -> None:
    print("| hosts | trials | seconds from the first start to the last end | efficiency |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="dicestudy-scaling-", dir="/var/tmp") as name:
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


def thousand(trials: int) -> None:
    with tempfile.TemporaryDirectory() as name, postgres() as database:
        folder = Path(name)
        (folder / "artifacts").mkdir()
        study = parse_study(STUDY.format(name="thousand", trials=trials))
        with mlflow_server(database.uri, folder / "artifacts") as server:
            places = Places(server.address, Storage(folder / "storage"))
            with _memory() as seen:
                ended = launch(study, places, quiet=True)
        assert ended.done == trials, ended
        ends = sorted(path.stat().st_mtime for path in places.storage.root.glob(f"trials/*/{RESULT_FILE}"))
        assert len(list(places.storage.root.glob(f"trials/*/{EPOCHS_FILE}"))) == trials
    first = (ends[2 * BLOCK] - ends[BLOCK]) / BLOCK
    last = (ends[-1] - ends[-BLOCK - 1]) / BLOCK
    quarter = len(seen) // 4
    early, late = max(seen[quarter : 2 * quarter]), max(seen[3 * quarter :])
    print(
        f"{trials} near-empty trials: {first:.3f} s a trial in the second hundred, {last:.3f} s in the last "
        f"(ratio {last / first:.2f}); the driver's memory {early:.0f} MiB in the second quarter, {late:.0f} MiB in the "
        f"last (ratio {late / early:.2f})"
    )


@contextmanager
def _memory() -> Iterator[list[float]]:
    """This process's memory [MiB], every second."""
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(1):
            seen.append(psutil.Process().memory_info().rss / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=["hosts", "thousand"])
    parser.add_argument("--trials", type=int, default=1000)
    given = parser.parse_args()
    started = time.monotonic()
    hosts() if given.part == "hosts" else thousand(given.trials)
    print(f"({time.monotonic() - started:.0f} s in all)", file=sys.stderr)


if __name__ == "__main__":
    main()
