"""The service under load: a study of 10,000 trials in PostgreSQL, asked 50 times a second while studies run.

python -m bench.service [--trials 10000] [--rate 50] [--seconds 20]

One trial is delivered to the store as a launch does; the rows of the others are copied from its rows, with their own
settings and figures, since delivering all takes an hour. Meanwhile trials of the large study go on ending, and the
service runs a small study that was posted to it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import requests

from bench.large_store import STUDY_NAME, end_one, fill
from study.storage.folders import Storage
from study.storage.locations import Places
from tests.services import free_port, postgres
from trainers.locks import writing

SMALL = """name: beside
data: {source: phantom, train: 24, test: 12}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 20, lr: 5.0e-3}
search:
  space: {loss: dice, phi: [I, BI], eps: [1.0e-7, v_hat], batch_size: [2, 4], labeling: [full, partial]}
resources: {cpus: 1, concurrent: 1}
"""
QUESTIONS = (
    {"goal": "ignore"},
    {"goal": "empty", "top": "10"},
    {"goal": "dice", "top": "20"},
    {"goal": "ignore", "where": "eps>1 and phi=='I'"},
    {"metric": "dsc.A.tumor"},
)
ENDING_S = 2.0
"""Between two trials of the large study that end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="dicestudy-bench-") as name, postgres() as database:
        places = Places(database.new_database("large"), Storage(Path(name) / "storage"))
        begun = time.perf_counter()
        waiting = fill(places, given.trials)
        print(f"{given.trials} trials in the store after {time.perf_counter() - begun:.0f} s", flush=True)
        with Service(places, Path(name)) as service:
            measure(service, places, waiting, given.rate, given.seconds)


class Service:
    """``dicestudy serve`` as a process."""

    def __init__(self, places: Places, folder: Path) -> None:
        self.port, token = free_port(), secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        self.headers = {"Authorization": f"Bearer {token}"}
        environment = {"DICESTUDY_STORE": places.store, "DICESTUDY_STORAGE": str(places.storage.root)}
        self._environment = os.environ | environment | {"DICESTUDY_TOKEN": token}
        self._log = folder / "service.log"

    def __enter__(self) -> Service:
        begun = time.perf_counter()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "study.cli", "serve", "--port", str(self.port)],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        while True:
            try:
                requests.get(f"{self.url}/healthz", timeout=1).raise_for_status()
                break
            except requests.ConnectionError:
                time.sleep(0.02)
        took, used = time.perf_counter() - begun, psutil.Process(self.process.pid).cpu_times()
        print(f"answers {took:.2f} s after its start, {used.user + used.system:.2f} s of them at work")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def use(self) -> str:
        """Resident memory [MiB] and processor time [s] of the service and its workers."""
        own = psutil.Process(self.process.pid)
        workers = [each for each in own.children(recursive=True) if "study.service.worker" in " ".join(each.cmdline())]
        parts = []
        for each in (own, *workers):
            memory, used = each.memory_info().rss / 2**20, each.cpu_times()
            parts.append((memory, f"{memory:.0f} MiB {used.user + used.system:.1f} s"))
        said = "".join(f", a worker {text}" for _, text in parts[1:])
        return f"{sum(memory for memory, _ in parts):.0f} MiB: itself {parts[0][1]}{said}"

    def best(self, question: dict[str, str]) -> requests.Response:
        """The answer to one question."""
        return requests.get(f"{self.url}/studies/{STUDY_NAME}/best", params=question, headers=self.headers, timeout=120)


def measure(service: Service, places: Places, waiting: list[str], rate: float, seconds: float) -> None:
    time.sleep(3)
    print(f"idle: {service.use()}", flush=True)
    for question in QUESTIONS:
        begun = time.perf_counter()
        while (answer := service.best(question)).status_code == 503:
            time.sleep(1)
        answer.raise_for_status()
        print(f"first answer to {question}: {time.perf_counter() - begun:.1f} s", flush=True)
    print(f"with the study read: {service.use()}")
    stop = threading.Event()
    with writing(places.storage.study(STUDY_NAME), "the bench"):
        ends = threading.Thread(target=end_trials, args=(places, waiting, stop))
        ends.start()
        headers = service.headers | {"Content-Type": "application/yaml"}
        requests.post(f"{service.url}/studies", data=SMALL, headers=headers, timeout=120).raise_for_status()
        wait_until_running(service)
        print(
            f"load of the machine: {', '.join(f'{value:.1f}' for value in os.getloadavg())} on {os.cpu_count()} cores"
        )
        try:
            found = load(service, rate, seconds)
        finally:
            stop.set()
            ends.join()
            requests.delete(f"{service.url}/studies/beside/run", headers=service.headers, timeout=120)
    took = np.array([entry[0] for entry in found]) * 1000
    print(
        f"{len(found)} requests at {rate:g}/s: p50 {np.percentile(took, 50):.1f} ms, p95 {np.percentile(took, 95):.1f} "
        f"ms, p99 {np.percentile(took, 99):.1f} ms, longest {took.max():.0f} ms; statuses "
        f"{dict(Counter(entry[1] for entry in found))}; oldest answer {max(entry[2] for entry in found)} s; "
        f"versions seen {len({entry[3] for entry in found})}"
    )
    print(f"after the load: {service.use()}")


def load(service: Service, rate: float, seconds: float) -> list[tuple[float, int, int, str]]:
    """Ask at a fixed rate, whether answers come or not: seconds from when a request was due, status, age, tag."""
    sessions = threading.local()
    start = time.perf_counter() + 0.2

    def ask(number: int) -> tuple[float, int, int, str]:
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        if not hasattr(sessions, "own"):
            sessions.own = requests.Session()
        question = QUESTIONS[number % len(QUESTIONS)]
        answer = sessions.own.get(
            f"{service.url}/studies/{STUDY_NAME}/best", params=question, headers=service.headers, timeout=60
        )
        took = time.perf_counter() - due
        tag = answer.headers.get("ETag", "") if question == QUESTIONS[0] else ""
        return took, answer.status_code, int(answer.headers.get("Age", "0")), tag

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(ask, range(int(rate * seconds))))


def wait_until_running(service: Service) -> None:
    while True:
        answer: dict[str, Any] = requests.get(
            f"{service.url}/studies/beside", headers=service.headers, timeout=60
        ).json()
        if answer.get("state") == "running" and answer["trials"]["running"]:
            return
        time.sleep(0.5)


def end_trials(places: Places, waiting: list[str], stop: threading.Event) -> None:
    while waiting and not stop.wait(ENDING_S):
        end_one(places, waiting.pop())


if __name__ == "__main__":
    main()
