"""The cells that no other beats in every one of several metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.results.cell_table import CellBook, make_book
from analysis.results.metric import Metric
from analysis.results.ranking import chosen_cells
from analysis.tables import StudyTables, plain


def pareto_front(
    study: StudyTables | CellBook, rng: np.random.Generator, metrics: Sequence[str], where: str | None = None
) -> list[dict[str, Any]]:
    """Entries of ``cell_metrics`` on the front of two or more metrics, the best in the first metric first.

    Metrics as ``best`` takes them: the highest is best, of ``dv_ml.…`` the closest to 0, with a leading ``-`` the
    lowest. ``values``: each metric's mean. A cell is on the front if no other is at least as good in all and better in
    one, by the means: between cells that differ less than their intervals, chance decides. ``where``: as of ``best``.

    Raises: ValueError for fewer than two metrics, an unknown one, or a ``where`` that cannot be read.
    """
    if len(set(metrics)) < 2:
        raise ValueError(f"a front needs two metrics or more, got {', '.join(metrics) or 'none'}")
    book = make_book(study, rng) if isinstance(study, StudyTables) else study
    axes = [Metric.parse(text, book.known_metrics) for text in metrics]
    entries = []
    for cell, is_in in zip(book.cells, chosen_cells(book, where), strict=True):
        means = {axis.name: cell["metrics"].get(axis.name, {}).get("mean") for axis in axes}
        if is_in and all(mean is not None and math.isfinite(mean) for mean in means.values()):
            entries.append({**cell, "values": means})
    scores = np.array([[axis.score(entry["values"][axis.name]) for axis in axes] for entry in entries])
    front = [entry for entry, row in zip(entries, scores, strict=True) if not _is_beaten(row, scores)]
    front.sort(key=lambda entry: -axes[0].score(entry["values"][axes[0].name]))
    return [plain({**entry, "rank": rank}) for rank, entry in enumerate(front, start=1)]


def _is_beaten(row: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> bool:
    return bool(((scores >= row).all(axis=1) & (scores > row).any(axis=1)).any())
