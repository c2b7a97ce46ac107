"""The table of cases as arrays, one row a trial and one column a case: what all figures are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.outcomes import case_retention
from analysis.stats.bootstrap import FloatArray
from analysis.tables import StudyTables

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ScoreMatrix:
    """Scores of one class, (trial, case), rows as in the table of trials; NaN where a case has no score.

    ``scores``: dsc, dv_ml, pred_ml [ml], retention. ``group``, ``subject``: of each column, as numbers, the groups
    in the study's order; subjects have the same number in every class.
    """

    scores: Mapping[str, FloatArray]
    group: IntArray
    subject: IntArray

    def of_group(self, group: int) -> ScoreMatrix:
        """The columns of one group."""
        return self._columns(self.group == group)

    def _columns(self, chosen: npt.NDArray[np.bool_]) -> ScoreMatrix:
        scores = {name: values[:, chosen] for name, values in self.scores.items()}
        return ScoreMatrix(scores, self.group[chosen], self.subject[chosen])


@dataclass(frozen=True, eq=False)
class StudyScores:
    """The matrices of a study by class, and which rows make each cell, in the order of the trials."""

    classes: Mapping[str, ScoreMatrix]
    subjects: int
    cells: Mapping[str, IntArray]

    def case_means(self, class_: str, score: str) -> FloatArray:
        """Each case's mean over a cell's trials that scored it, (cell, case); NaN where none did."""
        values = self.classes[class_].scores[score]
        rows = list(self.cells.values())
        if not rows or not values.shape[1]:
            return np.empty((len(rows), values.shape[1]))
        order = np.concatenate(rows)
        starts = np.concatenate([[0], np.cumsum([len(part) for part in rows])[:-1]])
        seen = np.isfinite(values)
        total = np.add.reduceat(np.where(seen, values, 0.0)[order], starts, axis=0)
        count = np.add.reduceat(seen[order].astype(np.float64), starts, axis=0)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def study_scores(tables: StudyTables) -> StudyScores:
    """Arrange a study's cases by trial and case."""
    cases, trials = tables.cases, tables.trials
    cells = {str(cell): np.sort(rows) for cell, rows in trials.groupby("cell", sort=False).indices.items()}
    row = pd.Series(np.arange(len(trials)), index=trials["key"]).reindex(cases["key"]).to_numpy(dtype=np.intp)
    subject = np.asarray(pd.factorize(cases["subject"], sort=True)[0], dtype=np.intp)
    group = np.asarray(pd.Categorical(cases["group"], categories=list(tables.groups)).codes, dtype=np.intp)
    name = np.asarray(pd.factorize(cases["case"], sort=True)[0], dtype=np.intp)
    values = {score: cases[score].to_numpy(dtype=np.float64) for score in ("dsc", "dv_ml", "pred_ml")}
    values["retention"] = case_retention(cases).to_numpy(dtype=np.float64)
    of_class = cases["class"].to_numpy()
    subjects = int(subject.max()) + 1 if len(subject) else 0
    matrices = {}
    for class_ in tables.classes:
        own = np.flatnonzero(of_class == class_)
        # A case is told by its group and subject too, should two share a name.
        code = (group[own] * subjects + subject[own]) * (int(name.max()) + 1 if len(name) else 1) + name[own]
        _, first, column = np.unique(code, return_index=True, return_inverse=True)
        scores = {}
        for score, listed in values.items():
            scores[score] = np.full((len(trials), len(first)), np.nan)
            scores[score][row[own], column] = listed[own]
        matrices[class_] = ScoreMatrix(scores, group[own][first], subject[own][first])
    return StudyScores(matrices, subjects, cells)
