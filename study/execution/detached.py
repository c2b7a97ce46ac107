"""Launches that outlive who starts them: a process of its own on this machine, or a Ray job on a cluster."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from study.config.spec import StudySpec
from study.storage.locations import Places
from study.storage.tracking_uri import TrackingUri
from trainers.atomic_files import write_text_whole
from trainers.errors import DicestudyError, Fault, InputError
from trainers.locks import is_written

if TYPE_CHECKING:
    from study.execution.ray_jobs import JobServer

LOG_FILE = "launch.log"
STUDY_FILE = "launched.yaml"
STORAGE, STORE = "dicestudy.storage", "dicestudy.store"
"""Keys of a job's metadata: the places that its launch was given."""
HTTP = ("http://", "https://")
_FOUND = (
    "command -v dicestudy >/dev/null || { echo 'error: dicestudy is not on the PATH of the cluster head; "
    "start Ray there with its environment activated'; exit 1; };"
)


@dataclass(frozen=True)
class Detached:
    """A launch on its way. id: of the process or job; where: the same in words."""

    id: str
    where: str


def is_job_server(address: str | None) -> TypeGuard[str]:
    """Whether an address is that of a cluster's job server, and not of the cluster itself."""
    return address is not None and address.startswith(HTTP)


def launch_detached(
    study: StudySpec, text: str, places: Places, address: str | None = None, retry_failed: bool = False
) -> Detached:
    """Launch a study, whose file reads ``text``, and come back at once.

    address: ``http://host:8265`` submits it as a Ray job, whose paths are the cluster's; otherwise a process of
    this machine runs it, there or here as ``launch`` would, and writes to ``launch.log`` in the study's folder.

    Raises: InputError if no job server answers, or a place means nothing on the cluster.
    """
    options = ["--retry-failed"] if retry_failed else []
    if not is_job_server(address):
        return _start_process(study, text, places, [*options, *(["--address", address] if address else [])])
    from study.execution.ray_jobs import STUDY

    _require_absolute(study, places)
    server = _server(address)
    metadata = {STUDY: study.name, **_given(places)}
    command = _on_cluster(["launch", STUDY_FILE, "--address", "auto", *options], metadata)
    job = server.submit(command, study.name, metadata, {STUDY_FILE: text})
    return Detached(job, f"Ray job {job} at {address}")


def follow(study: str, places: Places, address: str | None = None, to_its_end: bool = True) -> Iterator[str]:
    """What a detached launch prints, piece by piece; all there is so far, or until it ends.

    Raises: InputError if there was none.
    """
    if is_job_server(address):
        server, job = _job_of(study, address)
        yield from server.follow(job.submission_id) if to_its_end else [server.words(job.submission_id)]
        return
    folder = places.storage.study(study)
    if not (folder / LOG_FILE).exists():
        raise InputError(Fault(study, "was not launched with --detach on this storage", "see dicestudy status"))
    with (folder / LOG_FILE).open() as log:
        while True:
            going = is_written(folder)
            if words := log.read():
                yield words
            if not (to_its_end and going):
                return
            time.sleep(0.5)


def job_state(study: str, address: str) -> str:
    """Of the latest job of a study: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    server, job = _job_of(study, address)
    return server.state(job.submission_id)


def ask_cluster(command: str, study: str, address: str) -> str:
    """Run ``dicestudy COMMAND STUDY`` where the study's job runs, on its places; what it prints.

    Raises: DicestudyError with the command's own words if it fails; InputError if the cluster has no such job.
    """
    server, job = _job_of(study, address)
    well, words = server.answer(_on_cluster([*shlex.split(command), study], job.metadata or {}), f"ask-{study}")
    if not well:
        state = server.state(job.submission_id)
        said = (words.strip() or server.words(job.submission_id)).strip().splitlines()
        reason = said[-1].removeprefix("error: ") if said else "it said nothing"
        raise DicestudyError(f"{reason} (its job {job.submission_id} is {state.lower()})")
    return words


def status_of_job(study: str, address: str) -> dict[str, Any]:
    """The contract's ``status`` of a study that was submitted, with the ``job`` beside it."""
    state = job_state(study, address)
    waiting: dict[str, Any] = {"study": study, "state": "waiting", "trials": {}, "eta_s": None, "failures": []}
    waiting["job"] = state
    if state == "PENDING":
        return waiting
    try:
        words = ask_cluster("status --json", study, address)
    except DicestudyError:
        if state != "RUNNING":
            raise
        return waiting  # it has not come to its trials yet
    found: dict[str, Any] = json.loads(words[words.index("{") :])
    return found | {"job": state}


