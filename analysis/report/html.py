"""The report: one self-contained page. It draws the figures of what was found and fills the template."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis import formatting as labels
from analysis.figures.contours import draw_contours
from analysis.figures.curves import draw_learning, draw_roc
from analysis.figures.examples import ExampleCase, case_text, examples_sentence, panel_text, shown_cells
from analysis.figures.heatmap_svg import plane_svgs
from analysis.figures.style import new_figure
from analysis.figures.transition import draw_transition
from analysis.report import terminal as text
from analysis.report.sentences import (
    foretold_sentence,
    plane_sentence,
    roc_sentence,
    sentences,
    slice_label,
    slice_sentence,
)
from analysis.results.all_results import Findings, find
from analysis.results.learning_curves import cells_to_follow, learning_curves
from analysis.results.prediction_check import foretell
from analysis.results.roc_curves import cells_to_draw, roc_curves
from analysis.tables import DONE, StudyTables, settings_of

MOST_SLICES, MOST_PLANES = 12, 8
"""Figures that the page draws; more would not be looked at. Numbers stand for all of them."""
LONG = 60
"""Rows from which a table is folded."""

_FAILURE = ("key", "fold", "seed", "state", "reason")


def render_report(
    tables: StudyTables,
    about: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    findings: Findings | None = None,
    links: Mapping[str, str] | None = None,
    explained: Sequence[Mapping[str, Any]] | None = None,
    epochs: pd.DataFrame | None = None,
    examples: Sequence[ExampleCase] = (),
) -> str:
    """Render the study as one HTML page that needs no network; without scripts it lacks nothing but what a cell tells.

    ``about``: what the tables do not hold; ``name`` heads the page, every other entry (versions, seeds, device,
    the study file's text…) is listed under *Environment*: a mapping as a table, many lines as they are.
    ``findings``: of ``find``, if they are at hand. ``links``: address of each cell's run. ``explained``: entries of
    ``explain``. ``epochs``: see ``learning_curves``. ``examples``: of cells of these tables.
    The same tables, ``about`` and state of ``rng`` give the same bytes.
    """
    found = find(tables, rng) if findings is None else findings
    foretold = foretell(explained, found.mapped) if explained else None
    page = _environment().get_template("report.html.j2")
    rendered = page.render(
        name=about.get("name", "study"),
        sentences=sentences(tables, found.mapped, found.cells),
        rows=found.rows,
        settings=text.shown_settings(found.rows),
        with_paper=any(row["paper"] for row in found.rows),
        several_classes=len(tables.classes) > 1,
        slices=_slices(found.mapped),
        planes=_planes(found.mapped, links or {}, foretold),
        links=links or {},
        planes_left_out=max(0, len(found.mapped["planes"]) - MOST_PLANES),
        foretold=foretold,
        foretold_sentence=foretold_sentence(foretold) if foretold else "",
        rankings=found.rankings,
        rocs=_rocs(found),
        learning=_learning(found, epochs),
        examples=_examples(found, examples),
        examples_sentence=examples_sentence(examples) if examples else "",
        failures=_failures(tables),
        cells=_cells(found, links or {}),
        cell_settings=text.shown_settings([cell["params"] for cell in found.cells]),
        about={name: value for name, value in about.items() if name != "name"},
    )
    return rendered + "\n"


def svg(figure: Figure, name: str, description: str) -> Markup:
    """Draw a figure as an SVG element for the page, the same bytes for the same figure.

    ``name`` sets its ids apart from those of the page's other figures; ``description`` is read out.
    """
    buffer = io.StringIO()
    unset = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # A salt of our own, where matplotlib would draw the ids at random.
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata=unset)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r'(\bid="|href="#|url\(#)', lambda found: f"{found[0]}{name}-", drawn)
    head, rest = drawn.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return Markup('{} role="img" aria-label="{}">{}').format(Markup(head), description, Markup(rest))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("figure", "fixed", "ranged", "p_value", "tally", "crossing_text"):
        environment.filters[name] = getattr(labels, name)
    environment.globals |= {
        "setting_text": text.setting_text,
        "differs_text": text.differs_text,
        "ranking_notes": text.ranking_notes,
        "signs": labels.SIGNS,
        "long": LONG,
    }
    environment.tests["table"] = lambda value: isinstance(value, Mapping)
    return environment


def _slices(mapped: dict[str, Any]) -> list[dict[str, Any]]:
    """Each slice of the map with its name, its sentence and, where ε varies, its figure."""
    prepared: list[dict[str, Any]] = []
    left = MOST_SLICES
    for number, found in enumerate(mapped["slices"]):
        sentence, drawing = slice_sentence(mapped, found), None
        if len(found["points"]) > 1 and left:
            left -= 1
            figure, axes = new_figure()
            draw_transition(axes, found)
            drawing = svg(figure, f"slice{number}", sentence)
        prepared.append({**found, "name": slice_label(mapped, found), "sentence": sentence, "figure": drawing})
    return prepared


def _planes(mapped: dict[str, Any], links: Mapping[str, str], foretold: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The first planes of the map with their heat maps."""
    expected = {entry["slice"]: entry["predicted"] for entry in (foretold or {"slices": []})["slices"]}
    prepared = []
    for plane in mapped["planes"][:MOST_PLANES]:
        predicted = [
            {"value": row["value"], "eps": expected[row["slice"]]}
            for row in plane["rows"]
            if expected.get(row.get("slice"))
        ]
        drawn = plane_svgs(plane, links, predicted)
        prepared.append({**plane, "sentence": plane_sentence(mapped, plane), "panels": drawn, "predicted": predicted})
    return prepared


def cell_names(found: Findings, cells: Sequence[str]) -> dict[str, str]:
    """Label these cells by the settings in which they differ, and ε."""
    params = {cell["cell"]: cell["params"] for cell in found.cells if cell["cell"] in set(cells)}
    shown = [name for name in labels.varying(list(params.values()), among=found.tables.settings) if name != "eps"]
    return {cell: f"{labels.label(each, shown)}, ε={text.setting_text(each, 'eps')}" for cell, each in params.items()}


def _rocs(found: Findings) -> list[dict[str, Any]]:
    """One figure of ROC curves for each emptied class, with the AUC of each curve; none where none can be drawn."""
    by_cell = {cell["cell"]: cell for cell in found.cells}
    prepared = []
    for number, class_ in enumerate(found.tables.emptied_classes):
        curves = roc_curves(found.tables, cells_to_draw(found.mapped["slices"], class_), class_)
        if not curves:
            continue
        by_name = cell_names(found, [curve.cell for curve in curves])
        names = [by_name[curve.cell] for curve in curves]
        areas = [by_cell[curve.cell]["metrics"].get(found.tables.metric_name("auc", class_), {}) for curve in curves]
        sentence = roc_sentence([(name, area.get("mean")) for name, area in zip(names, areas, strict=True)])
        figure, axes = new_figure(5.2, 4.9 + 0.2 * len(curves))
        draw_roc(axes, curves, [f"{n} (AUC {labels.fixed(a.get('mean'))})" for n, a in zip(names, areas, strict=True)])
        drawing = svg(figure, f"roc{number}", sentence)
        listed = [
            {**area, "name": name, "cell": curve.cell, "n": curve.n}
            for name, curve, area in zip(names, curves, areas, strict=True)
        ]
        prepared.append({"class": class_, "sentence": sentence, "figure": drawing, "curves": listed})
    return prepared


def _learning(found: Findings, epochs: pd.DataFrame | None) -> list[dict[str, Any]]:
    """One figure of learning curves for each emptied class, of the cells at the ends of the map's slices."""
    prepared = []
    for number, class_ in enumerate(found.tables.emptied_classes if epochs is not None else ()):
        chosen = cells_to_follow(found.mapped, class_)
        curves = learning_curves(found.tables, epochs, chosen, class_) if epochs is not None else []
        if curves:
            figure, axes = new_figure(6.4, 4.3 + 0.2 * len(curves))
            draw_learning(axes, curves, cell_names(found, [curve.cell for curve in curves]))
            last = max(float(curve.epochs[-1]) for curve in curves)
            sentence = f"Validation DSC of the labelled and the emptied group over {last:g} epochs."
            cells = list(dict.fromkeys(curve.cell for curve in curves))
            drawing = svg(figure, f"learning{number}", sentence)
            prepared.append({"class": class_, "sentence": sentence, "figure": drawing, "cells": cells})
    return prepared


def _examples(found: Findings, examples: Sequence[ExampleCase]) -> list[dict[str, Any]]:
    """Each case with a small figure of its label and one of what each setup found."""
    names = cell_names(found, shown_cells(examples))
    prepared = []
    for number, case in enumerate(examples):
        name = f"example{number}"
        panels = [{"cell": None, "text": "the full label", "figure": _slice_svg(name, case, None, case_text(case))}]
        for place, panel in enumerate(case.panels):
            said = f"{names[panel.setup.cell]}: {panel_text(panel)}"
            drawing = _slice_svg(f"{name}-{place}", case, panel.found, f"{case.case}, {said}")
            panels.append({"cell": panel.setup.cell, "key": panel.setup.key, "text": said, "figure": drawing})
        prepared.append({"title": case_text(case), "class": case.class_, "panels": panels})
    return prepared


def _slice_svg(name: str, case: ExampleCase, found: Any, description: str) -> Markup:
    figure, axes = new_figure(2.0, 2.0)
    drawn = {} if found is None else {"": found}
    draw_contours(axes, case.image, case.truth, drawn, aspect=case.aspect, legend=False)
    return svg(figure, name, description)


def _failures(tables: StudyTables) -> list[dict[str, Any]]:
    names = (*tables.settings, *_FAILURE)
    failed = tables.trials[tables.trials["state"] != DONE]
    varied = [name for name in tables.settings if tables.trials[name].map(str).nunique() > 1]
    shown = [name for name in tables.settings if name in (*labels.ALWAYS, *varied)]
    rows = [settings_of(row, names) for _, row in failed.iterrows()]
    return [
        {name: row[name] for name in _FAILURE}
        | {"setting": labels.label(row, shown), "reason": row["reason"] or "no reason was recorded"}
        for row in rows
    ]


def _cells(found: Findings, links: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every cell with its trials, where the page's numbers lead to."""
    keys = found.tables.trials.groupby("cell", sort=False)["key"].agg(list)
    return [{**cell, "keys": keys[cell["cell"]], "link": links.get(cell["cell"])} for cell in found.cells]
