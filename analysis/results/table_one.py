"""The two answers of a study: the paper's table 1, and the map of where ignoring turns into learning empty."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.outcomes import Outcome
from analysis.results.cells import cell_metrics
from analysis.results.score_matrix import StudyScores, study_scores
from analysis.stats.permutation import SIGNIFICANT, holm, paired_tests
from analysis.tables import FULL, StudyTables, is_partial, plain
from analysis.theory.paper_table import paper_figures

_OF_PARTIAL = [str(outcome) for outcome in Outcome if outcome is not Outcome.SEGMENTS]
_FIGURES = ("retention", "dsc_labelled", "dsc_emptied")


def table_one(
    tables: StudyTables,
    rng: np.random.Generator,
    cells: list[dict[str, Any]] | None = None,
    matrices: StudyScores | None = None,
) -> list[dict[str, Any]]:
    """Table 1 of the study: one row a cell, group and class, in the order of the settings.

    ``dsc``, ``dv_ml`` [ml], ``auc`` (labelled against emptied group by predicted volume; the same in both
    groups' rows, None for classes that are not emptied): means, each with ``_low`` and ``_high``; ``emptied``:
    whether this row's maps were hidden in training; ``n``: trials, ``cases``: cases that have a DSC.
    ``p``: two-sided, of the DSC under partial against full labeling, all other settings as written the same,
    by paired bootstrap on the same cases, corrected by Holm over the table; None under full labeling, where no
    cell under full labeling corresponds, and where fewer than ``FEWEST_SUBJECTS`` subjects are shared.
    ``change``: mean DSC minus that under full labeling on the same cases; ``significant``: p < ``SIGNIFICANT``.
    ``paper``: of ``paper_figures`` for the emptied class, None where the paper has no such setup.
    ``cells``, ``matrices``: of ``cell_metrics`` and ``study_scores``, if they are at hand.
    """
    matrices = study_scores(tables) if matrices is None else matrices
    cells = cell_metrics(tables, copy.deepcopy(rng), matrices=matrices) if cells is None else cells
    means = {class_: matrices.case_means(class_, "dsc") for class_ in tables.classes}
    place = {cell: number for number, cell in enumerate(matrices.cells)}
    twins = _twins(tables, cells)
    rows: list[dict[str, Any]] = []
    p: list[float] = []
    for class_ in tables.classes:
        whole = matrices.classes[class_]
        differences = []
        for cell in cells:
            for number, group in enumerate(tables.groups):
                if tables.metric_name("dv_ml", group, class_) not in cell["metrics"]:
                    continue
                own = np.where(whole.group == number, means[class_][place[cell["cell"]]], np.nan)
                twin = place.get(twins.get(cell["cell"], ""), -1)
                change = own - means[class_][twin] if twin >= 0 else np.full(len(own), np.nan)
                differences.append(change)
                row = {
                    **cell["params"],
                    "cell": cell["cell"],
                    "group": group,
                    "class": class_,
                    "emptied": tables.is_emptied(cell["params"]["labeling"], group, class_),
                    "n": cell["n"],
                    "cases": int(np.isfinite(own).sum()),
                    "change": float(np.nanmean(change)) if np.isfinite(change).any() else math.nan,
                    "outcomes": cell["outcomes"],
                    "paper": _paper(tables, cell["params"], group, class_),
                }
                for name in ("dsc", "dv_ml"):
                    row |= _figures(cell, name, tables.metric_name(name, group, class_))
                rows.append(row | _figures(cell, "auc", tables.metric_name("auc", class_)))
        stacked = np.array(differences).reshape(len(differences), len(whole.subject))
        p += list(paired_tests(stacked, whole.subject, rng)[0])
    for row, corrected in zip(rows, holm(p), strict=True):
        row["p"] = corrected
        row["significant"] = None if math.isnan(corrected) else bool(corrected < SIGNIFICANT)
    order = {name: number for number, name in enumerate((*(cell["cell"] for cell in cells), *tables.classes))}
    rows.sort(key=lambda row: (order[row["cell"]], order[row["class"]]))
    return [plain(row) for row in rows]


def _figures(cell: dict[str, Any], name: str, metric: str) -> dict[str, Any]:
    figures = cell["metrics"].get(metric, {})
    return {name: figures.get("mean"), f"{name}_low": figures.get("low"), f"{name}_high": figures.get("high")}


def _paper(tables: StudyTables, params: Mapping[str, Any], group: str, class_: str) -> dict[str, Any] | None:
    if tables.emptied is None or class_ not in tables.emptied.classes:
        return None
    return paper_figures(params, emptied_group=group == tables.emptied.group)


def _twins(tables: StudyTables, cells: list[dict[str, Any]]) -> dict[str, str]:
    """Find the cell under full labeling that agrees with each partial cell in every other setting, ε as written."""
    others = [name for name in tables.settings if name != "labeling"]
    full = {
        tuple(str(cell["params"][name]) for name in others): cell["cell"]
        for cell in cells
        if cell["params"]["labeling"] == FULL
    }
    keys = {cell["cell"]: tuple(str(cell["params"][name]) for name in others) for cell in cells}
    partial = [cell["cell"] for cell in cells if is_partial(cell["params"]["labeling"])]
    return {cell: full[keys[cell]] for cell in partial if keys[cell] in full}
