"""A large study, over but for a few trials, on a storage and in an SQLite or PostgreSQL store."""

from __future__ import annotations

import csv
import io
import json
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, create_engine, text

from study.commands.publish import design_of
from study.config.load import parse_study
from study.config.search_space import enumerate_trials
from study.config.spec import StudySpec
from study.config.trial_params import resolved, trial_settings
from study.storage.locations import Places
from study.storage.study_record import write_study_record
from study.tracking.delivery import Delivery
from study.tracking.schema import CELL, KEY, NOTHING, STATE
from study.tracking.writer import MlflowTracker
from trainers.data.base import CaseInfo
from trainers.metrics import score_case
from trainers.result import CASES_FILE, RESULT_FILE, TrialResult, save_result
from trainers.spec import TrialSpec

STUDY_NAME = "large"
CASES, SEEDS = 30, 5
WAITING = 60
"""Trials that have not ended yet in the store."""
BLOCK = 5000
"""Rows that are inserted at once."""
V_HAT = 1000.0
STUDY = """name: large
data: {{source: phantom, train: 24, test: 30}}
labeling: {{empty: {{group: B, classes: [tumor]}}}}
trial: {{network: tiny, epochs: 10, lr: 1.0e-3}}
seeds: {seeds}
search:
  space:
    loss: dice
    phi: [I, BI]
    eps: {{from: 1.0e-1, to: 3.2e+3, points: 10}}
    batch_size: [1, 2, 4, 8, 16]
    labeling: [full, partial]
    lr: {lr}
"""


