"""The best cells for a goal, and which of them differ from the first by more than chance."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import cell_metrics, safe_names
from analysis.outcomes import case_retention, trial_scores
from analysis.statistics import FEWEST_SUBJECTS, SIGNIFICANT, holm, paired_bootstrap
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
    evidence: pd.DataFrame  # cell, case, subject, value: what is compared pair by pair


def best(
    tables: StudyTables,
    rng: np.random.Generator,
    *,
    goal: str = "ignore",
    metric: str | None = None,
    where: str | None = None,
    top: int | None = 5,
    cells: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Rank the cells by a goal, or by a metric; a list that is empty where no cell qualifies.

    Goals, each one score: ``ignore``, mean DSC of the emptied group, among cells under partial labeling whose
    labelled group keeps ``KEPT_TO_IGNORE`` of its DSC under full labeling. ``empty``, AUC − retention (1 is
    perfect), among such cells that keep ``KEPT_TO_EMPTY``. ``dice``, mean DSC over all cases and classes, among
    all cells. Where nothing was trained under full labeling, the best cell under partial labeling stands in.

    ``metric``: a name of ``cell_metrics`` instead, the highest first, ``dv_ml.…`` the closest to 0 first, and
    the lowest first with a leading ``-``. ``where``: see ``analysis.where.choose``; the columns are the settings
    with ``eps`` in voxels, ``eps_written``, ``v_hat`` and ``n``. ``cells``: of ``cell_metrics``, if they are at hand.

    Each entry is that of ``cell_metrics`` with ``rank``, ``ranked_by``, ``score``; ``p`` against the first, by
    paired bootstrap on the same cases (DSC for ``ignore`` and ``dice``, retention for ``empty``), corrected by
    Holm over the entries; and ``differs_from_first``: p < ``SIGNIFICANT``, None for the first, for AUC, and
    where fewer than ``FEWEST_SUBJECTS`` subjects are shared.

    Raises: ValueError for an unknown goal or metric, a ``where`` that cannot be read, a ``top`` below 1.
    """
    if goal not in GOALS:
        raise ValueError(f"unknown goal {goal!r}, known: {', '.join(GOALS)}")
    if top is not None and top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    scores = trial_scores(tables)
    cells = cell_metrics(tables, rng, scores) if cells is None else cells
    contest = _by_metric(tables, cells, metric) if metric else _by_goal(tables, cells, scores, goal)
    columns = _columns(tables, cells)
    chosen = choose(columns, where).to_numpy() if where and where.strip() else np.ones(len(cells), dtype=bool)
    entries = [
        {**cell, "ranked_by": contest.by, "score": contest.scores[cell["cell"]]}
        for cell, is_in in zip(cells, chosen, strict=True)
        if is_in and not math.isnan(contest.scores[cell["cell"]])
    ]
    entries.sort(key=lambda entry: -entry["score"])
    entries = entries[:top]
    compared = _against_first(contest.evidence, [entry["cell"] for entry in entries], rng)
    for rank, (entry, p) in enumerate(zip(entries, compared, strict=True), start=1):
        entry |= {"rank": rank, "p": plain(p), "differs_from_first": None if math.isnan(p) else p < SIGNIFICANT}
    return [plain(entry) for entry in entries]


def _by_goal(tables: StudyTables, cells: list[dict[str, Any]], scores: pd.DataFrame, goal: str) -> _Contest:
    if goal == "dice":
        evidence = _evidence(tables, tables.cases, tables.cases["dsc"])
        means = _mean_by_cell(tables, tables.cases, tables.cases["dsc"])
        return _Contest(
            "mean DSC over all cases and classes", {cell["cell"]: _at(means, cell) for cell in cells}, evidence
        )
    kept = _kept(scores)
    classes = safe_names(tables.classes)
    names = [classes[class_] for class_ in tables.emptied_classes]
    group = safe_names(tables.groups)[tables.emptied.group] if tables.emptied is not None else ""
    ranked: dict[str, float] = {}
    for cell in cells:
        share = KEPT_TO_IGNORE if goal == "ignore" else KEPT_TO_EMPTY
        if not is_partial(cell["params"]["labeling"]) or not _at(kept, cell) >= share:
            ranked[cell["cell"]] = math.nan
        elif goal == "ignore":
            ranked[cell["cell"]] = _mean([_metric(cell, f"dsc.{group}.{name}") for name in names])
        else:
            gaps = [_metric(cell, f"auc.{name}") - _metric(cell, f"retention.{name}") for name in names]
            ranked[cell["cell"]] = _mean(gaps)
    cases = _emptied_cases(tables)
    if goal == "ignore":
        by = f"DSC of the emptied group, the labelled one keeping {KEPT_TO_IGNORE:.0%}"
        return _Contest(by, ranked, _evidence(tables, cases, cases["dsc"]))
    by = f"AUC − retention, the labelled group keeping {KEPT_TO_EMPTY:.0%}"
    return _Contest(by, ranked, _evidence(tables, cases, case_retention(cases)))


