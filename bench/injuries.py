"""A study on several hosts, and what can be done to it while it runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from study.config.load import parse_study
from study.execution.ray_jobs import ENDED, JobServer
from study.planning.plan import make_plan
from study.storage.folders import Storage
from study.storage.journal import read_epochs
from study.storage.locations import Places
from tests.cluster import Cluster
from tests.services import Postgres, TrackingServer
from trainers.result import load_result

STUDY = """
name: {name}
data: {{source: phantom, train: 16, test: 8}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: {epochs}, lr: {lr}, clip: 0.1, validate_every: 10}}
seeds: 3
search:
  space: {{loss: dice, phi: [I, BI], eps: 1.0e-7, batch_size: 2, labeling: partial}}
"""
EPOCHS, TRIALS = 30, 6
LIMIT = 600.0
"""Seconds that a row may take."""


@dataclass
class Bench:
    """Everything that a row can lay hands on."""

    cluster: Cluster
    database: Postgres
    server: TrackingServer
    storage: Storage
    restart_server: Callable[[], None]
    orders: Path
    """What ``bench.injected`` reads."""
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
        places = ("--store", self.store, "--storage", str(self.storage.root))
        self.jobs.append(json.loads(self.dicestudy("launch", str(file), "--detach", "--json", *places))["id"])

    def dicestudy(self, *command: str) -> str:
        """Run a command from outside the hosts, where only the cluster's address is known."""
        ended = subprocess.run(
            [sys.executable, "-m", "study.cli", *command, "--address", self.cluster.address],
            env=self.cluster.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(ended.stderr)
        return ended.stdout

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


def storage_read_only(bench: Bench) -> None:
    """The storage is read-only for 30 s."""
    bench.until_training()
    subprocess.run(["chattr", "-f", "-R", "+i", str(bench.storage.root)], check=False)
    time.sleep(30)
    subprocess.run(["chattr", "-f", "-R", "-i", str(bench.storage.root)], check=False)


def storage_away(bench: Bench) -> None:
    """The storage vanishes for a minute, as when its server is away: an empty folder is in its place."""
    bench.until_training()
    root = bench.storage.root
    away, empty = root.with_name(f"{root.name}-away"), root.with_name(f"{root.name}-empty")
    root.rename(away)
    root.mkdir()
    time.sleep(60)
    root.rename(empty)
    away.rename(root)
    if (empty / "trials").exists():
        raise RuntimeError("trials were begun anew in the empty folder")


def stopped(bench: Bench) -> None:
    """The study is followed and stopped from outside the cluster, and launched again."""
    _stop(bench)


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
    found = json.loads(bench.dicestudy("status", bench.name, "--json"))
    if found["state"] != "running" or not found["trials"]["running"]:
        raise RuntimeError(f"the study is said to be {found}")
    bench.dicestudy("stop", bench.name)
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
    bench.orders.write_text(json.dumps({key: what}))


def nan(bench: Bench) -> None:
    """Every trial's loss becomes NaN (a learning rate of 1e30)."""


ROWS: dict[str, Callable[[Bench], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(unhurt, worker_killed, two_killed, head_killed, driver_killed, cut_short, cut_long, preempted),
        *(server_killed, database_restarted, server_erratic, storage_full, storage_read_only),
        *(storage_away, stopped, checkpoint_truncated, journal_torn, raises, nan, killed_for_memory),
    )
}
BEFORE = ("raises", "killed-for-memory")
"""Rows whose fault is laid before the launch."""
