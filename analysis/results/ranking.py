"""The best cells for a goal, and which of them differ from the first by more than chance."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.results.cell_table import CellBook, make_book
from analysis.results.metric import Metric
from analysis.results.row_filter import choose
from analysis.stats.bootstrap import FloatArray
from analysis.stats.permutation import SIGNIFICANT, holm, paired_tests
from analysis.tables import DERIVED, StudyTables, is_partial, plain

GOALS = ("ignore", "empty", "dice")
"""``ignore``: keep segmenting the emptied group. ``empty``: learn its empty maps. ``dice``: overlap everywhere."""
KEPT_TO_IGNORE = 0.95
"""Ignoring should cost the labelled group nothing: it keeps this share of its DSC under full labeling."""
KEPT_TO_EMPTY = 0.8
"""Learning empty costs the labelled group a tenth in what has been measured; more than a fifth is too much."""


@dataclass(frozen=True)
class _Contest:
    """What the cells are ranked by, the highest score first; scores are NaN for cells that do not qualify."""

    by: str
    scores: list[float]
    evidence: FloatArray  # (cell, case): what is compared pair by pair
    subjects: npt.NDArray[np.intp]  # of each case


def best(
    study: StudyTables | CellBook,
    rng: np.random.Generator,
    *,
    goal: str = "ignore",
    metric: str | None = None,
    where: str | None = None,
    top: int | None = 5,
) -> list[dict[str, Any]]:
    """Rank the cells by a goal, or by a metric; a list that is empty where no cell qualifies.

    Goals, each one score: ``ignore``, mean DSC of the emptied group, among cells under partial labeling whose
    labelled group keeps ``KEPT_TO_IGNORE`` of its DSC under full labeling. ``empty``, AUC − retention (1 is
    perfect), among such cells that keep ``KEPT_TO_EMPTY``. ``dice``, mean DSC over all cases and classes, among
    all cells. Where nothing was trained under full labeling, the best cell under partial labeling stands in.

    ``metric``: a name of ``cell_metrics`` instead, the highest first, ``dv_ml.…`` the closest to 0 first, and
    the lowest first with a leading ``-``. ``where``: see ``analysis.results.row_filter.choose``; the columns are the
    settings with ``eps`` in voxels, ``eps_written``, ``v_hat`` and ``n``.

    Each entry is that of ``cell_metrics`` with ``rank``, ``ranked_by``, ``score``; ``p`` against the first, by
    paired bootstrap on the same cases (DSC for ``ignore`` and ``dice``, retention for ``empty``), corrected by
    Holm over all pairs of the entries: the first was chosen for being the first, so any pair might have been
    compared. ``differs_from_first``: p < ``SIGNIFICANT``, None for the first, for AUC, and where so few subjects are
    shared that no p could be that small; ``subjects``: how many are shared. The tables of a study and the book that
    was made of them with the same ``rng`` give the same.

    Raises: ValueError for an unknown goal or metric, a ``where`` that cannot be read, a ``top`` below 1.
    """
    if goal not in GOALS:
        raise ValueError(f"unknown goal {goal!r}, known: {', '.join(GOALS)}")
    if top is not None and top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    book = make_book(study, copy.deepcopy(rng)) if isinstance(study, StudyTables) else study
    contest = _by_metric(book, metric) if metric else _by_goal(book, goal)
    chosen = chosen_cells(book, where)
    entries = [
        (number, {**cell, "ranked_by": contest.by, "score": contest.scores[number]})
        for number, cell in enumerate(book.cells)
        if chosen[number] and not math.isnan(contest.scores[number])
    ]
    entries.sort(key=lambda entry: -entry[1]["score"])
    entries = entries[:top]
    compared, shared = _against_first(contest, [number for number, _ in entries], rng)
    for rank, ((_, entry), p, subjects) in enumerate(zip(entries, compared, shared, strict=True), start=1):
        differs = None if math.isnan(p) else bool(p < SIGNIFICANT)
        entry |= {"rank": rank, "p": plain(p), "differs_from_first": differs, "subjects": int(subjects)}
    return [plain(entry) for _, entry in entries]


def _by_goal(book: CellBook, goal: str) -> _Contest:
    if goal == "dice":
        values, subjects = book.evidence([(class_, None) for class_ in book.classes], "dsc")
        return _Contest("mean DSC over all cases and classes", book.mean_dsc.tolist(), values, subjects)
    demanded = bool(np.isfinite(book.kept).any())
    share = KEPT_TO_IGNORE if goal == "ignore" else KEPT_TO_EMPTY
    names = book.emptied_classes
    group = book.emptied.group if book.emptied is not None else ""
    ranked = []
    for cell, kept in zip(book.cells, book.kept, strict=True):
        if not is_partial(cell["params"]["labeling"]) or (demanded and not kept >= share):
            ranked.append(math.nan)
        elif goal == "ignore":
            ranked.append(_mean([_metric(cell, book.metric_name("dsc", group, name)) for name in names]))
        else:
            gaps = [
                _metric(cell, book.metric_name("auc", name)) - _metric(cell, book.metric_name("retention", name))
                for name in names
            ]
            ranked.append(_mean(gaps))
    condition = f"the labelled group keeping {share:.0%}" if demanded else "without a labelled group to keep"
    what = "DSC of the emptied group" if goal == "ignore" else "AUC − retention"
    hidden = book.groups.index(book.emptied.group) if book.emptied is not None else -1
    chosen = [(class_, hidden) for class_ in book.emptied_classes]
    values, subjects = book.evidence(chosen, "dsc" if goal == "ignore" else "retention")
    return _Contest(f"{what}, {condition}", ranked, values, subjects)


def _by_metric(book: CellBook, text: str) -> _Contest:
    metric = Metric.parse(text, book.known_metrics)
    scores = [metric.score(cell["metrics"].get(metric.name, {}).get("mean")) for cell in book.cells]
    group = metric.group
    if group is None:
        group = book.emptied.group if book.emptied is not None else ""
    # AUC is a property of two groups, not of a case: there are no pairs.
    pairs = [] if metric.kind == "auc" else [(metric.class_, book.groups.index(group))]
    compared = "dsc" if metric.kind == "auc" else metric.kind
    return _Contest(f"{metric.name}, {metric.direction} first", scores, *book.evidence(pairs, compared))


def chosen_cells(book: CellBook, where: str | None) -> npt.NDArray[np.bool_]:
    """Which cells fulfil ``where``; all without one. Raises: ValueError."""
    if not where or not where.strip():
        return np.ones(len(book.cells), dtype=bool)
    return np.asarray(choose(cell_columns(book), where), dtype=bool)


def cell_columns(book: CellBook) -> pd.DataFrame:
    """Tabulate what ``where`` may ask for, one row a cell; names that an expression cannot hold get underscores."""
    rows = []
    for cell in book.cells:
        params = dict(cell["params"])
        params |= {"eps_written": params["eps"], "eps": params["eps_voxels"], "n": cell["n"], "cell": cell["cell"]}
        rows.append({re.sub(r"\W", "_", name): value for name, value in params.items()})
    table = pd.DataFrame(rows)
    if not rows:
        names = ("eps", "eps_written", *DERIVED, "n", "cell", *book.settings)
        table = pd.DataFrame(columns=list(dict.fromkeys(re.sub(r"\W", "_", name) for name in names)))
    for name in ("eps", "eps_voxels", "v_hat"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    return table


def _against_first(
    contest: _Contest, cells: Sequence[int], rng: np.random.Generator
) -> tuple[list[float], npt.NDArray[np.intp]]:
    """Holm-corrected p of each cell against the first, and the subjects they share.

    NaN for the first and where the evidence is thin.
    """
    if not cells:
        return [], np.empty(0, dtype=np.intp)
    first = contest.evidence[cells[0]]
    p, shared = paired_tests(first - contest.evidence[list(cells)], contest.subjects, rng)
    pairs = len(cells) * (len(cells) - 1) // 2
    # n pairs can be swapped in 2ⁿ ways, two of which are as far apart as can be.
    p[2.0 ** (1 - shared) * pairs >= SIGNIFICANT] = math.nan
    p[0] = math.nan
    others = np.ones(pairs - int(np.isfinite(p).sum()))
    return [float(value) for value in holm(np.concatenate([p, others]))[: len(p)]], shared


def _metric(cell: dict[str, Any], name: str) -> float:
    mean = cell["metrics"].get(name, {}).get("mean")
    return math.nan if mean is None else float(mean)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
