"""Opening the tracking store: the one place where an address becomes a client, or a clear refusal."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before mlflow is imported: a study reports to its own store alone, and an address that does not answer
# shall not be asked for minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from study.storage.folders import UnknownStudyError, is_writable
from study.storage.locations import Places
from study.storage.tracking_uri import TrackingUri
from trainers.errors import Fault, InputError

STORE_ERRORS = (MlflowException, SQLAlchemyError)
"""What a store that goes away raises."""

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)
# It would print a traceback for every call to a database that is away, which is told in one line.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

REMEDY = "start it, or give another with --store or DICESTUDY_STORE"
SECONDS_TO_ANSWER = 10
RUNS_A_PAGE = 1000


class SilentStoreError(InputError):
    """The tracking store does not answer."""


def require_places(places: Places) -> None:
    """See that storage and tracking store can both be reached; what cannot be recorded is not begun. Writes nothing.

    Raises: InputError with what is wrong of the two.
    """
    faults: list[Fault] = []
    for check in (places.storage.require, lambda: require_store(places.store)):
        try:
            check()
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)


def require_store(store: str) -> None:
    """See that a tracking store answers at ``store``, or that its file can be made; writes nothing.

    Raises: InputError if not, within seconds.
    """
    uri = TrackingUri(store)
    uri.require_readable()
    scheme = uri.scheme
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
            raise InputError(Fault(str(uri) or "store", f"unknown kind of store {scheme!r}, known: {known}", REMEDY))
    except ImportError as error:
        missing = f"its driver is not installed: {error}"
        raise InputError(Fault(str(uri), missing, "pip install 'dicestudy[postgres]'")) from None
    except OSError as error:
        raise SilentStoreError(_silence(store, error)) from None


def open_client(store: str, create: bool = True) -> MlflowClient:
    """A client of the tracking store ``store``: ``sqlite:///file.db``, ``postgresql://…`` or ``http://…``.

    create: make an SQLite file that is not there. Raises: InputError if no store answers, within seconds.
    """
    require_store(store)
    try:
        if store.startswith("sqlite:"):
            file = Path(store.removeprefix("sqlite:///"))
            if not create and not file.exists():
                raise UnknownStudyError(
                    Fault(store, "there is no such store yet", "launch a study first, or give --store")
                )
            file.parent.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(store)
        client.search_experiments(max_results=1)
    except (*STORE_ERRORS, OSError) as error:
        raise SilentStoreError(_silence(store, error)) from None
    return client


def all_runs(client: MlflowClient, experiment: str, where: str) -> Iterator[Any]:
    """Every run of an experiment that a filter lets through, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment], where, max_results=RUNS_A_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _silence(store: str, error: Exception) -> Fault:
    uri = TrackingUri(store)
    text = uri.clean((str(error) or type(error).__name__).splitlines()[0])
    return Fault(str(uri), f"the tracking store does not answer: {text}", REMEDY)


def _require_http(store: str) -> None:
    # What MLflow's client will ask, as it will ask it: behind a log-in or a proxy, /health says nothing of that.
    import requests
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer = http_request(
            get_default_host_creds(store),
            "/api/2.0/mlflow/experiments/search",
            "POST",
            max_retries=0,
            timeout=SECONDS_TO_ANSWER,
            raise_on_status=False,
            json={"max_results": 1},
        )
    except (requests.RequestException, MlflowException) as error:
        raise OSError(type(error.__cause__ or error).__name__) from None
    if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
        raise InputError(
            Fault(
                str(TrackingUri(store)),
                f"the tracking server refuses the log-in (HTTP {answer.status_code})",
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
            )
        )
    if answer.status_code != requests.codes.ok:
        raise OSError(f"HTTP {answer.status_code}")


def _require_database(store: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    # MLflow itself would go on trying for minutes, with a growing pause.
    try:
        create_engine(store, poolclass=NullPool, connect_args={"connect_timeout": SECONDS_TO_ANSWER}).connect().close()
    except SQLAlchemyError as error:
        raise OSError(str(error.args[0]).splitlines()[0] if error.args else type(error).__name__) from None
