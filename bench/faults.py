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
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient

from study.engine.jobs import ENDED, JobServer
from study.launching import INLINE, launch
from study.places import Places
from study.plan import make_plan
from study.reader import parse_study
from study.records import sync
from study.storage import Storage, read_epochs
from tests.cluster import OUTSIDE, Cluster, cluster
from tests.services import Postgres, TrackingServer, free_port, mlflow_server, postgres
from trainers.outcome import CASES_FILE, load_result

STUDY = """
name: {name}
data: {{source: phantom, train: 16, test: 8}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: {epochs}, lr: {lr}, clip: 0.1, validate_every: 10}}
seeds: 3
search:
  space: {{loss: dice, phi: [I, BI], eps: 1.0e-7, batch_size: 2, labeling: partial}}
"""
EPOCHS, TRIALS = 40, 6
LIMIT = 600.0
"""Seconds that a row may take."""
INJECTED = Path(__file__).parent / "injected"
"""Put on the hosts' import path: makes one trial raise, or be killed, where a file on the storage says so."""
IMPORTED = os.pathsep.join([str(INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])])


@dataclass
class Bench:
    """Everything that a row can lay hands on."""

    cluster: Cluster
    database: Postgres
    server: TrackingServer
    storage: Storage
    restart_server: Callable[[], None]
    name: str = ""
    jobs: list[str] = field(default_factory=list)
    store: str = ""

    @property
    def text(self) -> str:
        """The row's study."""
        return STUDY.format(name=self.name, epochs=EPOCHS, lr="1.0e+30" if self.name == "nan" else "5.0e-3")

    @property
    def places(self) -> Places:
        """Where its records are, as seen from outside."""
        return Places(self.store, self.storage)

    def submit(self) -> None:
        """Launch the study as a job."""
        file = self.cluster.folder / f"{self.name}.yaml"
        file.write_text(self.text)
        command = [
            *(sys.executable, "-m", "study.cli", "launch", str(file), "--detach", "--json"),
            *("--address", self.cluster.address, "--store", self.store, "--storage", str(self.storage.root)),
        ]
        ended = subprocess.run(command, env=self.cluster.environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(ended.stderr)
        self.jobs.append(json.loads(ended.stdout)["id"])

    def state(self) -> str:
        """Of the latest job; FAILED where the head that knew it is gone."""
        try:
            return JobServer(self.cluster.address).state(self.jobs[-1])
        except Exception:
            return "FAILED"

    def last_words(self) -> str:
        """Of the latest job."""
        try:
            return JobServer(self.cluster.address).words(self.jobs[-1]).strip().rpartition("\n")[2]
        except Exception:
            return "the head that ran it is gone"

    def until_training(self, epochs: int = 5) -> None:
        """Wait until every worker trains."""
        specs = make_plan(parse_study(self.text), self.storage).trials

        def training() -> bool:
            begun = [len(read_epochs(self.storage.trial(spec.key))) for spec in specs]
            return sum(count >= epochs for count in begun) >= len(self.cluster.workers)

        self.cluster.wait(training, LIMIT)

    def until_ended(self) -> str:
        """Wait until the latest job has ended; its state."""
        self.cluster.wait(lambda: self.state() in ENDED, LIMIT)
        return self.state()


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


def unhurt(bench: Bench) -> None:
    """Nothing is done to it."""


def worker_killed(bench: Bench) -> None:
    """A worker host is killed."""
    bench.until_training()
    bench.cluster.act("kill", 3)


def two_killed(bench: Bench) -> None:
    """Two worker hosts are killed at once."""
    bench.until_training()
    bench.cluster.act("kill", 2)
    bench.cluster.act("kill", 3)


def head_killed(bench: Bench) -> None:
    """The head is killed and started again; the study is launched again."""
    bench.until_training()
    bench.cluster.act("kill", 1)
    bench.cluster.restart_all()


def driver_killed(bench: Bench) -> None:
    """The launch gets SIGKILL, and is launched again."""
    bench.until_training()
    bench.cluster.kill_driver()


def cut_short(bench: Bench) -> None:
    """A worker host is cut off for 20 s."""
    _cut(bench, 20)


def cut_long(bench: Bench) -> None:
    """A worker host is cut off for 90 s."""
    _cut(bench, 90)


def _cut(bench: Bench, seconds: float) -> None:
    bench.until_training()
    bench.cluster.act("cut", 2)
    time.sleep(seconds)
    bench.cluster.act("mend", 2)


def preempted(bench: Bench) -> None:
    """A worker host gets SIGTERM, and SIGKILL 10 s later."""
    bench.until_training()
    bench.cluster.terminate(2, 10)


def server_killed(bench: Bench) -> None:
    """MLflow is killed, and back after a minute."""
    bench.until_training()
    bench.server.kill()
    time.sleep(60)
    bench.restart_server()


def database_restarted(bench: Bench) -> None:
    """PostgreSQL is stopped as by a crash, and started again."""
    bench.until_training()
    bench.database.kill()
    time.sleep(5)
    bench.database.start()


def server_erratic(bench: Bench) -> None:
    """MLflow answers one request in five with 500, half of those after it has obeyed; one in fifty waits for 35 s."""
    bench.until_training()  # all of it behind the proxy that ``measure`` puts before the server


def storage_full(bench: Bench) -> None:
    """The storage is full for 30 s."""
    bench.until_training()
    filler = bench.storage.root / "filler"
    try:
        with filler.open("wb") as file:
            while True:
                file.write(bytes(2**20))
    except OSError:
        pass
    time.sleep(30)
    filler.unlink()


def checkpoint_truncated(bench: Bench) -> None:
    """The study is stopped, a checkpoint truncated by hand, and the study launched again."""
    folder = _stop(bench)
    path = folder / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def journal_torn(bench: Bench) -> None:
    """The study is stopped, a journal gets a torn last line, and the study is launched again."""
    folder = _stop(bench)
    with (folder / "epochs.jsonl").open("a") as file:
        file.write('{"epoch": 1000, "time": 17')


def _stop(bench: Bench) -> Path:
    """Stop the launch; the folder of a trial that has begun."""
    bench.until_training()
    (bench.storage.study(bench.name) / "stop").touch()
    bench.until_ended()
    begun = [path.parent for path in bench.storage.root.glob("trials/*/checkpoint.pt")]
    return next(folder for folder in sorted(begun) if load_result(folder) is None)


def raises(bench: Bench) -> None:
    """One trial raises an exception."""
    _inject(bench, "raise")


def killed_for_memory(bench: Bench) -> None:
    """One trial allocates memory until it is killed, each time."""
    _inject(bench, "allocate")


def _inject(bench: Bench, what: str) -> None:
    key = make_plan(parse_study(bench.text), bench.storage).trials[1].key
    (bench.storage.root / "inject.json").write_text(json.dumps({key: what}))


def nan(bench: Bench) -> None:
    """Every trial's loss becomes NaN (a learning rate of 1e30)."""


ROWS: dict[str, Callable[[Bench], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(unhurt, worker_killed, two_killed, head_killed, driver_killed, cut_short, cut_long, preempted),
        *(server_killed, database_restarted, server_erratic, storage_full, checkpoint_truncated, journal_torn),
        *(raises, nan, killed_for_memory),
    )
}
BEFORE = ("raises", "killed-for-memory")
"""Rows whose fault is laid before the launch."""


def run_row(bench: Bench, name: str) -> Row:
    """One fault: launch, hit, launch again where the launch died, and compare."""
    bench.name, begun = name, time.monotonic()
    bench.jobs.clear()
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
    return _judge(bench, hit.__doc__ or "", time.monotonic() - begun)


def _left(bench: Bench) -> bool:
    return bool(make_plan(parse_study(bench.text), bench.storage).to_run) and "memory" not in bench.name


def _judge(bench: Bench, fault: str, seconds: float) -> Row:
    study = parse_study(bench.text)
    plan = make_plan(study, bench.storage)
    with tempfile.TemporaryDirectory() as name:
        calm = Places(f"sqlite:///{name}/mlflow.db", Storage(Path(name)))
        launch(study, calm, address=INLINE, quiet=True)
        done = [key for key, result in plan.results.items() if "injected" not in result.reason]
        alike = sum(_bits(bench.storage, key) == _bits(calm.storage, key) for key in done)
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


class Erratic(BaseHTTPRequestHandler):
    """A proxy that passes requests on, and sometimes fails before or after, or is slow."""

    target = ""
    chance = random.Random(0)
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        draw = self.chance.random()
        if self.path != "/health" and draw < 0.02:
            time.sleep(35)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        if self.path != "/health" and 0.1 <= draw < 0.2:
            self._answer(500, b"{}")
            return
        answer = requests.request(self.command, self.target + self.path, data=body, headers=headers, timeout=120)
        if self.path != "/health" and 0.2 <= draw < 0.3:
            self._answer(500, b"{}")
            return
        self._answer(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))

    def _answer(self, code: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


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
        port = free_port()

        def start_server() -> TrackingServer:
            artifacts = folder / "artifacts"
            artifacts.mkdir(exist_ok=True)
            return servers.enter_context(mlflow_server(database.uri, artifacts, port, host=OUTSIDE))

        bench = Bench(hosts, database, start_server(), Storage(root), lambda: None)

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
            row = run_row(bench, name)
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
    given = parser.parse_args()
    rows = measure(given.names or list(ROWS), lambda row: print(table([row]).splitlines()[-1], flush=True))
    print(table(rows))
    if given.output:
        text = given.output.read_text()
        before, _, rest = text.partition("| fault |")
        after = rest.partition("\n\n")[2]
        given.output.write_text(f"{before}{table(rows)}\n\n{after}")


if __name__ == "__main__":
    main()
