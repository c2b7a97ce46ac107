"""Answers from the tracking store, computed once for each version of a study."""

from __future__ import annotations

import copy
import time
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis import answers, ranking
from analysis.cells import cell_metrics
from analysis.outcomes import trial_scores
from analysis.scores import StudyScores, study_scores
from analysis.table import StudyTables
from study.answers import SEED
from study.places import Places
from study.query import read_tables, version_of
from study.trial_list import TrialList
from trainers.errors import Fault, InputError

STUDIES_KEPT = 2
LOOK_S = 1.0
"""Seconds between two looks at a study's version."""
REST = 2.0
"""A study is read anew after a pause of so many times what reading took: a running one changes all the time."""


class Known:
    """A study as read at one moment, and what was computed of it so far: the figures that each answer has alone."""

    def __init__(self, tables: StudyTables, version: str) -> None:
        self.tables, self.version = tables, version
        self._rng = np.random.default_rng(SEED)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Of ``trial_scores``."""
        return trial_scores(self.tables)

    @cached_property
    def matrices(self) -> StudyScores:
        """Of ``study_scores``."""
        return study_scores(self.tables)

    @cached_property
    def _cells(self) -> tuple[list[dict[str, Any]], np.random.Generator]:
        """The cells, and the generator as it is left by them."""
        rng = copy.deepcopy(self._rng)
        return cell_metrics(self.tables, rng, self.scores, self.matrices), rng

    def best(self, goal: str, metric: str | None, where: str | None, top: int) -> list[dict[str, Any]]:
        """As ``study.answers.best``."""
        cells, rng = self._cells
        try:
            return ranking.best(
                self.tables,
                copy.deepcopy(rng),
                goal=goal,
                metric=metric,
                where=where,
                top=top,
                cells=cells,
                scores=self.scores,
                matrices=self.matrices,
            )
        except ValueError as error:
            raise InputError(Fault("", str(error))) from None

    @cached_property
    def table(self) -> list[dict[str, Any]]:
        """As ``study.answers.table``."""
        cells, rng = self._cells
        return answers.table_one(self.tables, copy.deepcopy(rng), cells, self.matrices)

    @cached_property
    def map(self) -> dict[str, Any]:
        """As ``study.answers.transition_map``."""
        return answers.transition_map(self.tables, copy.deepcopy(self._rng), self.scores, self.matrices)

    @cached_property
    def trials(self) -> TrialList:
        """The trials that are over."""
        return TrialList(self.tables, self.scores)


class Reading:
    """The tasks of a worker that reads the store. known: the version that the asker has an answer for."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._known: dict[str, Known] = {}
        self._looked: dict[str, float] = {}
        self._rested: dict[str, float] = {}

    def best(self, study: str, known: str = "", **how: Any) -> tuple[dict[str, Any], Any]:
        """The best cells."""
        found = self._find(study)
        return _unless(found, known, lambda: (found.best(**how), None))

    def table(self, study: str, offset: int, limit: int, known: str = "") -> tuple[dict[str, Any], Any]:
        """A page of table 1."""
        found = self._find(study)
        return _unless(found, known, lambda: (found.table[offset : offset + limit], len(found.table)))

    def map(self, study: str, known: str = "") -> tuple[dict[str, Any], Any]:
        """The transition map."""
        found = self._find(study)
        return _unless(found, known, lambda: (found.map, None))

    def trials(
        self, study: str, where: str | None, state: str | None, offset: int, limit: int, known: str = ""
    ) -> tuple[dict[str, Any], Any]:
        """A page of the trials that are over."""
        found = self._find(study)

        def page() -> tuple[Any, int]:
            rows = found.trials.choose(where, state)
            return found.trials.entries(rows[offset : offset + limit]), len(rows)

        return _unless(found, known, page)

    def _find(self, study: str) -> Known:
        """The study as it is now, or a little ago where reading it takes long."""
        now = time.monotonic()
        known = self._known.get(study)
        if known is not None and now < max(self._looked[study] + LOOK_S, self._rested[study]):
            return known
        begun = time.monotonic()
        version = version_of(study, self.places)
        if known is None or version != known.version:
            # Let go of the old one first: two at once would take twice the memory.
            known = self._known.pop(study, None) and None
            while len(self._known) >= STUDIES_KEPT:
                self._known.pop(next(iter(self._known)))
            known = self._known[study] = Known(read_tables(study, self.places), version)
            took = time.monotonic() - begun
            self._rested[study] = time.monotonic() + REST * took
        self._looked[study] = time.monotonic()
        return known


def _unless(found: Known, known: str, compute: Any) -> tuple[dict[str, Any], Any]:
    """The answer, or only that it is the one that is known."""
    if found.version == known:
        return {"kind": "same", "version": known}, None
    body, total = compute()
    return {"version": found.version, "total": total}, body
