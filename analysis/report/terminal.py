"""Answers as plain text for the terminal: aligned columns, one string each."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.formatting import NOTHING, SIGNS, crossing_text, figure, fixed, label, p_value, ranged, tally, varying
from analysis.report.sentences import FEW_TRIALS, slice_label
from analysis.theory.advice import Advice, advice_text

SETTINGS = ("phi", "eps", "batch_size", "labeling")
_ADVISED = ("loss", "phi", "batch_size", "labeling", "class")
"""What the slices of ``explain`` may differ in."""
_SCORES = ("dsc", "dv_ml", "auc")
_FIGURES = {
    *("cell", "group", "class", "emptied", "n", "cases", "change", "outcomes", "p", "significant"),
    *("eps_voxels", "v_hat", "paper"),
    *(f"{name}{end}" for name in _SCORES for end in ("", "_low", "_high")),
}


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """Write table 1: a line a cell, group and class; ``*`` marks p < 0.05 against full labeling, ``∅`` emptied maps."""
    if not rows:
        return "no trial is done and scored, so there is no table"
    names = shown_settings(rows)
    several = len({row["class"] for row in rows}) > 1
    head = [SIGNS.get(name, name) for name in names] + ["group"] + ["class"] * several
    with_paper = any(row["paper"] for row in rows)
    head += ["DSC", "ΔV [ml]", "AUC", "n", "p", *["paper: DSC, ΔV"] * with_paper, "outcomes"]
    lines = []
    for row in rows:
        mark = "*" if row["significant"] else ""
        group = f"{row['group']} ∅" if row["emptied"] else row["group"]
        lines.append(
            [setting_text(row, name) for name in names]
            + [group]
            + [row["class"]] * several
            + [
                ranged(row["dsc"], row["dsc_low"], row["dsc_high"]) + mark,
                fixed(row["dv_ml"], 1),
                fixed(row["auc"]),
                str(row["n"]),
                p_value(row["p"]),
                *[paper_text(row["paper"])] * with_paper,
                tally(row["outcomes"]),
            ]
        )
    notes = (
        "∅ emptied for training. * DSC differs from full labeling, p < 0.05 (paired, Holm over the table). "
        "[95 % interval]. n: trials."
    )
    notes += " paper: the means of Tilborghs et al. (2022) for the same setup." if with_paper else ""
    return f"{columns(head, lines)}\n{notes}"


def paper_text(figures: Mapping[str, Any] | None) -> str:
    """Write the paper's figures of a setup, ``0.83, −12 (BRATS)``."""
    if figures is None:
        return NOTHING
    return f"{fixed(figures['dsc'])}, {fixed(figures['dv_ml'], 0)} ({figures['data']})"


def best_text(entries: Sequence[dict[str, Any]]) -> str:
    """Write the ranking: a line a cell with its score, its figures and whether it differs from the first."""
    if not entries:
        return "no cell qualifies: none is done, none fits the filter, or none keeps the labelled group"
    names = shown_settings([entry["params"] for entry in entries])
    metrics = sorted({name for entry in entries for name in entry["metrics"] if not name.startswith("dv_ml")})
    head = ["", *(SIGNS.get(name, name) for name in names), "score", *metrics, "n", "differs", "outcomes"]
    lines = []
    for entry in entries:
        known = [entry["metrics"].get(name, {}) for name in metrics]
        lines.append(
            [str(entry["rank"])]
            + [setting_text(entry["params"], name) for name in names]
            + [fixed(entry["score"], 3)]
            + [ranged(found.get("mean"), found.get("low"), found.get("high")) for found in known]
            + [str(entry["n"]), differs_text(entry), tally(entry["outcomes"])]
        )
    notes = (
        "differs: from the first, p < 0.05, paired on the same cases, Holm over all pairs. [95 % interval]. n: trials."
    )
    return "\n".join([f"by {entries[0]['ranked_by']}", columns(head, lines), notes, *ranking_notes(entries)])


def front_text(entries: Sequence[dict[str, Any]]) -> str:
    """Write a front: a line a cell with the metrics that it is of."""
    if not entries:
        return "no cell qualifies: none is done, or none fits the filter"
    names, metrics = shown_settings([entry["params"] for entry in entries]), list(entries[0]["values"])
    lines = [
        [str(entry["rank"])]
        + [setting_text(entry["params"], name) for name in names]
        + [ranged(*(entry["metrics"][metric][end] for end in ("mean", "low", "high"))) for metric in metrics]
        + [str(entry["n"]), tally(entry["outcomes"])]
        for entry in entries
    ]
    head = ["", *(SIGNS.get(name, name) for name in names), *metrics, "n", "outcomes"]
    return f"no other cell beats these in {' and '.join(metrics)}\n{columns(head, lines)}\n[95 % interval]. n: trials."


