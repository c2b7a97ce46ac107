"""What a launch leaves for people to look at: notes in the dashboard, and the answers as files."""

from __future__ import annotations

import json
from typing import Any

from analysis.report.sentences import sentences
from analysis.results.all_results import Findings
from analysis.tables import plain
from study.commands.answers import findings_of
from study.commands.explain import explain
from study.commands.report import EXPLAINED_FILE, report_html
from study.commands.report_files import write_examples, write_map, write_table
from study.config.spec import StudySpec
from study.planning.plan import Plan
from study.storage.locations import Places
from study.storage.study_record import STUDY_FILE
from study.tracking.reader import read_tables
from study.tracking.run_links import run_links
from study.tracking.saved_views import views_of
from study.tracking.writer import MlflowTracker
from trainers.atomic_files import write_text_whole
from trainers.data.prepared.read import is_prepared
from trainers.errors import InputError


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
