"""What a study found: the functions that the command line and the service both call."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import ranking
from analysis.cellbook import CellBook
from analysis.findings import Findings, find
from analysis.learning import cells_to_follow
from analysis.pareto import pareto_front
from analysis.report import render_report
from analysis.statistics import SEED, seeded
from analysis.table import StudyTables
from study.examples import examples_of
from study.places import Places
from study.spec import StudySpec
from study.storage import read_epochs
from trainers.errors import Fault, InputError
from trainers.files import write_text_whole
from trainers.losses.taxonomy import TAXONOMY

if TYPE_CHECKING:
    from study.known import Known
    from study.run_links import RunLinks

EXPLAINED_FILE = "explain.json"
"""What was expected of a study, in its folder."""

Study = StudySpec | str
"""A study as loaded, or its name."""


def best(
    study: Study,
    goal: str = "ignore",
    metric: str | None = None,
    where: str | None = None,
    top: int | None = 5,
    places: Places | None = None,
    family: str | None = None,
    pareto: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The study's best cells, see ``analysis.ranking.best``; with ``pareto``, see ``analysis.pareto.pareto_front``.

    ``family``: a category of the losses, ``dicestudy losses``; cells of any other are left out.

    Raises: InputError for an unknown study, goal, metric, column or family.
    """
    book = known_of(study, places).book
    asked = [part for part in (where, _of_family(family, book)) if part and part.strip()]
    # What a user wrote stays as it is where it stands alone: errors repeat it.
    where = " and ".join(f"({part})" for part in asked) if len(asked) > 1 else next(iter(asked), None)
    return rank(book, goal, metric, where, top, pareto)


def rank(
    book: CellBook,
    goal: str = "ignore",
    metric: str | None = None,
    where: str | None = None,
    top: int | None = 5,
    pareto: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """As ``best``, of a study's cells. Raises: InputError for an unknown goal, metric or column."""
    try:
        if pareto:
            return pareto_front(book, seeded(), pareto, where)[:top]
        return ranking.best(book, seeded(), goal=goal, metric=metric, where=where, top=top)
    except ValueError as error:
        raise InputError(Fault("", str(error))) from None


def _of_family(family: str | None, book: CellBook) -> str | None:
    """The condition that a cell's loss has a term of the family."""
    if family is None:
        return None
    families = sorted({entry.category for entry in TAXONOMY.values()})
    if family not in families:
        raise InputError(Fault(f"family {family}", "is not known", f"choose one of {', '.join(families)}"))
    members = {name for name, entry in TAXONOMY.items() if entry.category == family}
    # A weighted sum's name holds those of its terms: dice + 0.5 ce.
    losses = dict.fromkeys(cell["params"]["loss"] for cell in book.cells)
    named = [name for name in losses if {part.split()[-1] for part in name.split(" + ")} & members]
    return f"loss in {named}" if named else "loss == ''"


def table(study: Study, places: Places | None = None) -> list[dict[str, Any]]:
    """The paper's table 1 of the study, see ``analysis.answers.table_one``."""
    return known_of(study, places).table


def transition_map(study: Study, places: Places | None = None) -> dict[str, Any]:
    """Where ignoring turns into learning empty, see ``analysis.answers.transition_map``."""
    return known_of(study, places).map


def trials(
    study: Study, where: str | None = None, state: str | None = None, places: Places | None = None
) -> list[dict[str, Any]]:
    """The study's trials that are over, see ``study.trial_list.TrialList``.

    Raises: InputError for an unknown study, state or column.
    """
    found = known_of(study, places).trials
    return found.entries(found.choose(where, state))


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


def findings_of(tables: StudyTables) -> Findings:
    """Everything that a study found, each computed once."""
    return find(tables, seeded())


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


def tables_of(study: Study, places: Places | None = None) -> StudyTables:
    """The study's tables, as the store holds them. Raises: InputError if it does not know the study."""
    # Here and not above: a tracking client takes seconds to import, and no other call needs it.
    from study.query import read_tables

    return read_tables(name_of(study), places or Places.find())


def known_of(study: Study, places: Places | None = None) -> Known:
    """The study as its store holds it now, and what is kept of it. Raises: InputError if the store does not know it."""
    # Here and not above: a tracking client takes seconds to import, and not every call needs it.
    from study.known import Known

    return Known(name_of(study), places or Places.find())


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
