"""The transition map of a study: per slice the crossing, and the points it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from analysis.outcomes import NOT_TOLD, Outcome, trial_scores
from analysis.results.planes import planes_of
from analysis.results.score_matrix import StudyScores, study_scores
from analysis.results.table_one import _FIGURES, _OF_PARTIAL
from analysis.stats.bootstrap import SUBJECT_RESAMPLES, FloatArray, draw_resamples, resampled_rows, wilson
from analysis.tables import DERIVED, StudyTables, is_partial, plain
from analysis.transition.fit import Transition, fit_transition
from analysis.transition.single_trial_seeds import fit_placed, is_placed


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
    ``planes``: the map over two factors, see ``analysis.results.planes.planes_of``.
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
