"""The best cells for a goal, and which of them differ from the first by more than chance."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.cells import cell_metrics, safe_names
from analysis.outcomes import trial_scores
from analysis.scores import StudyScores, study_scores
from analysis.statistics import SIGNIFICANT, FloatArray, holm, paired_tests
from analysis.table import DERIVED, StudyTables, is_partial, plain
from analysis.where import choose

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
    scores: dict[str, float]
    evidence: FloatArray  # (cell, case): what is compared pair by pair
    subjects: npt.NDArray[np.intp]  # of each case


def best(
    tables: StudyTables,
    rng: np.random.Generator,
    *,
    goal: str = "ignore",
    metric: str | None = None,
    where: str | None = None,
    top: int | None = 5,
    cells: list[dict[str, Any]] | None = None,
    scores: pd.DataFrame | None = None,
    matrices: StudyScores | None = None,
) -> list[dict[str, Any]]:
    """Rank the cells by a goal, or by a metric; a list that is empty where no cell qualifies.

    Goals, each one score: ``ignore``, mean DSC of the emptied group, among cells under partial labeling whose
    labelled group keeps ``KEPT_TO_IGNORE`` of its DSC under full labeling. ``empty``, AUC − retention (1 is
    perfect), among such cells that keep ``KEPT_TO_EMPTY``. ``dice``, mean DSC over all cases and classes, among
    all cells. Where nothing was trained under full labeling, the best cell under partial labeling stands in.

    ``metric``: a name of ``cell_metrics`` instead, the highest first, ``dv_ml.…`` the closest to 0 first, and
    the lowest first with a leading ``-``. ``where``: see ``analysis.where.choose``; the columns are the settings
    with ``eps`` in voxels, ``eps_written``, ``v_hat`` and ``n``. ``cells``, ``scores``, ``matrices``: of
    ``cell_metrics``, ``trial_scores`` and ``study_scores``, if they are at hand.

    Each entry is that of ``cell_metrics`` with ``rank``, ``ranked_by``, ``score``; ``p`` against the first, by
    paired bootstrap on the same cases (DSC for ``ignore`` and ``dice``, retention for ``empty``), corrected by
    Holm over all pairs of the entries: the first was chosen for being the first, so any pair might have been
    compared. ``differs_from_first``: p < ``SIGNIFICANT``, None for the first, for AUC, and where so few subjects are
    shared that no p could be that small; ``subjects``: how many are shared.

    Raises: ValueError for an unknown goal or metric, a ``where`` that cannot be read, a ``top`` below 1.
    """
    if goal not in GOALS:
        raise ValueError(f"unknown goal {goal!r}, known: {', '.join(GOALS)}")
    if top is not None and top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    scores = trial_scores(tables) if scores is None else scores
    matrices = study_scores(tables) if matrices is None else matrices
    cells = cell_metrics(tables, rng, scores, matrices) if cells is None else cells
    contest = _by_metric(tables, cells, matrices, metric) if metric else _by_goal(tables, cells, scores, matrices, goal)
    columns = cell_columns(tables, cells)
    chosen = choose(columns, where).to_numpy() if where and where.strip() else np.ones(len(cells), dtype=bool)
    entries = [
        {**cell, "ranked_by": contest.by, "score": contest.scores[cell["cell"]]}
        for cell, is_in in zip(cells, chosen, strict=True)
        if is_in and not math.isnan(contest.scores[cell["cell"]])
    ]
    entries.sort(key=lambda entry: -entry["score"])
    entries = entries[:top]
    places = {cell: number for number, cell in enumerate(matrices.cells)}
    compared, shared = _against_first(contest, [places[entry["cell"]] for entry in entries], rng)
    for rank, (entry, p, subjects) in enumerate(zip(entries, compared, shared, strict=True), start=1):
        differs = None if math.isnan(p) else bool(p < SIGNIFICANT)
        entry |= {"rank": rank, "p": plain(p), "differs_from_first": differs, "subjects": int(subjects)}
    return [plain(entry) for entry in entries]


def _by_goal(
    tables: StudyTables, cells: list[dict[str, Any]], scores: pd.DataFrame, matrices: StudyScores, goal: str
) -> _Contest:
    if goal == "dice":
        values, subjects = _evidence(matrices, [(class_, None) for class_ in tables.classes], "dsc")
        means = _means(tables, matrices)
        ranked = {cell: means[cell] for cell in matrices.cells}
        return _Contest("mean DSC over all cases and classes", ranked, values, subjects)
    kept = _kept(scores)
    demanded = bool(kept.notna().any())
    share = KEPT_TO_IGNORE if goal == "ignore" else KEPT_TO_EMPTY
    classes = safe_names(tables.classes)
    names = [classes[class_] for class_ in tables.emptied_classes]
    group = safe_names(tables.groups)[tables.emptied.group] if tables.emptied is not None else ""
    ranked = {}
    for cell in cells:
        if not is_partial(cell["params"]["labeling"]) or (demanded and not _at(kept, cell) >= share):
            ranked[cell["cell"]] = math.nan
        elif goal == "ignore":
            ranked[cell["cell"]] = _mean([_metric(cell, f"dsc.{group}.{name}") for name in names])
        else:
            gaps = [_metric(cell, f"auc.{name}") - _metric(cell, f"retention.{name}") for name in names]
            ranked[cell["cell"]] = _mean(gaps)
    condition = f"the labelled group keeping {share:.0%}" if demanded else "without a labelled group to keep"
    what = "DSC of the emptied group" if goal == "ignore" else "AUC − retention"
    hidden = tables.groups.index(tables.emptied.group) if tables.emptied is not None else -1
    chosen = [(class_, hidden) for class_ in tables.emptied_classes]
    values, subjects = _evidence(matrices, chosen, "dsc" if goal == "ignore" else "retention")
    return _Contest(f"{what}, {condition}", ranked, values, subjects)


def _by_metric(tables: StudyTables, cells: list[dict[str, Any]], matrices: StudyScores, metric: str) -> _Contest:
    lowest = metric.startswith("-")
    name = metric.removeprefix("-").removeprefix("final.")
    known = sorted({known for cell in cells for known in cell["metrics"]})
    if name not in known:
        raise ValueError(f"unknown metric {name!r}, known: {', '.join(known) or 'none, for no trial is done'}")
    kind, *parts = name.split(".")
    sign = -1.0 if lowest else 1.0
    means = {cell["cell"]: _metric(cell, name) for cell in cells}
    scores = {cell: -abs(mean) if kind == "dv_ml" and not lowest else sign * mean for cell, mean in means.items()}
    by = f"{name}, {'lowest' if lowest else 'closest to 0' if kind == 'dv_ml' else 'highest'} first"
    class_ = {safe: class_ for class_, safe in safe_names(tables.classes).items()}[parts[-1]]
    group_of = {safe: group for group, safe in safe_names(tables.groups).items()}
    group = group_of[parts[0]] if len(parts) == 2 else tables.emptied.group if tables.emptied is not None else ""
    # AUC is a property of two groups, not of a case: there are no pairs.
    pairs = [] if kind == "auc" else [(class_, tables.groups.index(group))]
    return _Contest(by, scores, *_evidence(matrices, pairs, kind))


def _kept(scores: pd.DataFrame) -> pd.Series[float]:
    """Share of its labelled DSC under full labeling that each cell keeps, the least over the emptied classes."""
    if scores.empty:
        return pd.Series(dtype="float64")
    by_class = scores.groupby(["cell", "class"], sort=False)[["dsc_labelled", "reference"]].mean()
    highest = by_class.groupby("class")["dsc_labelled"].transform("max")
    share = by_class["dsc_labelled"] / by_class["reference"].fillna(highest)
    return share.groupby("cell", sort=False).min()


def cell_columns(tables: StudyTables, cells: list[dict[str, Any]]) -> pd.DataFrame:
    """Tabulate what ``where`` may ask for, one row a cell; names that an expression cannot hold get underscores."""
    rows = []
    for cell in cells:
        params = dict(cell["params"])
        params |= {"eps_written": params["eps"], "eps": params["eps_voxels"], "n": cell["n"], "cell": cell["cell"]}
        rows.append({re.sub(r"\W", "_", name): value for name, value in params.items()})
    table = pd.DataFrame(rows)
    if not rows:
        names = ("eps", "eps_written", *DERIVED, "n", "cell", *tables.settings)
        table = pd.DataFrame(columns=list(dict.fromkeys(re.sub(r"\W", "_", name) for name in names)))
    for name in ("eps", "eps_voxels", "v_hat"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype("float64")
    return table


def _evidence(
    matrices: StudyScores, chosen: Sequence[tuple[str, int | None]], score: str
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Each case's mean over a cell's trials, (cell, case), and each case's subject; ``chosen``: class and group."""
    values, subjects = [np.empty((len(matrices.cells), 0))], [np.empty(0, dtype=np.intp)]
    for class_, group in chosen:
        whole = matrices.classes[class_]
        columns = np.ones(len(whole.group), dtype=bool) if group is None else whole.group == group
        values.append(matrices.case_means(class_, score)[:, columns])
        subjects.append(whole.subject[columns])
    return np.concatenate(values, axis=1), np.concatenate(subjects)


def _means(tables: StudyTables, matrices: StudyScores) -> dict[str, float]:
    """Mean DSC of each cell over all its scores; NaN without any."""
    scores = np.concatenate([matrices.classes[class_].scores["dsc"] for class_ in tables.classes], axis=1)
    means = {}
    for cell, rows in matrices.cells.items():
        seen = scores[rows][np.isfinite(scores[rows])]
        means[cell] = float(seen.mean()) if len(seen) else math.nan
    return means


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


def _at(series: pd.Series[float], cell: dict[str, Any]) -> float:
    return float(series.get(cell["cell"], math.nan))
