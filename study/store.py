"""Opening the tracking store: the one place where an address becomes a client, or a clear refusal."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

# Before mlflow is imported: a study reports to its own store alone, and an address that does not answer
# shall not be asked for minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from study.storage import is_writable
from trainers.errors import Fault, InputError

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

REMEDY = "start it, or give another with --store or DICESTUDY_STORE"
SECONDS_TO_ANSWER = 10


def require_store(store: str) -> None:
    """See that a tracking store answers at ``store``, or that its file can be made; writes nothing.

    Raises: InputError if not, within seconds.
    """
    scheme = urlsplit(store).scheme
    try:
        if scheme == "sqlite":
            if not is_writable(Path(store.removeprefix("sqlite:///")).parent):
                raise OSError("its folder cannot be written to")
        elif scheme in ("http", "https"):
            _require_http(store)
        elif scheme.startswith(("postgresql", "mysql", "mssql")):
            _require_database(store)
        else:
            known = "sqlite:///FILE, postgresql://…, http://…"
            raise InputError(Fault(store or "store", f"unknown kind of store {scheme!r}, known: {known}", REMEDY))
    except (OSError, ImportError) as error:
        raise InputError(_silence(store, error)) from None


def open_client(store: str) -> MlflowClient:
    """A client of the tracking store ``store``: ``sqlite:///file.db``, ``postgresql://…`` or ``http://…``.

    Raises: InputError if there is none at that address, within seconds.
    """
    require_store(store)
    try:
        if store.startswith("sqlite:"):
            Path(store.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(store)
        client.search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        raise InputError(_silence(store, error)) from None
    return client


def _silence(store: str, error: Exception) -> Fault:
    text = str(error).splitlines()[0]
    return Fault(without_password(store), f"the tracking store does not answer: {text}", REMEDY)


def without_password(store: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(store)
    if parts.password is None:
        return store
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def _require_http(store: str) -> None:
    import requests

    try:
        requests.get(store.rstrip("/") + "/health", timeout=SECONDS_TO_ANSWER).raise_for_status()
    except requests.RequestException as error:
        raise OSError(f"{type(error).__name__}") from None


def _require_database(store: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    # MLflow itself would go on trying for minutes, with a growing pause.
    try:
        create_engine(store, connect_args={"connect_timeout": SECONDS_TO_ANSWER}).connect().close()
    except SQLAlchemyError as error:
        raise OSError(str(error.args[0]).splitlines()[0] if error.args else type(error).__name__) from None
