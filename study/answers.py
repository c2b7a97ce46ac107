"""What a study found: the functions that the command line and the service both call."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import numpy as np

from analysis import answers, ranking
from analysis.report import render_report
from analysis.table import StudyTables
from study.places import Places
from study.spec import StudySpec
from trainers.errors import Fault, InputError
from trainers.files import write_text_whole

SEED = 0
"""Of the bootstrap: the same study gives the same answers."""

Study = StudySpec | str
"""A study as loaded, or its name."""


def best(
    study: Study,
    goal: str = "ignore",
    metric: str | None = None,
    where: str | None = None,
    top: int | None = 5,
    places: Places | None = None,
) -> list[dict[str, Any]]:
    """The study's best cells, see ``analysis.ranking.best``.

    Raises: InputError for an unknown study, goal, metric or column.
    """
    tables = tables_of(study, places)
    try:
        return ranking.best(tables, _rng(), goal=goal, metric=metric, where=where, top=top)
    except ValueError as error:
        raise InputError(Fault("", str(error))) from None


def table(study: Study, places: Places | None = None) -> list[dict[str, Any]]:
    """The paper's table 1 of the study, see ``analysis.answers.table_one``."""
    return answers.table_one(tables_of(study, places), _rng())


def transition_map(study: Study, places: Places | None = None) -> dict[str, Any]:
    """Where ignoring turns into learning empty, see ``analysis.answers.transition_map``."""
    return answers.transition_map(tables_of(study, places), _rng())


def report(study: Study, path: Path, places: Places | None = None) -> Path:
    """Write the study's page, one self-contained HTML file, and return its path."""
    places = places or Places.find()
    name = name_of(study)
    write_text_whole(path, report_html(name, tables_of(study, places), study_text(name, places)))
    return path


def report_html(name: str, tables: StudyTables, text: str) -> str:
    """The page of a study's tables; text: its file."""
    about = {"name": name, "versions": versions(), "machine": machine(), "study file": text}
    return render_report(tables, about, _rng())


def study_text(name: str, places: Places) -> str:
    """The study's file as it was last launched."""
    path = places.storage.study(name) / "study.yaml"
    return path.read_text() if path.exists() else "not on this storage"


def tables_of(study: Study, places: Places | None = None) -> StudyTables:
    """The study's tables, as the store holds them. Raises: InputError if it does not know the study."""
    # Here and not above: a tracking client takes seconds to import, and no other call needs it.
    from study.query import read_tables

    return read_tables(name_of(study), places or Places.find())


def name_of(study: Study) -> str:
    """The study's name."""
    return study if isinstance(study, str) else study.name


def versions() -> dict[str, str]:
    """Versions of what computes a study's numbers."""
    names = ("dicestudy", "torch", "numpy", "scipy", "ray", "mlflow")
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


def machine() -> dict[str, str]:
    """The machine that writes the report."""
    return {"system": platform.system(), "machine": platform.machine()}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _rng() -> np.random.Generator:
    return np.random.default_rng(SEED)