def _by_metric(tables: StudyTables, cells: list[dict[str, Any]], metric: str) -> _Contest:
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
    class_of = {safe: class_ for class_, safe in safe_names(tables.classes).items()}
    group_of = {safe: group for group, safe in safe_names(tables.groups).items()}
    cases = tables.cases[tables.cases["class"] == class_of[parts[-1]]]
    if kind == "auc":  # a property of two groups, not of a case: there are no pairs
        return _Contest(by, scores, _evidence(tables, cases.iloc[:0], cases["dsc"].iloc[:0]))
    group = group_of[parts[0]] if len(parts) == 2 else tables.emptied.group if tables.emptied is not None else ""
    cases = cases[cases["group"] == group]
    values = case_retention(cases) if kind == "retention" else cases[kind]
    return _Contest(by, scores, _evidence(tables, cases, values))


def _kept(scores: pd.DataFrame) -> pd.Series[float]:
    """Share of its labelled DSC under full labeling that each cell keeps, the least over the emptied classes."""
    if scores.empty:
        return pd.Series(dtype="float64")
    by_class = scores.groupby(["cell", "class"], sort=False)[["dsc_labelled", "reference"]].mean()
    highest = by_class.groupby("class")["dsc_labelled"].transform("max")
    share = by_class["dsc_labelled"] / by_class["reference"].fillna(highest)
    return share.groupby("cell", sort=False).min()


def _columns(tables: StudyTables, cells: list[dict[str, Any]]) -> pd.DataFrame:
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


def _emptied_cases(tables: StudyTables) -> pd.DataFrame:
    if tables.emptied is None:
        return tables.cases.iloc[:0]
    hidden = (tables.cases["group"] == tables.emptied.group) & tables.cases["class"].isin(tables.emptied.classes)
    return tables.cases[hidden]


def _cell_of(tables: StudyTables, cases: pd.DataFrame) -> pd.Series[str]:
    return cases["key"].map(tables.trials.set_index("key")["cell"])


def _evidence(tables: StudyTables, cases: pd.DataFrame, values: pd.Series[float]) -> pd.DataFrame:
    """One value a cell and case (and class): the mean over the cell's trials that scored it."""
    table = cases[["case", "class", "subject"]].assign(cell=_cell_of(tables, cases), value=values)
    return table.groupby(["cell", "case", "class", "subject"], sort=False)[["value"]].mean().reset_index()


def _mean_by_cell(tables: StudyTables, cases: pd.DataFrame, values: pd.Series[float]) -> pd.Series[float]:
    return values.groupby(_cell_of(tables, cases), sort=False).mean()


def _against_first(evidence: pd.DataFrame, cells: Sequence[str], rng: np.random.Generator) -> list[float]:
    """Holm-corrected p of each cell against the first; NaN for the first and where the evidence is thin."""
    parts = {str(cell): part for cell, part in evidence.groupby("cell", sort=False)}
    p: list[float] = []
    for cell in cells:
        if cell == cells[0] or cell not in parts or cells[0] not in parts:
            p.append(math.nan)
            continue
        pairs = parts[cells[0]].merge(parts[cell], on=["case", "class", "subject"]).dropna()
        thin = pairs["subject"].nunique() < FEWEST_SUBJECTS
        p.append(math.nan if thin else paired_bootstrap(pairs["value_x"], pairs["value_y"], pairs["subject"], rng))
    return [float(value) for value in holm(p)]


def _metric(cell: dict[str, Any], name: str) -> float:
    mean = cell["metrics"].get(name, {}).get("mean")
    return math.nan if mean is None else float(mean)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _at(series: pd.Series[float], cell: dict[str, Any]) -> float:
    return float(series.get(cell["cell"], math.nan))