def ranking_notes(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which cells cannot be told from the first, and where the evidence is thin."""
    notes = []
    tied = [str(entry["rank"]) for entry in entries if entry["differs_from_first"] is False]
    if tied:
        notes.append(f"Not told apart from the first: {', '.join(tied)}; the order among them may be chance.")
    thin = [str(entry["rank"]) for entry in entries[1:] if entry["differs_from_first"] is None]
    if thin:
        fewest = min(entry["subjects"] for entry in entries[1:] if entry["differs_from_first"] is None)
        why = f"with {fewest} shared subjects no difference could be told" if fewest else "there are no pairs"
        notes.append(f"Cannot be compared with the first: {', '.join(thin)}; {why}.")
    few = [str(entry["rank"]) for entry in entries if entry["n"] < FEW_TRIALS]
    if few:
        notes.append(f"Fewer than {FEW_TRIALS} trials, which say little about other seeds: {', '.join(few)}.")
    return notes


def map_text(mapped: dict[str, Any]) -> str:
    """Write the map: each slice with its crossing, or the reason why there is none, and its points."""
    if not mapped["slices"]:
        return "no trial under partial labeling, so there is no map"
    blocks = []
    for found in mapped["slices"]:
        at_v_hat = f"v̂ = {figure(found['v_hat'], 4)} voxels" if found["v_hat"] is not None else "no v̂"
        crossing = "crossing " if found["crossing"] is not None else ""
        text = f"{slice_label(mapped, found)} ({at_v_hat})\n  {crossing}{crossing_text(found)}"
        if found["curve"] is not None:
            text += f"\n  {curve_text(found)}"
        if found["points"]:
            lines = [
                [
                    figure(point["eps"]),
                    figure(point["eps_in_v_hat"]),
                    fixed(point["retention"]),
                    fixed(point["dsc_labelled"]),
                    fixed(point["dsc_emptied"]),
                    tally(point["outcomes"]),
                ]
                for point in found["points"]
            ]
            head = ["ε [voxels]", "ε [v̂]", "retention", "DSC labelled", "DSC emptied", "outcomes"]
            text += "\n" + "\n".join(f"  {line}" for line in columns(head, lines).splitlines())
        blocks.append(text)
    return "\n\n".join(blocks)


def curve_text(found: Mapping[str, Any]) -> str:
    """Write a slice's fitted curve, and how many seeds and folds its crossing rests on."""
    curve, units = found["curve"], found["crossing"]["units"]
    within = f"less than {figure(curve['narrower_than'])}" if curve["width"] is None else figure(curve["width"], 2)
    text = f"falls from {fixed(curve['upper'])} to {fixed(curve['lower'])} within {within} decades"
    rests = "one seed and fold" if units == 1 else f"{units} seeds and folds"
    return f"{text}, R² {fixed(curve['r2'])}; {rests}" + (" only" if units < FEW_TRIALS else "")


def explain_text(entries: Sequence[dict[str, Any]]) -> str:
    """Write what is expected of each cell: a line each, with the push on emptied maps and the outcome."""
    names = [name for name in ("loss", "class") if len({entry[name] for entry in entries}) > 1]
    head = [*names, "Φ", "ε", "ε [v̂]", "B", "labeling", "both in a batch", "push", "outcome", "crossing at ε"]
    lines = [
        [
            *(str(entry[name]) for name in names),
            entry["phi"] or NOTHING,
            setting_text(entry, "eps") if entry["eps"] else NOTHING,
            figure(entry["eps_in_v_hat"]),
            str(entry["batch_size"]),
            entry["labeling"],
            fixed(entry["both"]),
            figure(entry["push"], 2),
            "nothing emptied" if entry["labeling"] == "full" else (entry["outcome"] or NOTHING).replace("_", " "),
            figure(entry["crossing"]),
        ]
        for entry in entries
    ]
    notes = (
        "push: gradient on emptied maps against that on labelled ones, in the middle of a training. "
        "crossing: where cells like this are expected to turn from ignoring to learning empty [voxels]."
    )
    return "\n".join([f"{columns(head, lines)}\n{notes}", *advice_lines(entries)])


def advice_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which ε to choose for either goal, a line a slice, and what that rests on."""
    shown = varying([{name: entry.get(name) for name in _ADVISED} for entry in entries], among=_ADVISED)
    lines: dict[str, None] = {}
    for entry in entries:
        if entry.get("advice") is not None:
            advice = Advice(**entry["advice"])
            lines[advice_text(label(entry, shown), advice, entry["v_hat"])] = None
    rests = [entry["advice"]["rests_on"] for entry in entries if entry.get("advice")][:1]
    return ["", *lines, f"Rests on {rests[0]}."] if lines else []


def shown_settings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the settings that a table shows: Φ, ε, B and labeling, and whatever else varies between its rows."""
    own = [{name: value for name, value in row.items() if name not in _FIGURES} for row in rows]
    return [*SETTINGS, *(name for name in varying(own) if name not in SETTINGS)]


def setting_text(row: Mapping[str, Any], name: str) -> str:
    """Write one setting as a table's entry; ε as written, with its voxels where that is no number."""
    value = row.get(name)
    if value is None or value == "":
        return NOTHING
    if name == "eps" and "v_hat" in str(value):
        return f"{str(value).replace('v_hat', 'v̂')} ({figure(row.get('eps_voxels'))})"
    return figure(value) if isinstance(value, float) else str(value)


def differs_text(entry: Mapping[str, Any]) -> str:
    """Write whether an entry differs from the first of its ranking."""
    if entry["rank"] == 1:
        return "first"
    if entry["differs_from_first"] is None:
        return "cannot tell"
    return f"{'yes' if entry['differs_from_first'] else 'no'}, p {p_value(entry['p'])}"


def columns(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Align columns by their width on screen, two spaces between."""
    widths = [max(map(_width, column)) for column in zip(head, *lines, strict=True)]
    rows = [
        "  ".join(text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *lines)
    ]
    return "\n".join([rows[0], "  ".join("─" * width for width in widths), *rows[1:]])


def _width(text: str) -> int:
    # The hat of v̂ is a sign of its own that takes no place.
    return sum(not unicodedata.combining(sign) for sign in text)
