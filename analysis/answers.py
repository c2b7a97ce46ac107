"""The two answers of a study: the paper's table 1, and the map of where ignoring turns into learning empty."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import cell_metrics, safe_names
from analysis.outcomes import Outcome, trial_scores
from analysis.statistics import FEWEST_SUBJECTS, SIGNIFICANT, holm, paired_bootstrap
from analysis.table import DERIVED, FULL, StudyTables, is_partial, plain, settings_of
from analysis.transition import Transition, fit_transition

_OF_PARTIAL = [str(outcome) for outcome in Outcome if outcome is not Outcome.SEGMENTS]


def table_one(
    tables: StudyTables, rng: np.random.Generator, cells: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Table 1 of the study: one row a cell, group and class, in the order of the settings.

    ``dsc``, ``dv_ml`` [ml], ``auc`` (labelled against emptied group by predicted volume; the same in both
    groups' rows, None for classes that are not emptied): means, each with ``_low`` and ``_high``; ``emptied``:
    whether this row's maps were hidden in training; ``n``: trials, ``cases``: cases that have a DSC.
    ``p``: two-sided, of the DSC under partial against full labeling, all other settings as written the same,
    by paired bootstrap on the same cases, corrected by Holm over the table; None under full labeling, where no
    cell under full labeling corresponds, and where fewer than ``FEWEST_SUBJECTS`` subjects are shared.
    ``change``: mean DSC minus that under full labeling on the same cases; ``significant``: p < ``SIGNIFICANT``.
    ``cells``: of ``cell_metrics``, if they are at hand.
    """
    cells = cell_metrics(tables, rng) if cells is None else cells
    groups, classes = safe_names(tables.groups), safe_names(tables.classes)
    means = _case_means(tables)
    twins = _twins(tables, cells)
    rows: list[dict[str, Any]] = []
    p: list[float] = []
    for cell in cells:
        params = cell["params"]
        for class_ in tables.classes:
            for group in tables.groups:
                own = means.get((cell["cell"], group, class_))
                if own is None:
                    continue
                change, value = _compare(own, means.get((twins.get(cell["cell"], ""), group, class_)), rng)
                p.append(value)
                row = {
                    **params,
                    "cell": cell["cell"],
                    "group": group,
                    "class": class_,
                    "emptied": tables.is_emptied(params["labeling"], group, class_),
                    "n": cell["n"],
                    "cases": int(own["dsc"].notna().sum()),
                    "change": change,
                    "outcomes": cell["outcomes"],
                }
                of_class = f"{groups[group]}.{classes[class_]}"
                for name, metric in (("dsc", f"dsc.{of_class}"), ("dv_ml", f"dv_ml.{of_class}")):
                    row |= _figures(cell, name, metric)
                rows.append(row | _figures(cell, "auc", f"auc.{classes[class_]}"))
    for row, corrected in zip(rows, holm(p), strict=True):
        row["p"] = corrected
        row["significant"] = None if math.isnan(corrected) else bool(corrected < SIGNIFICANT)
    return [plain(row) for row in rows]


def transition_map(tables: StudyTables, rng: np.random.Generator) -> dict[str, Any]:
    """Map the transition over ε, one slice for each emptied class and setting of all but ε under partial labeling.

    A slice: ``at``, its settings; ``class``; ``v_hat`` [voxels], the mean over its trials; ``crossing`` with
    ``eps``, ``low``, ``high`` (None where open) and ``bracket`` [voxels], ``step`` (the drop is narrower than
    the grid, the interval holds the bracket) and the same ``in_v_hat``; or None and ``reason``, with
    ``reason_bracket`` around several crossings.
    ``points``, one an ε as written: ``eps`` [voxels, geometric mean over the trials], ``eps_in_v_hat``,
    ``eps_written``, ``cell``, ``n``; ``retention``, ``dsc_labelled``, ``dsc_emptied``: means over the trials that
    did not collapse, whose figures would blur two behaviours; ``outcomes``: counts over all; ``trials``: each
    trial's key, outcome and figures. The fit leaves collapsed trials out.
    """
    scores = trial_scores(tables)
    partial = scores[scores["labeling"].map(is_partial).astype(bool)]
    fixed = [name for name in tables.settings if name not in ("eps", *DERIVED)]
    slices = [
        _slice(part, settings_of(part.iloc[0], fixed), rng)
        for _, part in partial.groupby(["class", *fixed], sort=False, dropna=False)
    ]
    return {"slices": [plain(each) for each in slices]}


def map_rows(mapped: dict[str, Any]) -> list[dict[str, Any]]:
    """Flatten a map for a CSV file: one row a point, with its slice's settings and crossing [voxels]."""
    return [
        {**found["at"], "class": found["class"], "v_hat": found["v_hat"]}
        | {name: value for name, value in point.items() if name not in ("outcomes", "trials")}
        | {f"trials_{outcome}": point["outcomes"].get(outcome, 0) for outcome in _OF_PARTIAL}
        | {f"crossing_{name}": (found["crossing"] or {}).get(name) for name in ("eps", "low", "high")}
        | {"reason": found["reason"]}
        for found in mapped["slices"]
        for point in found["points"]
    ]


