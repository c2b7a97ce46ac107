"""A compose file without a container engine: its image built by buildah, its services on network namespaces.

What an engine would do is done here by hand and no more: variables, order by health, a root, a network address, a
host name, volumes and users of their own. The commands, the environment and the checks are the compose file's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services import SYSTEM_USER, _postgres_programs

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
HOSTS = ROOT.parent / "shared" / "tools" / "hosts"
"""A script that makes hosts out of network namespaces, and their addresses."""
NETWORK = "10.77.0"
GATE = "DICESTUDY_TEST_DEPLOYMENT"
IMAGE = "DICESTUDY_TEST_IMAGE"
"""Variable: the name of an image in buildah's storage that was built from the Dockerfile, to be run as it is."""
BASE = "DICESTUDY_TEST_BASE"
"""Variable: the name of an image in buildah's storage with Debian, Python and pip; without it, one is made."""
VOLUMES = "DICESTUDY_TEST_VOLUMES"
"""Variable: volumes for the build, such as pip's settings and certificates, with blanks between them."""
OWNER = 10001
BUILDAH = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}


def require() -> None:
    """Skip the test where an image cannot be built and run."""
    if not os.environ.get(GATE):
        pytest.skip(f"takes minutes and gigabytes: set {GATE}=1")
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts and network namespaces")
    if not HOSTS.exists():
        pytest.skip(f"needs hosts: {HOSTS}")
    missing = [name for name in ("buildah", "ip", "chroot", "unshare", "setpriv") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install buildah iproute2 util-linux")


@dataclass(frozen=True)
class Image:
    """An image as a folder. environment: what its ``ENV`` lines say."""

    root: Path
    environment: dict[str, str]


@contextmanager
def image(target: str, folder: Path) -> Iterator[Image]:
    """Build a target of the Dockerfile and give its files; gone at the end, but for the build's cached layers."""
    tag = os.environ.get(IMAGE) or _build(target, folder)
    container = buildah("from", "--pull-never", tag)
    try:
        inspected = json.loads(buildah("inspect", container))["Docker"]["config"]
        assert inspected["User"] == f"{OWNER}:{OWNER}"
        assert inspected["Healthcheck"]["Test"][0] == "CMD"
        environment = dict(entry.split("=", 1) for entry in inspected["Env"])
        yield Image(Path(buildah("mount", container)), environment)
    finally:
        buildah("umount", container)
        buildah("rm", container)


def _build(target: str, folder: Path) -> str:
    base = os.environ.get(BASE) or _debian(folder)
    volumes = [part for volume in os.environ.get(VOLUMES, "").split() for part in ("--volume", volume)]
    tag = f"localhost/dicestudy:{target}"
    # Docker's own format: the other one knows no healthcheck.
    known = ["--format", "docker", "--pull-never", "--layers", "--build-arg", f"BASE={base}", *volumes]
    buildah("bud", *known, "--file", "docker/Dockerfile", "--target", target, "--tag", tag, ".")
    return tag


def buildah(*words: str) -> str:
    done = subprocess.run(
        ["buildah", *words], cwd=ROOT, env=os.environ | BUILDAH, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"buildah {words[0]} ended with {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout.strip()


def _debian(folder: Path) -> str:
    """A base image from the machine's own Debian source."""
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap: apt-get install debootstrap")
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    root = folder / "debian"
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)], check=True)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(root), "/")
    buildah("commit", "--quiet", container, "localhost/dicestudy-base")
    buildah("rm", container)
    return "localhost/dicestudy-base"


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """``${NAME:-default}`` and ``${NAME:?reason}`` as compose reads them. Raises: ValueError with the reason."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if given := variables.get(name):
            return given
        if kind == ":?":
            raise ValueError(f"required variable {name} is missing a value: {rest}")
        return rest or ""

    lines = (line.split("#")[0] if line.lstrip().startswith("#") else line for line in text.splitlines())
    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, "\n".join(lines))


@dataclass
class Compose:
    """The services of a compose file on hosts of their own; ``addresses`` by name, ``-2`` being a second replica.

    folder: of volumes and logs; not under /tmp, which each host has for itself.
    """

    services: dict[str, Any]
    image: Image
    folder: Path
    addresses: dict[str, str] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def up(self) -> None:
        """Start every service without a profile once all that it needs is healthy, then wait until it is."""
        names = [name for name in self.services if "profiles" not in self.services[name]]
        hosts = [f"{name}-{i}" if i > 1 else name for name in names for i in range(1, self._replicas(name) + 1)]
        self.addresses = {host: f"{NETWORK}.{i}" for i, host in enumerate(hosts, start=1)}
        subprocess.run([str(HOSTS), "up", str(len(hosts))], check=True)
        lines = ["127.0.0.1 localhost", *(f"{address} {host}" for host, address in self.addresses.items())]
        (self.image.root / "etc" / "hosts").write_text("\n".join(lines) + "\n")
        for mount in ("datasets",):
            (self.image.root / mount).mkdir(exist_ok=True)
        while len(self.started) < len(names):
            for name in names:
                if name not in self.started and set(self.services[name].get("depends_on", {})) <= set(self.started):
                    self._start(name)
                    self.started.append(name)

    def down(self) -> None:
        """End every process of every host."""
        subprocess.run([str(HOSTS), "down"], check=False)
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()

    def log(self, host: str) -> str:
        return (self.folder / f"{host}.log").read_text(errors="replace")

    def run(self, host: str, words: Sequence[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command beside the service of a host, with its environment."""
        service = self.services[host.rstrip("-0123456789")]
        return subprocess.run(
            self._command(host, service, words), env=self._environment(service), timeout=timeout,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def _replicas(self, name: str) -> int:
        return int(self.services[name].get("deploy", {}).get("replicas", 1))

    def _start(self, name: str) -> None:
        service = self.services[name]
        for i in range(1, self._replicas(name) + 1):
            host = f"{name}-{i}" if i > 1 else name
            if name == "postgres":
                self._start_postgres(host, service)
                continue
            self._launch(host, self._command(host, service, service["command"]), self._environment(service))
            self._await(host, lambda host=host: self.run(host, service["healthcheck"]["test"][1:]).returncode == 0)

    def _start_postgres(self, host: str, service: dict[str, Any]) -> None:
        """What the image's entry script does, with Debian's PostgreSQL."""
        programs, data = _postgres_programs(), self.folder / "database"
        given = service["environment"]
        secret = self.folder / "password"
        secret.touch(0o600)
        secret.write_text(given["POSTGRES_PASSWORD"])
        data.mkdir(0o700)
        for path in (secret, data):
            shutil.chown(path, SYSTEM_USER, SYSTEM_USER)
        user = ["setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--init-groups"]
        options = given["POSTGRES_INITDB_ARGS"].split()
        subprocess.run(
            [*user, str(programs / "initdb"), "--pgdata", str(data), "--username", given["POSTGRES_USER"],
             "--pwfile", str(secret), "--auth-local=scram-sha-256", "--no-sync", *options],
            cwd=self.folder, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        on_host = [str(HOSTS), "run", self.addresses[host].rpartition(".")[2]]
        places = ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
        self._launch(host, [*on_host, *user, str(programs / "postgres"), "-D", str(data), *places], os.environ)
        check = [*on_host, str(programs / service["healthcheck"]["test"][1]), *service["healthcheck"]["test"][2:]]
        self._await(host, lambda: subprocess.run(check, stdout=subprocess.DEVNULL, check=False).returncode == 0)
        create = [*on_host, str(programs / "createdb"), "--host", "127.0.0.1", "--username", given["POSTGRES_USER"]]
        secret_of = os.environ | {"PGPASSWORD": given["POSTGRES_PASSWORD"]}
        subprocess.run([*create, given["POSTGRES_DB"]], env=secret_of, check=True)

    def _launch(self, host: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with (self.folder / f"{host}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT)
            )

    def _await(self, host: str, healthy: Callable[[], bool], seconds: float = 400) -> None:
        deadline = time.monotonic() + seconds
        while not healthy():
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{host} does not become healthy:\n{self.log(host)[-4000:]}")
            time.sleep(1)

    def _environment(self, service: dict[str, Any]) -> dict[str, str]:
        return self.image.environment | {name: str(value) for name, value in service["environment"].items()}

    def _command(self, host: str, service: dict[str, Any], words: Sequence[str]) -> list[str]:
        """A command in the image's root on a host, with processes, name, /tmp and memory of its own, and volumes."""
        root = self.image.root
        mounts = [f"mount --rbind /dev {root}/dev", f"mount -t tmpfs -o size=1g tmpfs {root}/dev/shm",
                  f"mount -t tmpfs tmpfs {root}/tmp"]  # fmt: skip
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            place = self.folder / "volumes" / Path(source).name
            place.mkdir(parents=True, exist_ok=True)
            os.chown(place, OWNER, OWNER)
            mounts.append(f"mount --bind {place} {root}{target}")
        inside = f'{" && ".join(mounts)} && hostname {host} && exec chroot --userspec={OWNER}:{OWNER} {root} "$@"'
        return [
            *(str(HOSTS), "run", self.addresses[host].rpartition(".")[2]),
            *("unshare", "--uts", "--pid", "--fork", "--kill-child", f"--mount-proc={root}/proc"),
            *("/bin/sh", "-c", inside, "sh", "/usr/bin/env", "--chdir=/data", *words),
        ]


def compose(text: str, variables: Mapping[str, str], built: Image, folder: Path) -> Compose:
    """A compose file's services, ready to start. Raises: ValueError if a required variable is missing."""
    return Compose(yaml.safe_load(interpolate(text, variables))["services"], built, folder)
