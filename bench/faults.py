"""Faults injected into a real study on several hosts, with MLflow on PostgreSQL behind HTTP: what is lost or doubled.

    python -m bench.faults [NAME …] [-o docs/faults.md]

Needs root, network namespaces and PostgreSQL. Each row is a study of six trials, launched as a Ray job from outside
the hosts, hit while its trials train, and launched again where its launch died. It is then held against the same
study run undisturbed in one process: figures, per-case tables and the loss of every epoch must be the same bits.
Lost epochs are those that the tracking server lacks in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from bench.erratic import Erratic
from bench.injuries import BEFORE, ROWS, TRIALS, Bench
from study.commands.launch import INLINE, launch
from study.commands.sync import sync
from study.config.load import parse_study
from study.planning.plan import make_plan
from study.storage.folders import Storage
from study.storage.journal import read_epochs
from study.storage.locations import Places
from tests.cluster import OUTSIDE, cluster
from tests.services import TrackingServer, free_port, mlflow_server, postgres
from trainers.result import CASES_FILE, load_result

INJECTED = Path(__file__).parent / "injected"
"""Put on the hosts' import path: makes one trial raise, or be killed, where a file on the storage says so."""
IMPORTED = os.pathsep.join([str(INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])])


@dataclass(frozen=True)
class Row:
    """What became of a study: figures of the table."""

    fault: str
    finished: int
    endings: str
    runs: int
    doubles: int
    running: int
    lost_epochs: int
    same: str
    launches: int
    seconds: float


def run_row(bench: Bench, name: str, calm: Storage) -> Row:
    """One fault: launch, hit, launch again where the launch died, and compare with what ran undisturbed."""
    bench.name, begun = name, time.monotonic()
    bench.jobs.clear()
    bench.orders.unlink(missing_ok=True)
    hit = ROWS[name]
    if name in BEFORE:
        hit(bench)
    bench.submit()
    if name not in BEFORE:
        hit(bench)
    while (state := bench.until_ended()) != "SUCCEEDED" and len(bench.jobs) < 3 and _left(bench):
        print(f"  launch {len(bench.jobs)} ended {state}: {bench.last_words()}", file=sys.stderr, flush=True)
        bench.submit()
    troubled = sync(name, bench.places)["troubled"]
    if troubled:
        print(f"  sync: {troubled}", file=sys.stderr, flush=True)
    return _judge(bench, calm, hit.__doc__ or "", time.monotonic() - begun)


def _left(bench: Bench) -> bool:
    return bool(make_plan(parse_study(bench.text), bench.storage).to_run) and "memory" not in bench.name


def _judge(bench: Bench, calm: Storage, fault: str, seconds: float) -> Row:
    study = parse_study(bench.text)
    plan = make_plan(study, bench.storage)
    # What is there already stays: most rows have the same trials.
    launch(study, Places(f"sqlite:///{calm.root}/mlflow.db", calm), address=INLINE, quiet=True)
    done = [key for key, result in plan.results.items() if "injected" not in result.reason]
    alike = sum(_bits(bench.storage, key) == _bits(calm, key) for key in done)
    client = MlflowClient(bench.store)
    experiment = client.get_experiment_by_name(bench.name).experiment_id
    runs = [
        run
        for run in client.search_runs([experiment], max_results=1000)
        if run.data.tags.get("dicestudy.kind") == "trial"
    ]
    keys = Counter(run.data.tags["dicestudy.key"] for run in runs)
    lost = 0
    for run in runs:
        there = {entry.step for entry in client.get_metric_history(run.info.run_id, "train.loss")}
        lost += len(
            {record["epoch"] for record in read_epochs(bench.storage.trial(run.data.tags["dicestudy.key"]))} - there
        )
    endings = Counter(run.data.tags["dicestudy.state"] + _ending(plan, run) for run in runs)
    return Row(
        fault=fault,
        finished=len(plan.results),
        endings=", ".join(f"{count} {name.lower()}" for name, count in sorted(endings.items())),
        runs=len(runs),
        doubles=len(runs) - len(keys),
        running=sum(run.info.status == "RUNNING" for run in runs),
        lost_epochs=lost,
        same=f"{alike} of {len(done)}",
        launches=len(bench.jobs),
        seconds=seconds,
    )


