"""Optuna's tables beside MLflow's in one PostgreSQL database."""

import optuna
import pytest
from sqlalchemy import create_engine, text

from study.config.load import parse_study
from study.search.optuna_storage import open_optuna_study, optuna_url
from study.storage.folders import Storage
from study.storage.locations import Places
from study.tracking.client import open_client
from tests.services import postgres
from tests.study.test_search_supply import SEEK, run_out, search

pytestmark = pytest.mark.postgres


def test_both_libraries_keep_their_tables_in_one_database(tmp_path):
    study = parse_study(SEEK.replace("trials: 12", "trials: 3"))
    with postgres() as server:
        places = Places(server.new_database("both"), Storage(tmp_path / "storage"))
        places.storage.make()
        open_client(places.store).create_experiment("there before")
        with search(study, places) as supply:
            run_out(supply, places)
        with open_optuna_study(study, places) as memory:
            assert {trial.state.name for trial in memory.get_trials()} == {"COMPLETE"}
        engine = create_engine(places.store)
        with engine.connect() as connection:
            query = "select table_schema from information_schema.tables where table_name = 'alembic_version'"
            found = connection.execute(text(query))
            assert {row[0] for row in found} == {"public", "dicestudy_optuna"}
        engine.dispose()
        open_client(places.store).search_experiments()  # MLflow's own is untouched
        storage = optuna.storages.RDBStorage(optuna_url(places))  # as optuna-dashboard opens it
        assert [one.study_name for one in storage.get_all_studies()] == [f"seek {study.search_key}"]
        storage.remove_session()
        storage.engine.dispose()