def require_idle(study: str, places: Places) -> Path:
    """The folder of a study that nobody runs. Raises: DicestudyError if somebody does."""
    places.storage.make()
    folder = places.storage.study(study)
    if is_written(folder):
        raise DicestudyError(f"study {study} is running already; see dicestudy status {study}")
    return folder


def _start_process(study: StudySpec, text: str, places: Places, options: list[str]) -> Detached:
    folder = require_idle(study.name, places)
    write_text_whole(folder / STUDY_FILE, text)
    # Of its own session: the terminal that closes, or the service that ends, does not take it along.
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "study.cli", "launch", str(folder / STUDY_FILE), *options],
            env=os.environ | {"DICESTUDY_STORE": places.store, "DICESTUDY_STORAGE": str(places.storage.root)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Detached(str(process.pid), f"process {process.pid} on this machine, log {folder / LOG_FILE}")


def _server(address: str) -> JobServer:
    # Here and not above: Ray takes a second to import.
    from study.execution.ray_jobs import JobServer

    return JobServer(address)


def _job_of(study: str, address: str) -> tuple[JobServer, Any]:
    server = _server(address)
    job = server.newest(study)
    if job is None:
        raise InputError(
            Fault(study, f"the cluster at {address} knows no job of this study", "launch it with this --address first")
        )
    return server, job


def _given(places: Places) -> dict[str, str]:
    """Places that the user named; of the others the cluster's environment knows."""
    found = {}
    if places.storage_given:
        found[STORAGE] = str(places.storage.root)
    if places.store_given:
        found[STORE] = places.store
    return found


def _on_cluster(arguments: list[str], metadata: dict[str, str]) -> str:
    """A shell command for the head, with the places that its launch was given, or else the head's own."""
    if STORAGE in metadata:
        storage = f"DICESTUDY_STORAGE={shlex.quote(metadata[STORAGE])}"
    else:
        storage = 'DICESTUDY_STORAGE="${DICESTUDY_STORAGE:?is not set on the cluster; give --storage}"'
    if STORE in metadata:
        store = f"DICESTUDY_STORE={shlex.quote(metadata[STORE])}"
    else:
        # The job's own folder, where the default would be, goes with the job.
        store = 'DICESTUDY_STORE="${DICESTUDY_STORE:-sqlite:///$DICESTUDY_STORAGE/mlflow.db}"'
    return f"{_FOUND} export {storage}; export {store}; exec dicestudy {shlex.join(arguments)}"


def _require_absolute(study: StudySpec, places: Places) -> None:
    """Paths in a job are the cluster's, and a relative one would be looked for in a folder that Ray makes."""
    paths: dict[str, Path] = {}
    if places.storage_given:
        paths["storage"] = places.storage.root
    if isinstance(root := getattr(study.data, "root", None), Path):
        paths["data.root"] = root
    if study.splits is not None:
        paths["splits"] = study.splits
    faults = [
        Fault(name, f"{path} is a relative path", "give the whole path that it has on the cluster's machines")
        for name, path in paths.items()
        if not path.is_absolute()
    ]
    if places.store_given and TrackingUri(places.store).has_secret:
        faults.append(
            Fault(
                "store",
                "its address holds credentials, and a job's command can be read by all who reach the cluster",
                "set DICESTUDY_STORE in the environment of the cluster's head, and do not give --store",
            )
        )
    if faults:
        raise InputError(faults)
