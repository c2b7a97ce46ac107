"""Learning curves: the validation DSC of the labelled and the emptied group over the epochs. Numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.results.roc_curves import cells_to_draw
from analysis.stats.bootstrap import FloatArray
from analysis.tables import StudyTables, check_columns

EPOCH_COLUMNS: Mapping[str, str] = {
    "key": "content hash of the trial",
    "epoch": "index of the epoch",
    "metric": "name, such as val.dsc.A.tumor",
    "value": "its value",
}
MOST_CELLS = 4
"""Each has a line a group; more could not be followed."""


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """One cell's mean validation DSC at each epoch, of one group; ``n`` trials."""

    cell: str
    group: str
    emptied: bool
    epochs: FloatArray
    dsc: FloatArray
    n: int


def cells_to_follow(mapped: Mapping[str, Any], class_: str) -> list[str]:
    """Choose the cells with the smallest and the largest ε of the first slices, ``MOST_CELLS`` at most."""
    return cells_to_draw(mapped["slices"], class_)[:MOST_CELLS]


def learning_curves(
    tables: StudyTables, epochs: pd.DataFrame, cells: Sequence[str], class_: str
) -> list[LearningCurve]:
    """Mean over each cell's trials of ``val.dsc.<group>.<class>``, a curve a cell and group.

    ``epochs``: one row a trial, epoch and metric. Trials that ended early count as long as they lasted.

    Raises: MissingColumnsError.
    """
    check_columns(epochs, EPOCH_COLUMNS, "epochs")
    cell_of = tables.trials.set_index("key")["cell"]
    table = epochs.assign(cell=epochs["key"].map(cell_of))
    hidden = tables.emptied.group if tables.emptied is not None else None
    curves = []
    for cell in cells:
        for group in tables.groups:
            name = f"val.{tables.metric_name('dsc', group, class_)}"
            own = table[(table["cell"] == cell) & (table["metric"] == name)].dropna(subset=["value"])
            if own.empty:
                continue
            means = own.groupby("epoch")["value"].mean()
            at = np.asarray(means.index, dtype=np.float64)
            n = int(own["key"].nunique())
            curves.append(LearningCurve(cell, group, group == hidden, at, means.to_numpy(dtype=np.float64), n))
    return curves
