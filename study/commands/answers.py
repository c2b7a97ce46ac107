"""What a study found: the functions that the command line and the service both call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.results import ranking
from analysis.results.all_results import Findings, find
from analysis.results.cell_table import CellBook
from analysis.results.pareto import pareto_front
from analysis.stats.bootstrap import seeded
from analysis.tables import StudyTables
from study.config.spec import StudySpec
from study.storage.locations import Places
from trainers.errors import Fault, InputError
from trainers.losses.taxonomy import TAXONOMY

if TYPE_CHECKING:
    from study.commands.cached_answers import StudyResults


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
    pareto: Sequence[str] | str | None = None,
) -> list[dict[str, Any]]:
    """The study's best cells, see ``analysis.results.ranking.best``.

    With ``pareto``, metrics as a list or joined by commas, see ``analysis.results.pareto.pareto_front``.

    ``family``: a category of the losses, ``dicestudy losses``; cells of any other are left out.

    Raises: InputError for an unknown study, goal, metric, column or family.
    """
    return best_of(results_of(study, places), goal, metric, where, top, family, pareto)[0]


def best_of(
    results: StudyResults,
    goal: str = "ignore",
    metric: str | None = None,
    where: str | None = None,
    top: int | None = 5,
    family: str | None = None,
    pareto: Sequence[str] | str | None = None,
) -> tuple[list[dict[str, Any]], None]:
    """As ``best``, of a study's results."""
    book = results.book
    asked = [part for part in (where, _of_family(family, book)) if part and part.strip()]
    # What a user wrote stays as it is where it stands alone: errors repeat it.
    where = " and ".join(f"({part})" for part in asked) if len(asked) > 1 else next(iter(asked), None)
    if isinstance(pareto, str):
        pareto = [name.strip() for name in pareto.split(",")] if pareto.strip() else None
    return rank(book, goal, metric, where, top, pareto or ()), None


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
    """The paper's table 1 of the study, see ``analysis.results.table_one.table_one``."""
    return results_of(study, places).table


def table_of(results: StudyResults, page: slice) -> tuple[list[dict[str, Any]], int]:
    """A page of ``table``, and the number of its rows."""
    return results.table[page], len(results.table)


def transition_map(study: Study, places: Places | None = None) -> dict[str, Any]:
    """Where ignoring turns into learning empty, see ``analysis.results.transition_map.transition_map``."""
    return results_of(study, places).map


def map_of(results: StudyResults) -> tuple[dict[str, Any], None]:
    """As ``transition_map``, of a study's results."""
    return results.map, None


def trials(
    study: Study, where: str | None = None, state: str | None = None, places: Places | None = None
) -> list[dict[str, Any]]:
    """The study's trials that are over, see ``study.commands.trial_list.TrialList``.

    Raises: InputError for an unknown study, state or column.
    """
    return trials_of(results_of(study, places), where, state, slice(None))[0]


def trials_of(
    results: StudyResults, where: str | None, state: str | None, page: slice
) -> tuple[list[dict[str, Any]], int]:
    """A page of ``trials``, and the number of the trials chosen."""
    rows = results.trials.choose(where, state)
    return results.trials.entries(rows[page]), len(rows)


def findings_of(tables: StudyTables) -> Findings:
    """Everything that a study found, each computed once."""
    return find(tables, seeded())


def tables_of(study: Study, places: Places | None = None) -> StudyTables:
    """The study's tables, as the store holds them. Raises: InputError if it does not know the study."""
    # Here and not above: a tracking client takes seconds to import, and no other call needs it.
    from study.tracking.reader import read_tables

    return read_tables(name_of(study), places or Places.find())


def results_of(study: Study, places: Places | None = None) -> StudyResults:
    """The study as its store holds it now, and what is kept of it. Raises: InputError if the store does not know it."""
    # Here and not above: a tracking client takes seconds to import, and not every call needs it.
    from study.commands.cached_answers import StudyResults

    return StudyResults(name_of(study), places or Places.find())


def name_of(study: Study) -> str:
    """The study's name."""
    return study if isinstance(study, str) else study.name
