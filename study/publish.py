"""What a launch leaves for people to look at: notes in the dashboard, and the answers as files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from analysis import answers as analysis_answers
from analysis.cells import cell_metrics
from analysis.plots import draw_transition, new_figure
from analysis.summary import sentences, slice_label
from analysis.table import StudyTables
from analysis.text import map_text, table_text
from study.answers import SEED, report_html
from study.delivery import log_cells
from study.places import Places
from study.plan import Plan
from study.query import read_tables
from study.spec import StudySpec
from study.tracking import MlflowTracker, TrackedRun
from trainers.files import write_text_whole, write_whole


def design_of(study: StudySpec) -> str:
    """Groups, classes and what is emptied, as JSON: what a reader needs beside the runs."""
    return json.dumps(
        {
            "groups": study.data.groups,
            "classes": study.data.classes,
            "emptied": study.labeling.empty.model_dump(mode="json"),
        }
    )


def note_of(plan: Plan, tables: StudyTables | None = None) -> str:
    """The experiment's description in Markdown: what is studied, how far it is, what came out."""
    study, empty = plan.study, plan.study.labeling.empty
    counts = plan.as_dict()
    lines = [
        f"**{study.name}**: what a loss does with labels that are missing or rightly empty, on `{study.data.source}`.",
        "",
        f"`partial` labeling empties {', '.join(empty.classes)} of group {empty.group} in training; "
        "all scores are against full labels.",
        "",
        f"{counts['trials']} trials in {counts['cells']} cells: {counts['done']} done, {counts['failed']} failed, "
        f"{counts['to_run']} to run. Filter runs by `tags.dicestudy.kind` = `study`, `cell` or `trial`; the study's "
        "own run has the report, the map and the table as artifacts.",
    ]
    if tables is not None and len(tables.trials):
        rng = np.random.default_rng(SEED)
        found = analysis_answers.transition_map(tables, rng)
        lines += ["", *(f"- {line}" for line in sentences(tables, found, cell_metrics(tables, rng)))]
    return "\n".join(lines)


def publish(plan: Plan, places: Places, tracker: MlflowTracker, run: TrackedRun) -> None:
    """Write the answers of a study to its folder, keep them as artifacts of its run, and renew the notes."""
    study = plan.study
    folder = places.storage.study(study.name)
    text = yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text_whole(folder / "study.yaml", text)
    tables = read_tables(study.name, places)
    log_cells(tracker, tables)
    files = [
        folder / "study.yaml",
        *write_map(analysis_answers.transition_map(tables, np.random.default_rng(SEED)), folder),
        *write_table(tables, folder),
    ]
    write_text_whole(folder / "report.html", report_html(study.name, tables, text))
    for path in [*files, folder / "report.html"]:
        tracker.log_file(run, path)
    tracker.describe(note_of(plan, tables), design_of(study), study.key)


def write_map(found: dict[str, Any], folder: Path) -> list[Path]:
    """A transition map as ``map.json``, ``map.csv`` (a row a point) and one PNG a slice that has a line."""
    written = [folder / "map.json", folder / "map.csv", folder / "map.txt"]
    write_text_whole(written[0], json.dumps(found, indent=1, allow_nan=False))
    write_text_whole(written[1], _csv(analysis_answers.map_rows(found)))
    write_text_whole(written[2], map_text(found) + "\n")
    for stale in folder.glob("map-*.png"):
        stale.unlink()
    for number, part in enumerate(found["slices"]):
        if len(part["points"]) < 2:
            continue
        figure, axes = new_figure()
        draw_transition(axes, part)
        axes.set_title(slice_label(found, part), fontsize=10)
        path = folder / f"map-{number}.png"
        write_whole(path, lambda file, figure=figure: figure.savefig(file, format="png", dpi=150))  # type: ignore[misc]
        written.append(path)
    return written


def write_table(tables: StudyTables, folder: Path) -> list[Path]:
    """Table 1 as ``table.json`` and as text."""
    rows = analysis_answers.table_one(tables, np.random.default_rng(SEED))
    written = [folder / "table.json", folder / "table.txt"]
    write_text_whole(written[0], json.dumps(rows, indent=1, allow_nan=False))
    write_text_whole(written[1], table_text(rows) + "\n")
    return written


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
