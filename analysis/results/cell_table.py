"""What cells are ranked by, without their trials: small enough to be kept beside a study and read at once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.outcomes import trial_scores
from analysis.results.cells import cell_metrics
from analysis.results.metric import Metric, metrics_of
from analysis.results.score_matrix import IntArray, StudyScores, study_scores
from analysis.stats.bootstrap import FloatArray
from analysis.tables import Emptied, StudyTables, spelled_name

CASE_SCORES = ("dsc", "dv_ml", "retention")
"""Scores that cells are compared by, case by case."""


@dataclass(frozen=True, eq=False)
class CaseMeans:
    """Of one class each case's mean over a cell's trials, (cell, case); ``group``, ``subject``: of each case."""

    scores: Mapping[str, FloatArray]
    group: IntArray
    subject: IntArray


@dataclass(frozen=True, eq=False)
class CellBook:
    """A study's cells, in the order of its settings.

    cells: of ``cell_metrics``; mean_dsc: of each cell over all its scores; kept: the share of its labelled DSC under
    full labeling that each keeps, the least over the emptied classes. Both are NaN where no score tells.
    """

    cells: list[dict[str, Any]]
    classes: Mapping[str, CaseMeans]
    mean_dsc: FloatArray
    kept: FloatArray
    groups: tuple[str, ...]
    emptied: Emptied | None
    settings: tuple[str, ...]
    spelling: Mapping[str, str]

    @property
    def known_metrics(self) -> dict[str, Metric]:
        """The metrics that some cell has, by name."""
        present = {name for cell in self.cells for name in cell["metrics"]}
        every = metrics_of(self.groups, tuple(self.classes), self.spelling)
        return {name: metric for name, metric in every.items() if name in present}

    def metric_name(self, kind: str, *names: str) -> str:
        """As of the study's tables."""
        return spelled_name(kind, names, self.spelling)

    @property
    def emptied_classes(self) -> tuple[str, ...]:
        """As of the study's tables."""
        return self.emptied.classes if self.emptied is not None else ()

    def evidence(self, chosen: Sequence[tuple[str, int | None]], score: str) -> tuple[FloatArray, IntArray]:
        """Each case's mean, (cell, case), and each case's subject; ``chosen``: class and group, None for all."""
        values, subjects = [np.empty((len(self.cells), 0))], [np.empty(0, dtype=np.intp)]
        for class_, group in chosen:
            whole = self.classes[class_]
            columns = np.ones(len(whole.group), dtype=bool) if group is None else whole.group == group
            values.append(whole.scores[score][:, columns])
            subjects.append(whole.subject[columns])
        return np.concatenate(values, axis=1), np.concatenate(subjects)

    def save(self, folder: Path) -> None:
        """Write ``cells.json`` and ``cells.npz``; ``load_book`` gives the same figures to the bit."""
        head = {
            "cells": self.cells,
            "groups": self.groups,
            "classes": list(self.classes),
            "emptied": None if self.emptied is None else [self.emptied.group, self.emptied.classes],
            "settings": self.settings,
            "spelling": dict(self.spelling),
        }
        (folder / "cells.json").write_text(json.dumps(head))
        arrays: dict[str, Any] = {"mean_dsc": self.mean_dsc, "kept": self.kept}
        for number, means in enumerate(self.classes.values()):
            arrays |= {f"{number}.group": means.group, f"{number}.subject": means.subject}
            arrays |= {f"{number}.{score}": values for score, values in means.scores.items()}
        np.savez(folder / "cells.npz", **arrays)


def load_book(folder: Path) -> CellBook:
    """A book that was saved. Raises: OSError, ValueError or KeyError if there is none, or it is broken."""
    head = json.loads((folder / "cells.json").read_text())
    with np.load(folder / "cells.npz", allow_pickle=False) as arrays:
        classes = {
            name: CaseMeans(
                {score: arrays[f"{number}.{score}"] for score in CASE_SCORES},
                arrays[f"{number}.group"],
                arrays[f"{number}.subject"],
            )
            for number, name in enumerate(head["classes"])
        }
        mean_dsc, kept = arrays["mean_dsc"], arrays["kept"]
    emptied = None if head["emptied"] is None else Emptied(head["emptied"][0], tuple(head["emptied"][1]))
    groups, settings = tuple(head["groups"]), tuple(head["settings"])
    return CellBook(head["cells"], classes, mean_dsc, kept, groups, emptied, settings, head["spelling"])


def make_book(
    tables: StudyTables,
    rng: np.random.Generator,
    scores: pd.DataFrame | None = None,
    matrices: StudyScores | None = None,
) -> CellBook:
    """The book of a study's tables; ``scores``, ``matrices``: of ``trial_scores`` and ``study_scores``, if at hand."""
    scores = trial_scores(tables) if scores is None else scores
    matrices = study_scores(tables) if matrices is None else matrices
    cells = cell_metrics(tables, rng, scores, matrices)
    order = {cell: row for row, cell in enumerate(matrices.cells)}
    rows = [order[cell["cell"]] for cell in cells]
    classes = {
        name: CaseMeans(
            {score: matrices.case_means(name, score)[rows] for score in CASE_SCORES}, whole.group, whole.subject
        )
        for name, whole in matrices.classes.items()
    }
    means, kept = _means(tables, matrices), _kept(scores)
    return CellBook(
        cells,
        classes,
        np.array([means[cell["cell"]] for cell in cells], dtype=np.float64),
        np.array([kept.get(cell["cell"], math.nan) for cell in cells], dtype=np.float64),
        tables.groups,
        tables.emptied,
        tables.settings,
        tables.spelling,
    )


def _means(tables: StudyTables, matrices: StudyScores) -> dict[str, float]:
    """Mean DSC of each cell over all its scores; NaN without any."""
    scores = np.concatenate([matrices.classes[class_].scores["dsc"] for class_ in tables.classes], axis=1)
    means = {}
    for cell, rows in matrices.cells.items():
        seen = scores[rows][np.isfinite(scores[rows])]
        means[cell] = float(seen.mean()) if len(seen) else math.nan
    return means


def _kept(scores: pd.DataFrame) -> pd.Series[float]:
    """Share of its labelled DSC under full labeling that each cell keeps, the least over the emptied classes."""
    if scores.empty:
        return pd.Series(dtype="float64")
    by_class = scores.groupby(["cell", "class"], sort=False)[["dsc_labelled", "reference"]].mean()
    highest = by_class.groupby("class")["dsc_labelled"].transform("max")
    share = by_class["dsc_labelled"] / by_class["reference"].fillna(highest)
    return share.groupby("cell", sort=False).min()
