"""The report: one self-contained page. It calls the answers, draws the figures and fills the template."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis import labels, text
from analysis.answers import table_one, transition_map
from analysis.cells import cell_metrics, safe_names
from analysis.plots import draw_roc, draw_transition, new_figure
from analysis.ranking import GOALS, best
from analysis.roc import cells_to_draw, roc_curves
from analysis.summary import roc_sentence, sentences, slice_label, slice_sentence
from analysis.table import DONE, StudyTables, settings_of

TOP = 5
"""Cells that each ranking lists."""

_FAILURE = ("key", "fold", "seed", "state", "reason")


def render_report(tables: StudyTables, about: Mapping[str, Any], rng: np.random.Generator) -> str:
    """Render the study as one HTML page that needs no network and no script.

    ``about``: what the tables do not hold; ``name`` heads the page, every other entry (versions, seeds, device,
    the study file's text…) is listed under *Environment*: a mapping as a table, many lines as they are.
    The same tables, ``about`` and state of ``rng`` give the same bytes.
    """
    cells = cell_metrics(tables, rng)
    mapped = transition_map(tables, rng)
    rows = table_one(tables, rng, cells)
    rankings = [(goal, best(tables, rng, goal=goal, top=TOP, cells=cells)) for goal in GOALS if goal != "dice"]
    page = _environment().get_template("report.html.j2")
    rendered = page.render(
        name=about.get("name", "study"),
        sentences=sentences(tables, mapped, cells),
        rows=rows,
        settings=text.shown_settings(rows),
        several_classes=len(tables.classes) > 1,
        slices=_slices(mapped),
        rankings=rankings,
        rocs=_rocs(tables, mapped, cells),
        failures=_failures(tables),
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
        loader=PackageLoader("analysis", "."),
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
        "signs": labels.SIGNS,
    }
    environment.tests["table"] = lambda value: isinstance(value, Mapping)
    return environment


def _slices(mapped: dict[str, Any]) -> list[dict[str, Any]]:
    """Each slice of the map with its name, its sentence and, where ε varies, its figure."""
    prepared = []
    for number, found in enumerate(mapped["slices"]):
        drawing = None
        if len(found["points"]) > 1:
            figure, axes = new_figure()
            draw_transition(axes, found)
            drawing = svg(figure, f"slice{number}", slice_sentence(mapped, found))
        sentence = slice_sentence(mapped, found)
        prepared.append({**found, "name": slice_label(mapped, found), "sentence": sentence, "figure": drawing})
    return prepared


def _rocs(tables: StudyTables, mapped: dict[str, Any], cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One figure of ROC curves for each emptied class, with the AUC of each curve; none where none can be drawn."""
    by_cell = {cell["cell"]: cell for cell in cells}
    safe = safe_names(tables.classes)
    prepared = []
    for number, class_ in enumerate(tables.emptied_classes):
        curves = roc_curves(tables, cells_to_draw(mapped["slices"], class_), class_)
        if not curves:
            continue
        params = [by_cell[curve.cell]["params"] for curve in curves]
        shown = [name for name in labels.varying(params, among=tables.settings) if name != "eps"]
        names = [f"{labels.label(each, shown)}, ε={text.setting_text(each, 'eps')}" for each in params]
        areas = [by_cell[curve.cell]["metrics"].get(f"auc.{safe[class_]}", {}) for curve in curves]
        sentence = roc_sentence([(name, area.get("mean")) for name, area in zip(names, areas, strict=True)])
        figure, axes = new_figure(5.2, 4.9 + 0.2 * len(curves))
        draw_roc(axes, curves, [f"{n} (AUC {labels.fixed(a.get('mean'))})" for n, a in zip(names, areas, strict=True)])
        drawing = svg(figure, f"roc{number}", sentence)
        prepared.append(
            {
                "class": class_,
                "sentence": sentence,
                "figure": drawing,
                "curves": [
                    {**area, "name": name, "cell": curve.cell, "n": curve.n}
                    for name, curve, area in zip(names, curves, areas, strict=True)
                ],
            }
        )
    return prepared


def _failures(tables: StudyTables) -> list[dict[str, Any]]:
    rows = [settings_of(row, (*tables.settings, *_FAILURE)) for _, row in tables.trials.iterrows()]
    shown = labels.varying(rows, among=tables.settings)
    return [
        {name: row[name] for name in _FAILURE}
        | {"setting": labels.label(row, shown), "reason": row["reason"] or "no reason was recorded"}
        for row in rows
        if row["state"] != DONE
    ]