def fill(places: Places, trials: int) -> list[str]:
    """Fill storage and store; the store's ids of the trials that are still to end."""
    rates = [float(f"{value:.3g}") for value in 1e-3 * np.arange(1, 1 + trials // (200 * SEEDS))]
    study = parse_study(STUDY.format(seeds=SEEDS, lr=rates))
    specs = enumerate_trials(study, lambda data: data.key())
    rng = np.random.default_rng(0)
    results = [_result(spec, rng) for spec in specs]
    _write_storage(places, study, specs, results, rng)
    tracker = MlflowTracker(places.store, study.name, places.artifacts / study.name)
    tracker.describe("a large study", design_of(study), study.key, {})
    delivery = Delivery(specs, places.storage, tracker)
    delivery.sync_trial(specs[0].key)
    trial, cell = tracker.runs["trial", specs[0].key], tracker.runs["cell", specs[0].cell]
    with create_engine(places.store).begin() as connection:
        return _copy_runs(connection, specs, results, trial.run_id, cell.run_id)


def end_one(places: Places, run: str) -> None:
    """Have a trial end now, as the tracker does: its state first, then its status."""
    told = {"run": run, "now": int(time.time() * 1000), "key": STATE}
    with create_engine(places.store, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("UPDATE tags SET value = 'DONE' WHERE run_uuid = :run AND key = :key"), told)
        connection.execute(text("UPDATE runs SET status = 'FINISHED', end_time = :now WHERE run_uuid = :run"), told)


def _result(spec: TrialSpec, rng: np.random.Generator) -> TrialResult:
    return TrialResult(
        spec.key,
        "DONE",
        metrics={"dsc.A.tumor": rng.uniform(0.8, 0.9), "dsc.B.tumor": rng.uniform(0.1, 0.9), "auc.tumor": rng.random()},
        v_hat={"tumor": V_HAT},
        eps_voxels={"tumor": float(trial_settings(spec)["eps"])},
        counts={"steps": 120},
        targets={"training": "0" * 12, "scoring": "0" * 12},
        seconds=float(rng.uniform(5, 9)),
    )


def _write_storage(
    places: Places,
    study: StudySpec,
    specs: Sequence[TrialSpec],
    results: Sequence[TrialResult],
    rng: np.random.Generator,
) -> None:
    """Results, per-case tables and epochs; a subject is harder or easier in every trial, the rest is noise."""
    places.storage.make()
    places.storage.study(study.name).mkdir()
    write_study_record(study, specs, 1, places)
    true = rng.integers(600, 1600, CASES)
    infos = [CaseInfo(f"test-{number:04d}", f"test-{number:04d}", "AB"[number % 2]) for number in range(CASES)]
    for spec, result in zip(specs, results, strict=True):
        partial = str(spec.labeling) != "full"
        learnt = partial and np.log10(result.eps_voxels["tumor"]) > 1.5 + 0.2 * rng.standard_normal()
        noise = 1 + 0.05 * rng.standard_normal(CASES)
        scores = []
        for number, info in enumerate(infos):
            predicted = int(true[number] * noise[number] * (0.06 if learnt and info.group == "B" else 0.93))
            overlap = int(0.95 * min(predicted, true[number]))
            hidden = [partial and info.group == "B"]
            scores += score_case(info, ("tumor",), [overlap], [predicted], [int(true[number])], hidden, 0.343)
        folder = places.storage.trial(result.key)
        if spec is specs[0]:
            save_result(folder, result, scores)
        else:  # the same two files, without waiting for the disk each time
            folder.mkdir(parents=True)
            rows = [score.row(result.key) for score in scores]
            text = io.StringIO()
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            (folder / CASES_FILE).write_text(text.getvalue())
            (folder / RESULT_FILE).write_text(json.dumps(asdict(result), indent=1))
        epochs = [
            {"epoch": epoch, "time": time.time(), "metrics": {"train.loss": 1 / epoch, "val.loss": 1 / epoch}}
            for epoch in range(1, spec.protocol.epochs + 1)
        ]
        (folder / "epochs.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))


def _copy_runs(
    connection: Connection,
    specs: Sequence[TrialSpec],
    results: Sequence[TrialResult],
    trial: str,
    cell: str,
) -> list[str]:
    """Runs of all other cells and trials, like the two delivered; ids of the last ones, put back to RUNNING."""
    # Hashes of whole specs, which take a while to make.
    names = [spec.cell for spec in specs]
    cells = {name: uuid.uuid4().hex for name in names} | {names[0]: cell}
    ones = {name: spec for name, spec in zip(names, specs, strict=True) if name != names[0]}
    own = [(cells[name], {KEY: name, CELL: name}, _params(spec, None), name) for name, spec in ones.items()]
    _copy(connection, cell, own)
    copies = [
        (
            uuid.uuid4().hex,
            {KEY: result.key, CELL: name, "mlflow.parentRunId": cells[name]},
            {**_params(spec, result), "fold": str(spec.fold), "seed": str(spec.seed)},
            result.key,
        )
        for spec, result, name in list(zip(specs, results, names, strict=True))[1:]
    ]
    _copy(connection, trial, copies)
    waiting = [run for run, *_ in copies[-WAITING:]]
    told = {"runs": waiting, "key": STATE}
    for statement in (
        "UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid IN :runs",
        "UPDATE tags SET value = 'RUNNING' WHERE key = :key AND run_uuid IN :runs",
    ):
        connection.execute(text(statement).bindparams(bindparam("runs", expanding=True)), told)
    connection.execute(text("ANALYZE"))
    return waiting


def _params(spec: TrialSpec, result: TrialResult | None) -> dict[str, str]:
    values = {**trial_settings(spec), **resolved(spec, result)}
    return {name: NOTHING if value == "" else str(value) for name, value in values.items()}


def _copy(connection: Connection, like: str, copies: Sequence[tuple[str, dict[str, str], dict[str, str], str]]) -> None:
    """Insert copies of a run: id, tags and params of own, name; all else is that of the run ``like``."""
    for table in ("runs", "tags", "params", "latest_metrics", "metrics"):
        found = connection.execute(text(f"SELECT * FROM {table} WHERE run_uuid = :like"), {"like": like})
        columns = list(found.keys())
        rows = [dict(row) for row in found.mappings()]
        into = text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})")
        made = (row for run, tags, params, name in copies for row in _changed(rows, table, run, tags, params, name))
        while block := list(islice(made, BLOCK)):
            connection.execute(into, block)


def _changed(
    rows: Sequence[dict[str, Any]], table: str, run: str, tags: dict[str, str], params: dict[str, str], name: str
) -> Iterable[dict[str, Any]]:
    own = {"tags": tags, "params": params}.get(table, {})
    for row in rows:
        changed = {**row, "run_uuid": run}
        if table == "runs":
            changed |= {"name": name, "artifact_uri": row["artifact_uri"].replace(row["run_uuid"], run)}
        elif table in ("tags", "params") and row["key"] in own:
            changed["value"] = own[row["key"]]
        yield changed
