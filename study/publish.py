"""What a launch leaves for people to look at: notes in the dashboard, and the answers as files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.answers import map_rows
from analysis.examples import draw_examples, shown_cells
from analysis.findings import Findings
from analysis.planes import plane_rows
from analysis.plots import PANELS, draw_plane, draw_transition, new_figure
from analysis.report import cell_names
from analysis.summary import plane_sentence, sentences, slice_label
from analysis.table import plain
from analysis.text import map_text, table_text
from study.answers import EXPLAINED_FILE, findings_of, report_html
from study.examples import examples_of
from study.foresight import explain
from study.places import Places
from study.plan import Plan
from study.query import read_tables
from study.run_links import run_links
from study.spec import StudySpec
from study.standing import STUDY_FILE
from study.tracking import MlflowTracker
from study.views import views_of
from trainers.data.prepared import is_prepared
from trainers.errors import InputError
from trainers.files import write_text_whole, write_whole

MOST_PICTURES = 12
"""Slices and planes that are drawn; all of them stand in the numbers."""
_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""What a format would otherwise note of the time: the same study gives the same bytes."""


def design_of(study: StudySpec) -> str:
    """Groups, classes and what is emptied, as JSON: what a reader needs beside the runs."""
    return json.dumps(
        {
            "groups": study.data.groups,
            "classes": study.data.classes,
            "emptied": study.labeling.empty.model_dump(mode="json"),
        }
    )


def note_of(plan: Plan, found: Findings | None = None) -> str:
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
    if found is not None and len(found.tables.trials):
        lines += ["", *(f"- {line}" for line in sentences(found.tables, found.mapped, found.cells))]
    return "\n".join(lines)


def publish(plan: Plan, places: Places, tracker: MlflowTracker) -> Findings:
    """Write the answers of a study to its folder, keep them as artifacts of its run, and renew the notes."""
    study = plan.study
    folder = places.storage.study(study.name)
    text = (folder / STUDY_FILE).read_text()
    tables = read_tables(study.name, places)
    found = findings_of(tables)
    write_text_whole(folder / EXPLAINED_FILE, json.dumps(_explained(plan, places), indent=1, allow_nan=False))
    files = [
        folder / STUDY_FILE,
        folder / EXPLAINED_FILE,
        *write_map(found.mapped, folder),
        *write_table(found.rows, folder),
    ]
    files += write_examples(found, places, folder)
    page = report_html(study.name, tables, text, places, found, run_links(study.name, places))
    write_text_whole(folder / "report.html", page)
    for path in [*files, folder / "report.html"]:
        tracker.log_file(tracker.summary, path)
    tracker.describe(note_of(plan, found), design_of(study), study.key, views_of(study, plan.trials))
    return found


def _explained(plan: Plan, places: Places) -> list[dict[str, Any]]:
    """What was to be expected of the study; nothing where its data is not at hand any more."""
    if not all(is_prepared(places.storage.prepared(spec.data_key)) for spec in plan.trials):
        return []
    try:
        return [plain(entry) for entry in explain(plan.study, places)]
    except InputError:
        return []


def write_map(found: dict[str, Any], folder: Path) -> list[Path]:
    """A transition map as numbers and pictures.

    ``map.json``, ``map.csv`` (a row a point), ``planes.csv`` (a row a cell of a plane) and ``map.txt``; as PNG, SVG
    and PDF ``map-N``, a slice that has a line, and ``plane-N``, the heat maps over two factors.
    """
    written = [folder / name for name in ("map.json", "map.csv", "planes.csv", "map.txt")]
    write_text_whole(written[0], json.dumps(found, indent=1, allow_nan=False))
    write_text_whole(written[1], _csv(map_rows(found)))
    write_text_whole(written[2], _csv(plane_rows(found)))
    write_text_whole(written[3], map_text(found) + "\n")
    for kind in ("map", "plane"):
        for stale in folder.glob(f"{kind}-*.*"):
            stale.unlink()
    lines = [(number, part) for number, part in enumerate(found["slices"]) if len(part["points"]) > 1]
    for number, part in lines[:MOST_PICTURES]:
        figure, axes = new_figure()
        draw_transition(axes, part)
        axes.set_title(slice_label(found, part), fontsize=10)
        written += _draw(figure, folder / f"map-{number}")
    for number, plane in enumerate(found["planes"][:MOST_PICTURES]):
        figure = Figure(figsize=(13, 2.2 + 0.45 * len(plane["rows"])), layout="constrained")
        for axes, (name, _, _) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            draw_plane(axes, plane, name)
        figure.suptitle(plane_sentence(found, plane), fontsize=10)
        written += _draw(figure, folder / f"plane-{number}")
    return written


def write_examples(found: Findings, places: Places, folder: Path) -> list[Path]:
    """Chosen cases under setups that did different things as ``examples`` in PNG, SVG and PDF; none without slices."""
    for stale in folder.glob("examples.*"):
        stale.unlink()
    cases = examples_of(found, places)
    if not cases:
        return []
    return _draw(draw_examples(cases, cell_names(found, shown_cells(cases))), folder / "examples")


def write_table(rows: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Table 1 as ``table.json`` and as text."""
    written = [folder / "table.json", folder / "table.txt"]
    write_text_whole(written[0], json.dumps(rows, indent=1, allow_nan=False))
    write_text_whole(written[1], table_text(rows) + "\n")
    return written


def _draw(figure: Figure, path: Path) -> list[Path]:
    """Save a figure in every format."""
    written = []
    for kind, metadata in _UNDATED.items():
        target = path.parent / f"{path.name}.{kind}"
        with mpl.rc_context({"svg.hashsalt": path.name}):
            write_whole(
                target,
                lambda file, kind=kind, metadata=metadata: figure.savefig(  # type: ignore[misc]
                    file, format=kind, dpi=150, metadata=metadata
                ),
            )
        written.append(target)
    return written


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
