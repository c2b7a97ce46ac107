"""The two answers of a study: the paper's table 1, and the map of where ignoring turns into learning empty."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from analysis.cells import cell_metrics, safe_names
from analysis.outcomes import NOT_TOLD, Outcome, trial_scores
from analysis.placed import fit_placed, is_placed
from analysis.planes import planes_of
from analysis.published import paper_figures
from analysis.scores import StudyScores, study_scores
from analysis.statistics import (
    SIGNIFICANT,
    SUBJECT_RESAMPLES,
    FloatArray,
    draw_resamples,
    holm,
    paired_tests,
    resampled_rows,
    wilson,
)
from analysis.table import DERIVED, FULL, StudyTables, is_partial, plain
from analysis.transition import Transition, fit_transition

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
    groups, classes = safe_names(tables.groups), safe_names(tables.classes)
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
                of_class = f"{groups[group]}.{classes[class_]}"
                if f"dv_ml.{of_class}" not in cell["metrics"]:
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
                for name, metric in (("dsc", f"dsc.{of_class}"), ("dv_ml", f"dv_ml.{of_class}")):
                    row |= _figures(cell, name, metric)
                rows.append(row | _figures(cell, "auc", f"auc.{classes[class_]}"))
        stacked = np.array(differences).reshape(len(differences), len(whole.subject))
        p += list(paired_tests(stacked, whole.subject, rng)[0])
    for row, corrected in zip(rows, holm(p), strict=True):
        row["p"] = corrected
        row["significant"] = None if math.isnan(corrected) else bool(corrected < SIGNIFICANT)
    order = {name: number for number, name in enumerate((*(cell["cell"] for cell in cells), *tables.classes))}
    rows.sort(key=lambda row: (order[row["cell"]], order[row["class"]]))
    return [plain(row) for row in rows]


def transition_map(
    tables: StudyTables,
    rng: np.random.Generator,
    scores: pd.DataFrame | None = None,
    matrices: StudyScores | None = None,
) -> dict[str, Any]:
    """Map the transition over ε, one slice for each emptied class and setting of all but ε under partial labeling.

    A slice: ``at``, its settings; ``class``; ``v_hat`` [voxels], the mean over its trials; ``crossing`` with
    ``eps``, ``low``, ``high`` (None where open) and ``bracket`` [voxels], ``step`` (the drop is narrower than
    the grid, the interval holds the bracket), ``units``, the seeds and folds that the interval rests on, and the
    same ``in_v_hat``; or None and ``reason``, with ``reason_bracket`` around several crossings. ``curve``: the
    falling curve, ``upper``, ``lower``, ``middle`` [voxels], ``width`` and ``narrower_than`` [decades], ``r2``; None
    without a crossing.
    ``points``, one an ε as written: ``eps`` [voxels, geometric mean over the trials], ``eps_in_v_hat``,
    ``eps_written``, ``cell``, ``n``; ``retention``, ``dsc_labelled``, ``dsc_emptied``: means over the trials that
    did not collapse, whose figures would blur two behaviours; ``collapse``: the share of collapsed among the trained,
    with ``low`` and ``high`` after Wilson; ``outcomes``: counts over all; ``trials``: each trial's key, outcome and
    figures. The fit leaves collapsed trials out.
    ``planes``: the map over two factors, see ``analysis.planes.planes_of``.
    ``scores``, ``matrices``: of ``trial_scores`` and ``study_scores``, if they are at hand.
    """
    scores = trial_scores(tables) if scores is None else scores
    matrices = study_scores(tables) if matrices is None else matrices
    fixed = [name for name in tables.settings if name not in ("eps", *DERIVED)]
    needed = ["key", "cell", "fold", "seed", "class", "outcome", "eps", "eps_voxels", "v_hat", *_FIGURES, *fixed]
    records = scores.assign(row=_rows_of(scores, tables))[[*dict.fromkeys(needed), "row"]].to_dict("records")
    slices: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        if is_partial(record["labeling"]):
            own = {str(name): value for name, value in record.items()}
            slices.setdefault((own["class"], *(str(own[name]) for name in fixed)), []).append(own)
    resampled = {class_: _resampled_retention(tables, matrices, class_, rng) for class_ in tables.emptied_classes}
    found = [
        _slice(part, {name: part[0][name] for name in fixed}, resampled[part[0]["class"]], rng)
        for part in slices.values()
    ]
    return {"slices": [plain(each) for each in found], "planes": [plain(each) for each in planes_of(found)]}


def map_rows(mapped: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flatten a map for a CSV file: one row a point, with its slice's settings, crossing and curve [voxels]."""
    return [
        {**found["at"], "class": found["class"], "v_hat": found["v_hat"]}
        | {name: value for name, value in point.items() if name not in ("outcomes", "trials", "collapse")}
        | {f"collapse_{name}": point["collapse"][name] for name in ("share", "low", "high")}
        | {f"trials_{outcome}": point["outcomes"].get(outcome, 0) for outcome in _OF_PARTIAL}
        | {f"crossing_{name}": (found["crossing"] or {}).get(name) for name in ("eps", "low", "high")}
        | {f"curve_{name}": (found["curve"] or {}).get(name) for name in ("upper", "lower", "width", "r2")}
        | {"reason": found["reason"]}
        for found in mapped["slices"]
        for point in found["points"]
    ]