def _slice(scores: pd.DataFrame, at: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    v_hat = float(scores["v_hat"].mean())
    with_eps = scores[scores["eps_voxels"] > 0]
    # Folds differ a little in v̂, and so in what an ε written in v̂ means: one point, their geometric mean.
    log10_eps = np.log10(with_eps["eps_voxels"]).groupby(with_eps["cell"], sort=False).transform("mean")
    points = [_point(part, float(log10_eps[part.index[0]]), v_hat) for _, part in with_eps.groupby("cell", sort=False)]
    points.sort(key=lambda point: float(point["eps"]))
    found: dict[str, Any] = {"at": at, "class": scores["class"].iloc[0], "v_hat": v_hat}
    if with_eps.empty:
        return found | {"crossing": None, "reason": "no trial has an ε above 0", "points": []}
    kept = with_eps["retention"].notna() & (with_eps["outcome"] != Outcome.COLLAPSED)
    if not kept.any():
        counts = with_eps["outcome"].value_counts()
        tally = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        return found | {"crossing": None, "reason": f"no trial to fit: {tally}", "points": points}
    fit = fit_transition(log10_eps[kept], with_eps.loc[kept, "retention"], rng)
    return found | _crossing(fit, v_hat) | {"points": points}


def _crossing(fit: Transition, v_hat: float) -> dict[str, Any]:
    if fit.crossing is None or fit.low is None or fit.high is None:
        return {"crossing": None, "reason": fit.reason, "reason_bracket": _voxels(fit.bracket or ())}
    # An open end is −inf or inf here, not 0: JSON then has null.
    low, high = (_voxels([end])[0] if math.isfinite(end) else math.nan for end in (fit.low, fit.high))
    crossing: dict[str, Any] = {"eps": _voxels([fit.crossing])[0], "low": low, "high": high}
    crossing["bracket"] = _voxels(fit.bracket or ())
    in_v_hat = {
        name: [end / v_hat for end in value] if isinstance(value, list) else value / v_hat
        for name, value in crossing.items()
    }
    return {"crossing": crossing | {"step": fit.step, "in_v_hat": in_v_hat}, "reason": None}


def _point(trials: pd.DataFrame, log10_eps: float, v_hat: float) -> dict[str, Any]:
    eps = _voxels([log10_eps])[0]
    told = trials[~trials["outcome"].isin([Outcome.COLLAPSED, Outcome.FAILED])]
    figures = ("retention", "dsc_labelled", "dsc_emptied")
    counts = trials["outcome"].value_counts()
    return {
        "eps": eps,
        "eps_in_v_hat": eps / v_hat,
        "eps_written": trials["eps"].iloc[0],
        "cell": trials["cell"].iloc[0],
        "n": len(told),
        **{name: told[name].mean() for name in figures},
        "outcomes": {str(outcome): int(counts[outcome]) for outcome in Outcome if outcome in counts.index},
        "trials": trials[["key", "outcome", *figures]].to_dict("records"),
    }


def _voxels(log10_eps: Iterable[float]) -> list[float]:
    # Twelve digits: 10 to the power of log10 6 is 6 again.
    return [float(f"{10.0**value:.12g}") for value in log10_eps]


def _figures(cell: dict[str, Any], name: str, metric: str) -> dict[str, Any]:
    figures = cell["metrics"].get(metric, {})
    return {name: figures.get("mean"), f"{name}_low": figures.get("low"), f"{name}_high": figures.get("high")}


def _case_means(tables: StudyTables) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Per cell, group and class, each case's mean DSC over the cell's trials, with its subject."""
    cases = tables.cases.assign(cell=tables.cases["key"].map(tables.trials.set_index("key")["cell"]))
    means = cases.groupby(["cell", "group", "class", "case", "subject"], sort=False)[["dsc"]].mean().reset_index()
    found: dict[tuple[str, str, str], pd.DataFrame] = {}
    for label, part in means.groupby(["cell", "group", "class"], sort=False):
        cell, group, class_ = map(str, label)
        found[cell, group, class_] = part
    return found


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


def _compare(own: pd.DataFrame, full: pd.DataFrame | None, rng: np.random.Generator) -> tuple[float, float]:
    """Mean change of the DSC on the cases that both have, and its p; NaN where it cannot be told."""
    if full is None:
        return math.nan, math.nan
    pairs = own.merge(full, on=["case", "subject"], suffixes=("", "_full")).dropna()
    change = float((pairs["dsc"] - pairs["dsc_full"]).mean())
    if pairs["subject"].nunique() < FEWEST_SUBJECTS:
        return change, math.nan
    return change, paired_bootstrap(pairs["dsc"], pairs["dsc_full"], pairs["subject"], rng)
