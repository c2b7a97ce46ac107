"""Everything that a study found, each computed once: what the report, the files and the notes are made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.outcomes import trial_scores
from analysis.results.cell_table import CellBook, make_book
from analysis.results.ranking import best
from analysis.results.score_matrix import study_scores
from analysis.results.table_one import table_one
from analysis.results.transition_map import transition_map
from analysis.tables import StudyTables

GOALS_SHOWN = ("ignore", "empty")
TOP = 5
"""Cells that each ranking lists."""


@dataclass(frozen=True, eq=False)
class Findings:
    """``book``: of ``make_book``; ``rows``: of ``table_one``; ``mapped``: of ``transition_map``."""

    tables: StudyTables
    book: CellBook
    rows: list[dict[str, Any]]
    mapped: dict[str, Any]
    rankings: Mapping[str, list[dict[str, Any]]]

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Of ``cell_metrics``."""
        return self.book.cells


def find(tables: StudyTables, rng: np.random.Generator) -> Findings:
    """Compute a study's answers, the same figures as each answer gives by itself from the same ``rng``."""
    scores, matrices = trial_scores(tables), study_scores(tables)
    mapped = transition_map(tables, copy.deepcopy(rng), scores, matrices)
    book = make_book(tables, copy.deepcopy(rng), scores, matrices)
    rows = table_one(tables, copy.deepcopy(rng), book.cells, matrices)
    rankings = {goal: best(book, copy.deepcopy(rng), goal=goal, top=TOP) for goal in GOALS_SHOWN}
    return Findings(tables, book, rows, mapped, rankings)