def _rows_of(scores: pd.DataFrame, tables: StudyTables) -> pd.Series[int]:
    return scores["key"].map(pd.Series(np.arange(len(tables.trials)), index=tables.trials["key"]))


def _resampled_retention(
    tables: StudyTables, matrices: StudyScores, class_: str, rng: np.random.Generator
) -> FloatArray:
    """Retention of every trial on resampled subjects, (resample, trial)."""
    hidden = tables.groups.index(tables.emptied.group) if tables.emptied is not None else -1
    own = matrices.classes[class_].of_group(hidden)
    drawn = draw_resamples([], matrices.subjects, rng, SUBJECT_RESAMPLES)
    return resampled_rows(own.scores["retention"], own.subject, drawn)


def _slice(
    trials: list[dict[str, Any]], at: dict[str, Any], resampled: FloatArray, rng: np.random.Generator
) -> dict[str, Any]:
    known = [trial["v_hat"] for trial in trials if math.isfinite(trial["v_hat"])]
    v_hat = float(np.mean(known)) if known else math.nan
    found: dict[str, Any] = {"at": at, "class": trials[0]["class"], "v_hat": v_hat, "crossing": None, "curve": None}
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        if trial["eps_voxels"] > 0:
            by_cell.setdefault(trial["cell"], []).append(trial)
    # Folds differ a little in v̂, and so in what an ε written in v̂ means: one point, their geometric mean.
    log10_eps = {
        cell: float(np.mean([math.log10(trial["eps_voxels"]) for trial in part])) for cell, part in by_cell.items()
    }
    points = [_point(part, log10_eps[cell], v_hat) for cell, part in by_cell.items()]
    points.sort(key=lambda point: float(point["eps"]))
    if not points:
        return found | {"reason": "no trial has an ε above 0", "points": []}
    kept = [
        trial
        for part in by_cell.values()
        for trial in part
        if trial["outcome"] not in NOT_TOLD and math.isfinite(trial["retention"])
    ]
    if not kept:
        tally = ", ".join(f"{count} {outcome}" for outcome, count in _counts([*chain(*by_cell.values())]).items())
        return found | {"reason": f"no trial to fit: {tally}", "points": points}
    places, values = [log10_eps[trial["cell"]] for trial in kept], [trial["retention"] for trial in kept]
    units = [f"{trial['fold']} {trial['seed']}" for trial in kept]
    fit = fit_transition(places, values, rng, units=units, resampled=resampled[:, [trial["row"] for trial in kept]])
    if is_placed(places, units):
        fit = fit_placed(fit, places, values)
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
    curve = None if fit.curve is None else vars(fit.curve) | {"middle": _voxels([fit.curve.middle])[0]}
    crossing |= {"step": fit.step, "units": fit.units, "in_v_hat": in_v_hat}
    return {"crossing": crossing, "reason": None, "curve": curve}


def _point(trials: list[dict[str, Any]], log10_eps: float, v_hat: float) -> dict[str, Any]:
    eps = _voxels([log10_eps])[0]
    told = [trial for trial in trials if trial["outcome"] not in NOT_TOLD]
    means = {}
    for name in _FIGURES:
        known = [trial[name] for trial in told if math.isfinite(trial[name])]
        means[name] = float(np.mean(known)) if known else math.nan
    lost = sum(trial["outcome"] == Outcome.COLLAPSED for trial in trials)
    share, low, high = wilson(lost, lost + len(told))
    return {
        "eps": eps,
        "eps_in_v_hat": eps / v_hat,
        "eps_written": trials[0]["eps"],
        "cell": trials[0]["cell"],
        "n": len(told),
        **means,
        "collapse": {"share": share, "low": low, "high": high},
        "outcomes": _counts(trials),
        "trials": [{name: trial[name] for name in ("key", "outcome", *_FIGURES)} for trial in trials],
    }


def _counts(trials: list[dict[str, Any]]) -> dict[str, int]:
    seen = [trial["outcome"] for trial in trials]
    return {str(outcome): seen.count(outcome) for outcome in Outcome if outcome in seen}


def _voxels(log10_eps: Iterable[float]) -> list[float]:
    # Twelve digits: 10 to the power of log10 6 is 6 again.
    return [float(f"{10.0**value:.12g}") for value in log10_eps]


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
