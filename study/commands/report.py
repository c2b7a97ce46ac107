"""Writing a study's report: one self-contained page."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.report.html import render_report
from analysis.results.all_results import Findings
from analysis.results.learning_curves import cells_to_follow
from analysis.stats.bootstrap import SEED, seeded
from analysis.tables import StudyTables
from study.commands.report_examples import examples_of
from study.storage.journal import read_epochs
from study.storage.locations import Places
from trainers.atomic_files import write_text_whole

if TYPE_CHECKING:
    from study.tracking.run_links import RunLinks
from study.commands.answers import Study, findings_of, name_of, tables_of

EXPLAINED_FILE = "explain.json"
"""What was expected of a study, in its folder."""


def report(study: Study, path: Path, places: Places | None = None) -> Path:
    """Write the study's page, one self-contained HTML file, and return its path.

    It holds no links to runs, whose ids differ from store to store: the same study gives the same bytes.
    """
    places = places or Places.find()
    name = name_of(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_whole(path, report_html(name, tables_of(study, places), study_text(name, places), places))
    return path


def report_html(
    name: str,
    tables: StudyTables,
    text: str,
    places: Places,
    found: Findings | None = None,
    runs: RunLinks | None = None,
) -> str:
    """The page of a study's tables.

    text: its file; found: what was found in the tables, if it is at hand; runs: where each cell's run is, for a page
    that goes with one store.
    """
    found = findings_of(tables) if found is None else found
    about: dict[str, Any] = {
        "name": name,
        "versions": versions(),
        "machine": machine(),
        "seeds": seeds(tables),
        "study file": text,
    }
    if runs is not None:
        about["runs"] = f"Links to runs lead to {runs.address}, {runs.what}."
    expected = places.storage.study(name) / EXPLAINED_FILE
    return render_report(
        tables,
        about,
        seeded(),
        findings=found,
        links=None if runs is None else runs.cells,
        explained=json.loads(expected.read_text()) if expected.exists() else None,
        epochs=epochs_of(found, places),
        examples=examples_of(found, places),
    )


def epochs_of(found: Findings, places: Places) -> pd.DataFrame | None:
    """Metrics by trial and epoch of the cells whose learning the report shows; None where no journal is at hand."""
    shown = {cell for class_ in found.tables.emptied_classes for cell in cells_to_follow(found.mapped, class_)}
    trials = found.tables.trials
    rows = [
        {"key": key, "epoch": record["epoch"], "metric": metric, "value": value}
        for key in trials.loc[trials["cell"].isin(shown), "key"]
        for record in read_epochs(places.storage.trial(key))
        for metric, value in record["metrics"].items()
    ]
    return pd.DataFrame(rows) if rows else None


def seeds(tables: StudyTables) -> dict[str, str]:
    """The seeds and folds of the trials, and the seed of the analysis."""
    listed = {name: sorted(tables.trials[name].unique().tolist()) for name in ("seed", "fold")}
    return {f"{name}s": ", ".join(map(str, values)) for name, values in listed.items()} | {"bootstrap": str(SEED)}


def study_text(name: str, places: Places) -> str:
    """The study's file as it was last launched."""
    path = places.storage.study(name) / "study.yaml"
    return path.read_text() if path.exists() else "not on this storage"


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
