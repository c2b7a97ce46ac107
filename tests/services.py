"""Programs that some tests run beside themselves: a database, a tracking server, a browser."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import requests

SYSTEM_USER = "postgres"
"""Whom Debian's package makes; PostgreSQL refuses to run as root."""
DATABASE_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB")
SECONDS_TO_START = 90

BROWSER_FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
"""A browser that asks the network for nothing but what the page wants."""


def free_port() -> int:
    """A port of the loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Postgres:
    """A PostgreSQL of our own. ``uri`` names its first database; ``password`` is in it."""

    programs: Path
    folder: Path
    port: int
    password: str

    @property
    def uri(self) -> str:
        return self._uri("postgres")

    def new_database(self, name: str) -> str:
        """The URI of a new, empty database."""
        self._run("createdb", "--host", "127.0.0.1", "--port", str(self.port), "--username", "tester", name)
        return self._uri(name)

    def start(self) -> None:
        """Run until stopped; returns when it takes connections."""
        places = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder}"
        options = " ".join([places, *(f"-c {setting}" for setting in DATABASE_SETTINGS)])
        log = self.folder / "log"
        try:
            self._control("start", "--log", str(log), "--timeout", str(SECONDS_TO_START), "--options", options)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.read_text() if log.exists() else ''}") from None

    def kill(self) -> None:
        """End it at once, as a crash would; ``start`` recovers."""
        self._control("stop", "--mode", "immediate")

    @property
    def running(self) -> bool:
        return (self.folder / "data" / "postmaster.pid").exists()

    def _uri(self, database: str) -> str:
        return f"postgresql://tester:{self.password}@127.0.0.1:{self.port}/{database}"

    def _control(self, action: str, *arguments: str) -> None:
        self._run("pg_ctl", action, "--wait", "--silent", "--pgdata", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        user = ["setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--init-groups"] if _is_root() else []
        command = [*user, str(self.programs / program), *arguments]
        # Into a file and not a pipe: the server would inherit the pipe, and reading it would never end.
        with (self.folder / "output").open("w+") as output:
            code = subprocess.run(
                command,
                cwd=self.folder,
                env=os.environ | {"PGPASSWORD": self.password},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
            output.seek(0)
            if code:
                raise RuntimeError(f"{program} ended with exit code {code}: {output.read()}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new PostgreSQL on the loopback, gone at the end; skips the test where it is not installed."""
    programs = _postgres_programs()
    with TemporaryDirectory(prefix="dicestudy-postgres-", dir="/tmp" if _is_root() else None) as name:
        folder = Path(name)
        server = Postgres(programs, folder, free_port(), secrets.token_hex(16))
        secret = folder / "password"
        secret.touch(0o600)
        secret.write_text(server.password)
        if _is_root():
            for path in (folder, secret):
                shutil.chown(path, SYSTEM_USER, SYSTEM_USER)
        server._run(
            *("initdb", "--pgdata", str(folder / "data"), "--username", "tester", "--pwfile", str(secret)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"),
        )
        server.start()
        try:
            yield server
        finally:
            if server.running:
                server.kill()


@dataclass
class TrackingServer:
    """MLflow's server at ``address``."""

    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it and its workers at once, as a crash would."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def mlflow_server(
    store: str, artifacts: Path, port: int | None = None, password: str | None = None, host: str = "127.0.0.1"
) -> Iterator[TrackingServer]:
    """MLflow's server over ``store``, gone at the end with all its processes; its log lies beside ``artifacts``.

    password: of its user ``admin``, whom it then asks for.
    """
    port = port or free_port()
    address = f"http://{host}:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port)),
        *("--artifacts-destination", artifacts.resolve().as_uri()),
        *(("--app-name", "basic-auth") if password else ()),
    ]
    # In the environment and not in the arguments, which every user of the machine can read.
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": store,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    if password:
        environment |= _accounts(artifacts.parent, password)
    log = artifacts.parent / f"mlflow-server-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    server = TrackingServer(address, process)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _is_healthy(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the MLflow server does not answer at {address}:\n{log.read_text()}")
            time.sleep(0.2)
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        server.kill()


def _accounts(folder: Path, password: str) -> dict[str, str]:
    """Settings of a server with one user, from the file that the image has."""
    text = (Path(__file__).parent.parent / "docker" / "mlflow-auth.ini").read_text()
    settings = folder / "accounts.ini"
    settings.write_text(text.replace("sqlite:////data/", f"sqlite:///{folder}/"))
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }


def chromium() -> str:
    """Path of the browser; skips the test where it is not installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    pytest.skip("needs a browser: apt-get install chromium")


def _postgres_programs() -> Path:
    pytest.importorskip("psycopg", reason="needs PostgreSQL's driver: pip install psycopg[binary]")
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    for folder in [*known, *([Path(on_path).resolve().parent] if on_path else [])]:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "createdb")):
            return folder
    pytest.skip("needs PostgreSQL: apt-get install postgresql")


def _is_root() -> bool:
    return os.geteuid() == 0


def _is_healthy(address: str) -> bool:
    try:
        return requests.get(f"{address}/health", timeout=5).ok
    except requests.RequestException:
        return False


@dataclass
class Service:
    """``dicestudy serve`` at ``address``; ``log``: what it has printed so far."""

    address: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()


@contextmanager
def dicestudy_service(store: str, storage: Path, log: Path, *options: str, **environment: str) -> Iterator[Service]:
    """The REST service on these records, gone at the end with its workers."""
    port = free_port()
    names = {"DICESTUDY_STORE": store, "DICESTUDY_STORAGE": str(storage), **environment}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DICESTUDY_")}
    command = [sys.executable, "-m", "study.cli", "serve", "--port", str(port), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=kept | names, stdout=output, stderr=subprocess.STDOUT)
    service = Service(f"http://127.0.0.1:{port}", process, log)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            with suppress(requests.RequestException):
                if requests.get(f"{service.address}/healthz", timeout=5).ok:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service does not answer at {service.address}:\n{service.log}")
            time.sleep(0.05)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
