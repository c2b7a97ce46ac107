"""The read side of the tracking server: a study's trials as tables."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from mlflow import MlflowClient

from analysis.tables import Emptied, StudyTables
from study.config.trial_params import RESOLVED
from study.storage.folders import UnknownStudyError
from study.storage.locations import Places
from study.storage.tables import make_tables, read_cases
from study.tracking.client import all_runs, open_client
from study.tracking.row_cache import KeptRows
from study.tracking.schema import CELL, DESIGN, ENDING, IN_STUDY, KEY, KIND, NOTHING, REASON, STATE, VERSION
from trainers.errors import Fault, InputError
from trainers.result import CASES_FILE, read_ending

MARGIN_MS = 60_000
"""How long before the newest ending others may have ended that were not in the store yet."""
FEW = 50
"""Trials that are rather read once more from the store than kept: keeping writes those of the whole study."""
TEXT = ("loss", "phi", "eps", "labeling")
"""Parameters that stay text even where they look like a number."""


def read_tables(study: str, places: Places) -> StudyTables:
    """Tables of a study's finished trials, those that its file still names.

    Raises: InputError if the store does not answer or does not know the study.
    """
    client = open_client(places.store, create=False)
    experiment = find_experiment(client, study)
    design = _design(client, experiment, study)
    launch = _launch_of(client, experiment)
    kept = KeptRows(places.storage.study(study))
    rows, cases = kept.load(launch)
    members = f"tags.`{KIND}` = 'trial' AND tags.`{IN_STUDY}` = 'true'"
    gone: set[str] = set()
    if rows:
        # A run that ended a little before the newest may have been written after it was read.
        since = max(row["ended"] for row in rows.values()) - MARGIN_MS
        fresh = list(all_runs(client, experiment, f"{members} AND attributes.end_time >= {since}"))
        begun = all_runs(client, experiment, f"{members} AND attributes.status = 'RUNNING'")
        gone = {run.data.tags[KEY] for run in [*begun, *fresh]} & rows.keys()
    else:
        fresh = list(all_runs(client, experiment, members))
    over = [run for run in fresh if run.data.tags.get(STATE) in ("DONE", "FAILED")]
    with TemporaryDirectory() as scratch:
        files = [_cases(client, run, places, Path(scratch)) for run in over if run.data.tags[STATE] == "DONE"]
        found = read_cases(files)
    rows = {key: row for key, row in rows.items() if key not in gone}
    rows |= {run.data.tags[KEY]: {**_row(run), "ended": run.info.end_time or 0} for run in over}
    for row in rows.values():  # a cache of an earlier version lacks the ending
        row.setdefault("ending", read_ending(row["state"], row["reason"]))
    cases = found if cases is None else pd.concat([cases[~cases["key"].isin(gone)], found], ignore_index=True)
    if len(over) > FEW or (over and cases is found):
        kept.save(launch, rows, cases)
    return make_tables(
        [{name: value for name, value in row.items() if name != "ended"} for row in rows.values()],
        cases,
        Emptied(design["emptied"]["group"], tuple(design["emptied"]["classes"])),
        design["groups"],
        design["classes"],
    )


def version_of(study: str, places: Places) -> str:
    """Text that changes when ``read_tables`` would say something else: the newest ending, and the latest launch.

    Takes a few queries, however many trials there are. Raises: InputError as ``read_tables``.
    """
    client = open_client(places.store, create=False)
    experiment = find_experiment(client, study)
    over = f"tags.`{KIND}` = 'trial' AND tags.`{STATE}` != 'RUNNING'"
    newest = client.search_runs([experiment], over, max_results=1, order_by=["attributes.end_time DESC"])
    text = json.dumps([*map(_words, newest), *_launch_of(client, experiment)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _launch_of(client: MlflowClient, experiment: str) -> list[Any]:
    """What changes whenever a launch begins or ends, and with it which trials are the study's."""
    return [_words(run) for run in client.search_runs([experiment], f"tags.`{KIND}` = 'study'", max_results=1)]


def _words(run: Any) -> list[Any]:
    return [run.info.run_id, run.info.end_time, run.data.tags.get(STATE), run.data.tags.get(VERSION)]


def study_names(places: Places) -> list[str]:
    """Names of the studies that the store knows, newest first."""
    client = open_client(places.store, create=False)
    found = client.search_experiments(filter_string=f"tags.`{DESIGN}` != ''", order_by=["creation_time DESC"])
    return [experiment.name for experiment in found]


def experiment_id(study: str, places: Places) -> str:
    """The store's number for a study's experiment."""
    return find_experiment(open_client(places.store, create=False), study)


def find_experiment(client: MlflowClient, study: str) -> str:
    """The same of a store that is open. Raises: UnknownStudyError."""
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        known = [entry.name for entry in client.search_experiments(filter_string=f"tags.`{DESIGN}` != ''")]
        raise UnknownStudyError(
            Fault(
                study,
                f"no such study in this store, known: {', '.join(known) or 'none'}",
                "launch it first, or give the store it is in with --store",
            )
        )
    return str(experiment.experiment_id)


def _design(client: MlflowClient, experiment: str, study: str) -> dict[str, Any]:
    """Groups, classes and what is emptied, as the launch wrote them."""
    text = client.get_experiment(experiment).tags.get(DESIGN)
    if text is None:
        raise InputError(Fault(study, "is an experiment of the store, but no study of ours", "choose another name"))
    design: dict[str, Any] = json.loads(text)
    return design


def _row(run: Any) -> dict[str, object]:
    tags, params = run.data.tags, run.data.params
    return {
        "key": tags[KEY],
        "cell": tags[CELL],
        "state": tags[STATE],
        "reason": tags.get(REASON, ""),
        "ending": read_ending(tags[STATE], tags.get(REASON, ""), tags.get(ENDING)),
        **dict.fromkeys(RESOLVED),
        **{name: _value(name, text) for name, text in params.items()},
    }


def _value(name: str, text: str) -> str | int | float:
    if text == NOTHING:
        return ""
    if name not in TEXT:
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _cases(client: MlflowClient, run: Any, places: Places, scratch: Path) -> Path:
    """The trial's per-case table: from the storage where it is at hand, else the run's artifact."""
    path = places.storage.trial(run.data.tags[KEY]) / CASES_FILE
    if path.exists():
        return path
    target = scratch / run.info.run_id
    target.mkdir()
    return Path(client.download_artifacts(run.info.run_id, CASES_FILE, str(target)))