def _ending(plan: Any, run: Any) -> str:
    result = plan.results.get(run.data.tags["dicestudy.key"])
    return f" ({result.ending})" if result is not None and result.state == "FAILED" else ""


def _bits(storage: Storage, key: str) -> tuple[Any, ...]:
    """Everything of a trial that does not depend on when and where it ran."""
    result = load_result(storage.trial(key))
    losses = [record["metrics"] for record in read_epochs(storage.trial(key))]
    # As text: NaN equals itself there.
    cases = storage.trial(key) / CASES_FILE
    return (
        result and (result.state, result.ending, repr(result.metrics), result.counts),
        repr(losses),
        cases.exists() and cases.read_bytes(),
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    head = (
        "fault",
        "trials finished",
        "endings",
        "runs",
        "doubles",
        "left running",
        "lost epochs",
        "same bits",
        "launches",
        "s",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = (
            *(row.fault.rstrip("."), f"{row.finished} of {TRIALS}", row.endings, row.runs, row.doubles, row.running),
            *(row.lost_epochs, row.same, row.launches, f"{row.seconds:.0f}"),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def measure(names: list[str], say: Callable[[Row], None]) -> list[Row]:
    """Run the named rows one after the other on one cluster."""
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dicestudy-faults-", dir="/var/tmp")))
        root = folder / "storage"
        root.mkdir()
        # Of a size that can be filled.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(root)], check=True)
        stack.callback(subprocess.run, ["umount", "--lazy", str(root)], check=False)
        extra = {"PYTHONPATH": IMPORTED, "DICESTUDY_INJECT": str(root / "inject.json")}
        hosts = stack.enter_context(cluster(folder, extra=extra))
        hosts.start_all()
        database = stack.enter_context(postgres())
        servers = stack.enter_context(ExitStack())
        calm = Storage(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        port = free_port()

        def start_server() -> TrackingServer:
            artifacts = folder / "artifacts"
            artifacts.mkdir(exist_ok=True)
            return servers.enter_context(mlflow_server(database.uri, artifacts, port, host=OUTSIDE))

        orders = root / "inject.json"
        bench = Bench(hosts, database, start_server(), Storage(root), lambda: None, orders)

        def restart() -> None:
            bench.server = start_server()

        bench.restart_server = restart
        proxy = ThreadingHTTPServer((OUTSIDE, free_port()), Erratic)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        stack.callback(proxy.shutdown)
        for name in names:
            Erratic.target = bench.server.address
            erratic = f"http://{OUTSIDE}:{proxy.server_port}"
            bench.store = erratic if name == "server-erratic" else bench.server.address
            # Of its own: trials on a storage are shared by all studies, and this one's shall not be done already.
            bench.storage = Storage(root / name)
            row = run_row(bench, name, calm)
            rows.append(row)
            say(row)
            for host in hosts.workers:
                hosts.act("mend", host)
            if hosts.size() < len(hosts.workers) + 1:
                hosts.restart_all()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ROWS, []], help="rows; all without")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file whose table is replaced")
    parser.add_argument("--json", type=Path, help="file for the rows as JSON")
    given = parser.parse_args()
    rows = measure(given.names or list(ROWS), lambda row: print(table([row]).splitlines()[-1], flush=True))
    print(table(rows))
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows]))
    if given.output:
        text = given.output.read_text()
        before, _, rest = text.partition("| fault |")
        after = rest.partition("\n\n")[2]
        given.output.write_text(f"{before}{table(rows)}\n\n{after}")


if __name__ == "__main__":
    main()
