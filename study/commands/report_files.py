"""A study's answers as files: maps, tables, pictures, designs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.figures.examples import draw_examples, shown_cells
from analysis.figures.heatmap import draw_plane
from analysis.figures.style import PANELS, new_figure
from analysis.figures.transition import draw_transition
from analysis.report.html import cell_names
from analysis.report.sentences import plane_sentence, slice_label
from analysis.report.terminal import map_text, table_text
from analysis.results.all_results import Findings
from analysis.results.planes import plane_rows
from analysis.results.transition_map import map_rows
from study.commands.report_examples import examples_of
from study.storage.locations import Places
from trainers.atomic_files import write_text_whole, write_whole

MOST_PICTURES = 12
"""Slices and planes that are drawn; all of them stand in the numbers."""


_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""What a format would otherwise note of the time: the same study gives the same bytes."""


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
