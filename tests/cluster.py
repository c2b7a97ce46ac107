"""Ray on several hosts of this machine, for tests and benchmarks: network namespaces with a folder in common."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

HOSTS = Path(__file__).parent.parent.parent / "shared" / "tools" / "hosts"
NETWORK, OUTSIDE = "10.77.0", "10.77.0.254"
SECONDS_TO_START = 120
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
"""One for all clusters of a process: Ray reads it once."""
OBJECT_STORE = 128 * 2**20


def require_hosts() -> None:
    """Skip the test where hosts cannot be made."""
    if not HOSTS.exists():
        pytest.skip(f"needs a script that makes hosts: {HOSTS}")
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and network namespaces: apt-get install iproute2")
    if Path(sys.prefix).is_relative_to("/tmp"):
        pytest.skip(f"each host has a /tmp of its own, where it does not find {sys.prefix}")


@dataclass
class Cluster:
    """Host 1 is the head, without processors for trials; the others are workers with one each.

    ``environment``: what reaches it, with its token. ``extra``: what its hosts have beside that.
    """

    folder: Path
    workers: tuple[int, ...]
    environment: dict[str, str]
    extra: dict[str, str] = field(default_factory=dict)
    address: str = f"http://{NETWORK}.1:8265"

    def start(self, host: int) -> None:
        """Start Ray on a host, in the background."""
        ip = f"{NETWORK}.{host}"
        role = (
            ["--head", "--num-cpus", "0", "--dashboard-host", ip]
            if host == 1
            else ["--address", f"{NETWORK}.1:6379", "--num-cpus", "1"]
        )
        with (self.folder / f"host-{host}.log").open("ab") as log:
            subprocess.Popen(
                [
                    *(str(HOSTS), "run", str(host), "ray", "start", "--block", "--node-ip-address", ip),
                    *("--object-store-memory", str(OBJECT_STORE), *role),
                ],
                env=self.environment | self.extra,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_all(self) -> None:
        """The head, and the workers once it answers; returns when all are there."""
        self.start(1)
        self.wait(lambda: self._answers("/api/version"))
        for host in self.workers:
            self.start(host)
        self.wait(lambda: self.size() == len(self.workers) + 1)

    def size(self) -> int:
        """Living nodes."""
        answer = self._answers("/nodes?view=summary")
        if answer is None:
            return 0
        nodes = answer.json().get("data", {}).get("summary", [])
        return sum(node.get("raylet", {}).get("state") == "ALIVE" for node in nodes)

    def act(self, what: str, host: int) -> None:
        """kill, cut or mend a host."""
        subprocess.run([str(HOSTS), what, str(host)], check=True)

    def terminate(self, host: int, notice: float) -> None:
        """SIGTERM to all that runs on a host, and SIGKILL to what is left after ``notice`` [s]."""
        for pid in self.processes(host):
            _signal(pid, signal.SIGTERM)
        time.sleep(notice)
        self.act("kill", host)

    def processes(self, host: int) -> list[int]:
        """Everything that runs on a host."""
        found = subprocess.run(["ip", "netns", "pids", f"dice{host}"], capture_output=True, text=True, check=True)
        return [int(pid) for pid in found.stdout.split()]

    def kill_driver(self) -> None:
        """SIGKILL to the launch that runs as a job on the head."""
        for pid in self.processes(1):
            with suppress(FileNotFoundError, ProcessLookupError):  # gone by itself
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"launch" in command and any(part.endswith(b"dicestudy") for part in command):
                    _signal(pid, signal.SIGKILL)

    def restart_all(self) -> None:
        """End Ray on every host and start it again."""
        for host in (1, *self.workers):
            self.act("kill", host)
        time.sleep(1)
        self.start_all()

    def wait(self, condition, seconds: float = SECONDS_TO_START):
        """Wait until a condition holds; gives what it gave."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("host-*.log"))
                raise RuntimeError(f"waited {seconds:.0f} s in vain\n{logs}")
            time.sleep(0.3)
        return found

    def _answers(self, path: str) -> requests.Response | None:
        token = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        try:
            answer = requests.get(self.address + path, headers=token, timeout=5)
        except requests.RequestException:
            return None
        return answer if answer.ok else None


@contextmanager
def cluster(folder: Path, workers: int = 3, extra: dict[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster on new hosts, gone at the end; ``folder`` must not lie under /tmp, of which each host has its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DICESTUDY_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    # The hosts have fixed names and addresses: one user of them at a time.
    with Path("/tmp/hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([str(HOSTS), "down"], check=False, stderr=subprocess.DEVNULL)
        subprocess.run([str(HOSTS), "up", str(workers + 1)], check=True)
        # This process asks the cluster for its jobs.
        before = {name: os.environ.get(name) for name in TOKEN}
        os.environ.update(TOKEN)
        try:
            yield Cluster(folder, tuple(range(2, workers + 2)), environment, extra or {})
        finally:
            subprocess.run([str(HOSTS), "down"], check=False)
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # gone by itself
        os.kill(pid, number)
