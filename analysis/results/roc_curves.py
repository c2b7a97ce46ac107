"""ROC curves of telling the labelled group from the emptied one by predicted volume: numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.stats.bootstrap import FloatArray
from analysis.stats.roc import roc_curve
from analysis.tables import DONE, StudyTables

RATES: FloatArray = np.linspace(0.0, 1.0, 101)
"""False positive rates at which the curves of a cell's trials are averaged."""
MOST_CURVES = 8
"""More curves than colours could not be told apart."""


@dataclass(frozen=True, eq=False)
class RocCurve:
    """One cell's mean curve: the true positive rate at each of ``RATES``, over ``n`` trials."""

    cell: str
    class_: str
    true: FloatArray
    n: int


def roc_curves(tables: StudyTables, cells: Sequence[str], class_: str) -> list[RocCurve]:
    """Average the ROC curve of each of these cells over its trials at equal false positive rate.

    Positive: the cases of all groups but the emptied one; the score is the predicted volume of ``class_`` [ml].
    Curves are averaged vertically (T. Fawcett, Pattern Recognit. Lett. 27 (2006) 861), since volumes are compared
    within a network only. Cells without a trial that can tell are left out.
    """
    if tables.emptied is None:
        return []
    done = tables.trials[(tables.trials["state"] == DONE) & tables.trials["cell"].isin(list(cells))]
    cases = tables.cases[(tables.cases["class"] == class_) & tables.cases["key"].isin(done["key"])]
    by_trial = {str(key): part for key, part in cases.groupby("key", sort=False)}
    curves = []
    for cell in cells:
        drawn = []
        for key in done.loc[done["cell"] == cell, "key"]:
            part = by_trial.get(key)
            if part is None:
                continue
            labelled = part["group"] != tables.emptied.group
            curve = roc_curve(part.loc[labelled, "pred_ml"], part.loc[~labelled, "pred_ml"], RATES)
            if not np.isnan(curve).any():
                drawn.append(curve)
        if drawn:
            curves.append(RocCurve(cell, class_, np.mean(drawn, axis=0), len(drawn)))
    return curves


def cells_to_draw(slices: Sequence[dict[str, Any]], class_: str) -> list[str]:
    """Choose the cells with the smallest and the largest ε of each slice, at most ``MOST_CURVES``."""
    chosen: list[str] = []
    for found in slices:
        if found["class"] == class_:
            scored = [point["cell"] for point in found["points"] if point["n"]]
            chosen += scored[:1] + scored[1:][-1:]
    return list(dict.fromkeys(chosen))[:MOST_CURVES]
