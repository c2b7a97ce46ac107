"""MLflow's own server on the study's store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

from study.storage.locations import Places
from study.storage.tracking_uri import TrackingUri
from study.tracking.saved_views import view_path
from trainers.errors import DicestudyError, Fault, InputError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 5000
DEFAULT_ADDRESS = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
"""Where the server is unless another place is chosen; reports link runs there."""


def serve_dashboard(places: Places, host: str, port: int, say: Callable[[str], None]) -> None:
    """Run the server in the foreground until interrupted, or say where it is if the store is one already.

    Raises: InputError if the store does not answer or the port is taken.
    """
    uri = TrackingUri(places.store)
    if uri.is_server:
        say(f"the store is a server already: {_links(uri.without_credentials.rstrip('/'), places)}")
        return
    links = _links(f"http://{host}:{port}", places)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(Fault(f"{host}:{port}", error.strerror or "cannot be used", "choose --port")) from None
    say(links)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--default-artifact-root", places.artifacts.resolve().as_uri()),
    ]
    # In the environment and not in the arguments, which every user of the machine can read.
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": places.store,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Eight processes that wait for work of language models.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    try:
        code = subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return
    if code:
        raise DicestudyError(f"the MLflow server ended with exit code {code}")


def _links(address: str, places: Places) -> str:
    from study.tracking.reader import experiment_id, study_names

    names = study_names(places)
    lines = [f"  {name}: {address}/{view_path(experiment_id(name, places))}" for name in names]
    return "\n".join([address, *(lines or ["  no study yet"])])
