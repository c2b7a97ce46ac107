"""What a study found, in plain sentences, and what it cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from analysis.formatting import SIGNS, counted, crossing_text, figure, fixed, label, tally, varying
from analysis.outcomes import NOT_TOLD, Outcome, failure_outcome
from analysis.tables import DONE, StudyTables, is_partial

_VERBS = {
    "ignores": "ignores the emptied maps and still segments the emptied group",
    "learns_empty": "learns to output empty maps for the emptied group",
    "between": "lies between ignoring and learning empty",
    "collapsed": "collapses: the labelled group is lost as well",
    "diverged": "diverges",
    "failed": "failed",
    "unscored": "could not be scored",
}
MOST_SLICES = 8
"""Slices that the summary tells of; the map has them all."""
FEW_TRIALS = 3
"""Fewer trials a cell than this say little about other seeds, and a sentence says so."""


def sentences(tables: StudyTables, mapped: dict[str, Any], cells: Sequence[dict[str, Any]]) -> list[str]:
    """Say how many trials there are, what each slice of the map does along ε, and what cannot be said.

    ``mapped``: of ``transition_map``; ``cells``: of ``cell_metrics``.
    """
    slices = mapped["slices"]
    told = [slice_sentence(mapped, found) for found in slices[:MOST_SLICES]]
    if len(slices) > MOST_SLICES:
        crossed = sum(found["crossing"] is not None for found in slices)
        told.append(f"These are {MOST_SLICES} of {len(slices)} slices of the map; in {crossed} retention crosses ½.")
    return [*_counts(tables), *told, *_limits(tables, cells)]


def slice_sentence(mapped: dict[str, Any], found: dict[str, Any]) -> str:
    """Say what training does to the emptied group along ε in one slice of the map."""
    name = slice_label(mapped, found)
    points = found["points"]
    if not points:
        return f"{name}: {found['reason']}."
    parts = [f"training {_behaviour(run)} {_range(run)}" for run in _runs(points)]
    text = f"{name}: {'; '.join(parts)}."
    if found["crossing"] is not None:
        text += f" Retention falls through ½ {crossing_text(found)}."
        if found["crossing"]["units"] == 1:
            text += " It rests on one seed and fold, and says nothing about others."
    elif len(points) > 1:
        reason = str(found["reason"])
        text += f" {reason[0].upper()}{reason[1:]}."
    lost = sum(point["outcomes"].get("collapsed", 0) for point in points)
    trials = sum(sum(point["outcomes"].values()) for point in points)
    if lost:
        where = ", ".join(figure(point["eps"]) for point in points if point["outcomes"].get("collapsed"))
        text += f" {lost} of {trials} trials collapsed, at ε = {where} voxels; they are left out of means and fit."
    diverged = sum(point["outcomes"].get("diverged", 0) for point in points)
    return text + (f" {diverged} of {trials} trials diverged." if diverged else "")


def slice_label(mapped: dict[str, Any], found: dict[str, Any]) -> str:
    """Name a slice of the map by the settings in which the slices differ."""
    slices = mapped["slices"]
    name = label(found["at"], varying([each["at"] for each in slices]))
    several = len({each["class"] for each in slices}) > 1
    return f"{name}, {found['class']}" if several else name


def plane_sentence(mapped: dict[str, Any], plane: dict[str, Any]) -> str:
    """Say what a plane of the map shows: how the crossing moves with the other factor, and where training collapses."""
    x, y = (SIGNS.get(plane[axis], plane[axis]) for axis in ("x", "y"))
    others = varying([each["at"] for each in mapped["planes"]])
    at = label(plane["at"], [name for name in others if name in plane["at"]])
    text = f"{x} and {y}" + (f" at {at}" if plane["at"] and at != "all settings" else "")
    crossings = [(row["value"], row["crossing"]) for row in plane["rows"] if row.get("crossing")]
    if len(crossings) > 1:
        (least, low), (most, high) = (pick(crossings, key=lambda each: float(each[1]["eps"])) for pick in (min, max))
        text += f": retention crosses ½ {_place(low)} voxels for {y} = {least}"
        text += " as for all others" if _place(low) == _place(high) else f", {_place(high)} voxels for {y} = {most}"
    elif crossings:
        text += f": retention crosses ½ {_place(crossings[0][1])} voxels for {y} = {crossings[0][0]} only"
    elif plane["x"] == "eps":
        text += ": retention crosses ½ nowhere"
    else:
        known = [cell["retention"] for cell in plane["cells"] if cell["retention"] is not None]
        text += f": retention lies between {fixed(min(known))} and {fixed(max(known))}" if known else ""
    lost = sum(bool(cell["collapse"]) for cell in plane["cells"])
    return text + (f"; trials collapsed in {lost} of {len(plane['cells'])} cells." if lost else "; no trial collapsed.")


def _place(crossing: dict[str, Any]) -> str:
    """Where a crossing lies; a fall that is narrower than the grid has no place of its own."""
    if crossing["step"]:
        low, high = crossing["bracket"]
        return f"between ε = {figure(low)} and {figure(high)}"
    return f"at ε = {figure(crossing['eps'])}"


def foretold_sentence(foretold: dict[str, Any]) -> str:
    """Say how often the prediction held: outcomes by cell, crossings by slice."""
    inside = [each["inside"] for each in foretold["slices"] if each["inside"] is not None]
    return (
        f"The outcome was foretold in {foretold['agreeing']} of {foretold['told']} cells, and the crossing lies in the "
        f"measured interval in {sum(inside)} of {len(inside)} slices that have both."
    )


def roc_sentence(entries: Sequence[tuple[str, float | None]]) -> str:
    """Say which curve tells the groups apart best and which worst; entries are a label and its AUC."""
    told = [(area, name) for name, area in entries if area is not None]
    if not told:
        return "No cell has an AUC."
    (worst, worst_name), (best, best_name) = min(told), max(told)
    if len(told) == 1:
        return f"The predicted volume tells the groups apart with AUC {fixed(best)} under {best_name}."
    return (
        f"The predicted volume tells the groups apart best under {best_name} (AUC {fixed(best)}) and worst under "
        f"{worst_name} (AUC {fixed(worst)}; ½ is guessing)."
    )


def _counts(tables: StudyTables) -> list[str]:
    trials = tables.trials
    if trials.empty:
        return ["No trial has ended yet, so nothing can be said."]
    done = int((trials["state"] == DONE).sum())
    text = f"{counted(len(trials), 'trial')} in {counted(trials['cell'].nunique(), 'cell')}: "
    text += f"{done} done, {len(trials) - done} failed"
    diverged = sum(
        failure_outcome(reason) is Outcome.DIVERGED for reason in trials.loc[trials["state"] != DONE, "reason"]
    )
    text += f", {diverged} of them because they diverged." if diverged else "."
    if not done:
        return [text, "All trials failed, so nothing can be said about the loss; see the failures."]
    bare = set(trials.loc[trials["state"] == DONE, "key"]) - set(
        tables.cases.loc[tables.cases["pred_ml"].notna(), "key"]
    )
    return [text, f"{len(bare)} trials are done without a score; no figure knows of them."] if bare else [text]


def _limits(tables: StudyTables, cells: Sequence[dict[str, Any]]) -> list[str]:
    """Say what the study cannot answer."""
    if not any(cell["n"] for cell in cells):
        return []
    limits = []
    kinds = [cell["params"]["labeling"] for cell in cells if cell["n"]]
    if tables.emptied is None:
        limits.append("The study empties no group, so it cannot say what a loss does with missing labels.")
    elif not any(map(is_partial, kinds)):
        limits.append("No trial under partial labeling is done, so the study cannot say what happens to emptied maps.")
    elif all(map(is_partial, kinds)):
        limits.append(
            "No trial under full labeling is done: collapse is judged by an absolute floor, and nothing is compared "
            "with full labels."
        )
    if max(cell["n"] for cell in cells) < FEW_TRIALS:
        most = max(cell["n"] for cell in cells)
        trials = "one trial" if most == 1 else f"{most} trials"
        limits.append(
            f"No cell has more than {trials}: intervals tell how cases differ, not how other seeds or folds would."
        )
    if any(map(is_partial, kinds)) and tables.emptied is not None and not _has_labelled(tables):
        limits.append(
            f"Group {tables.emptied.group} is the only one and no class of it is always labelled, so collapse cannot "
            "be told from learning empty, and there is no AUC."
        )
    if len(kinds) == 1:
        limits.append("Only one cell is done, so nothing can be compared.")
    return limits


def _has_labelled(tables: StudyTables) -> bool:
    return len(tables.groups) > 1 or set(tables.classes) > set(tables.emptied_classes)


def _runs(points: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Split the points along ε where the main behaviour changes."""
    return [list(run) for _, run in groupby(points, key=_main)]


def _main(point: dict[str, Any]) -> str:
    """Name what more than half of a point's trials did, collapsed and failed ones aside; empty if split."""
    told = {name: count for name, count in point["outcomes"].items() if name not in NOT_TOLD}
    counts = told or point["outcomes"]
    name, most = max(counts.items(), key=lambda item: item[1])
    return name if 2 * most > sum(counts.values()) else ""


def _behaviour(run: Sequence[dict[str, Any]]) -> str:
    main = _main(run[0])
    if main:
        return _VERBS.get(main, main)
    total: Counter[str] = Counter()
    for point in run:
        total.update(point["outcomes"])
    return f"is divided ({tally(total)})"


def _range(run: Sequence[dict[str, Any]]) -> str:
    first, last = figure(run[0]["eps"]), figure(run[-1]["eps"])
    return f"at ε = {first} voxels" if len(run) == 1 else f"from ε = {first} to {last} voxels"
