"""What was expected before any training beside what the trials did, slice by slice and cell by cell.

The expectation is that of ``dicestudy explain``, handed over as its list of entries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.outcomes import Outcome

COLLAPSE_RISK = "collapse_risk"
"""The expectation that holds if any trial of the cell collapsed."""
_ALIKE = ("loss", "phi", "batch_size", "labeling")


def foretell(entries: Sequence[Mapping[str, Any]], mapped: Mapping[str, Any]) -> dict[str, Any]:
    """Lay predictions beside a map, of ``transition_map``.

    ``slices``: one a slice for which there is a prediction: ``slice``, its index; ``predicted`` [voxels], None
    where no crossing is expected; ``measured``, ``low``, ``high`` [voxels]; ``decades``: log10 of predicted over
    measured; ``inside``: whether the interval holds the prediction, an open end holding all; None where only one of
    them has a crossing or neither. ``cells``: ``cell``, ``slice``, ``eps`` [voxels], ``predicted`` and ``measured``,
    the outcomes (of more than half of the trials that tell, else None), and ``agrees``. ``agreeing``, ``told``: cells.

    Entries fit by their cell; those of an earlier version, which name none, by loss, Φ, B, labeling, class and ε.
    """
    slices, cells = [], []
    for number, found in enumerate(mapped["slices"]):
        fitting = _fitting(entries, found)
        if not fitting:
            continue
        slices.append({"slice": number, **_crossings(fitting[0].get("crossing"), found["crossing"])})
        for point in found["points"]:
            entry = next((each for each in fitting if _same_cell(each, point)), None)
            if entry is None or entry.get("outcome") is None:
                continue
            measured = _main(point["outcomes"])
            cells.append(
                {
                    "cell": point["cell"],
                    "slice": number,
                    "eps": point["eps"],
                    "predicted": entry["outcome"],
                    "measured": measured,
                    "agrees": _agrees(str(entry["outcome"]), measured, point["outcomes"]),
                }
            )
    told = [cell["agrees"] for cell in cells if cell["agrees"] is not None]
    return {"slices": slices, "cells": cells, "agreeing": sum(told), "told": len(told)}


def _fitting(entries: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries that speak of a slice."""
    cells = {point["cell"] for point in found["points"]}
    return [
        entry
        for entry in entries
        if entry.get("class", found["class"]) == found["class"]
        and (entry["cell"] in cells if "cell" in entry else _fits(entry, found))
    ]


def _same_cell(entry: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    return bool(entry["cell"] == point["cell"]) if "cell" in entry else _same_eps(entry, point)


def _fits(entry: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return all(name not in entry or str(entry[name]) == str(found["at"].get(name)) for name in _ALIKE)


def _same_eps(entry: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    if entry.get("eps") is not None and str(entry["eps"]) == str(point["eps_written"]):
        return True
    eps = entry.get("eps_voxels")
    return eps is not None and eps > 0 and math.isclose(eps, point["eps"], rel_tol=0.02)


def _crossings(predicted: float | None, crossing: Mapping[str, Any] | None) -> dict[str, Any]:
    measured, low, high = ((crossing or {}).get(name) for name in ("eps", "low", "high"))
    both = predicted is not None and measured is not None
    return {
        "predicted": predicted,
        "measured": measured,
        "low": low,
        "high": high,
        "decades": math.log10(predicted / measured) if predicted is not None and measured is not None else None,
        "inside": (low is None or low <= predicted) and (high is None or predicted <= high) if both else None,
    }


def _main(outcomes: Mapping[str, int]) -> str | None:
    told = {name: count for name, count in outcomes.items() if name not in (Outcome.FAILED, Outcome.UNSCORED)}
    if not told:
        return None
    name, most = max(told.items(), key=lambda item: item[1])
    return str(name) if 2 * most > sum(told.values()) else None


def _agrees(predicted: str, measured: str | None, outcomes: Mapping[str, int]) -> bool | None:
    if measured is None:
        return None
    if predicted == COLLAPSE_RISK:
        return bool(outcomes.get(Outcome.COLLAPSED))
    return predicted == measured
