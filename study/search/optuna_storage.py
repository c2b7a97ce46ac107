"""Where Optuna keeps what a search knows: beside the tracking store, so that both are found, saved and moved together.

Both libraries keep their version in a table ``alembic_version``, so they cannot share one set of tables. Beside an
SQLite file lies ``optuna.db``; in PostgreSQL Optuna's tables are in the schema ``dicestudy_optuna`` of the same
database. Behind a tracking server, which shows no tables, it is ``optuna.db`` on the storage: the driver alone
writes to it. ``DICESTUDY_OPTUNA`` names another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from study.config.spec import StudySpec
from study.search.strategy import strategy_class
from study.storage.locations import Places
from trainers.errors import Fault, InputError

SCHEMA = "dicestudy_optuna"
VARIABLE = "DICESTUDY_OPTUNA"
FILE = "optuna.db"
SECONDS = 60
"""How long a writer waits for an SQLite file that somebody, such as optuna-dashboard, is reading."""


def optuna_url(places: Places) -> str:
    """The address of Optuna's database, as optuna-dashboard takes it."""
    if named := os.environ.get(VARIABLE):
        return named
    if places.store.startswith("sqlite:///"):
        return f"sqlite:///{Path(places.store.removeprefix('sqlite:///')).with_name(FILE)}"
    if places.store.startswith("postgresql"):
        url = make_url(places.store).update_query_dict({"options": f"-csearch_path={SCHEMA}"})
        return url.render_as_string(hide_password=False)
    return f"sqlite:///{(places.storage.root / FILE).resolve()}"


@contextmanager
def open_optuna_study(study: StudySpec, places: Places) -> Iterator[optuna.Study]:
    """The Optuna study of a search, made if it is not there; all drivers of the same store and search share it.

    Raises: InputError if its database does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = optuna_url(places)
    try:
        storage = _storage(url)
    except (SQLAlchemyError, OSError) as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise InputError(
            Fault(
                shown,
                f"the search's memory cannot be opened: {str(error).splitlines()[0]}",
                f"start it, or name another database with {VARIABLE}",
            )
        ) from None
    try:
        strategy = strategy_class(study)
        goals = strategy.goals(study)
        memory = optuna.create_study(
            storage=storage,
            study_name=f"{study.name} {study.search_key}",
            directions=[strategy.direction] * len(goals),
            load_if_exists=True,
        )
        memory.set_user_attr("goals", list(goals))
        yield memory
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _write_lightly(connection: Any, _: Any) -> None:
    # Several small writes a trial, each otherwise forced to the disk. A killed process loses none of them; after a
    # power cut the file may be lost, and is made anew from what the storage knows.
    connection.execute("PRAGMA synchronous=OFF")


def _storage(url: str) -> optuna.storages.RDBStorage:
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": SECONDS}})
        storage.engine.dispose()
        event.listen(storage.engine, "connect", _write_lightly)
        return storage
    if url.startswith("postgresql"):
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
