"""The write side of the tracking server: one experiment a study, one run a trial, one a cell, one for all.

Written by one process at a time, the study's driver, from what the trials left on the storage; so a run is
never made twice, and writing the same again changes nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag, ViewType

from study.config.trial_params import Value
from study.tracking.client import all_runs, open_client
from study.tracking.saved_views import view_path
from study.tracking.schema import (
    DESIGN,
    ENDINGS,
    EPOCHS,
    IN_STUDY,
    KEY,
    KIND,
    METRICS_A_CALL,
    NOTE,
    NOTHING,
    PARAMS_A_CALL,
    REASON,
    RUN_NAME,
    RUNNING,
    SETTLED,
    STATE,
    STUDY,
    VERSION,
    VIEW_NAMES,
)
from trainers.errors import Fault, InputError


@dataclass
class TrackedRun:
    """What the server knows of one run; kept here so that it need not be asked again.

    state: its ending or RUNNING, empty where the server was told but half of it; figures: of a cell, the latest.
    """

    run_id: str
    state: str
    epochs: int = 0
    in_study: bool = True
    settled: bool = False
    figures: dict[str, float] = field(default_factory=dict)


class MlflowTracker:
    """Records of one study. ``artifact_root`` is where its artifacts go if the store is a bare database."""

    def __init__(self, store: str, study: str, artifact_root: Path) -> None:
        self.client: MlflowClient = open_client(store)
        self.study = study
        self.experiment = self._experiment(artifact_root)
        self.runs: dict[tuple[str, str], TrackedRun] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what the server has now; of runs made twice all but one are deleted.

        Twice comes of a request whose answer was lost, and that was then asked again. A database that crashed may
        lack what it had confirmed.
        """
        ours = {run.run_id for run in self.runs.values()}
        found: dict[tuple[str, str], Run] = {}
        for run in all_runs(self.client, self.experiment, f"tags.`{KIND}` != ''"):
            identity = run.data.tags[KIND], run.data.tags.get(KEY, "")
            other = found.setdefault(identity, run)
            if other is not run:
                spare = other if run.info.run_id in ours else run
                found[identity] = run if spare is other else other
                self.client.delete_run(spare.info.run_id)
        self.runs = {identity: _tracked(run) for identity, run in found.items()}

    @property
    def summary(self) -> TrackedRun:
        """The study's own run, made if it is not there."""
        return self.run("study", "", f"study {self.study}", {})

    def describe(self, note: str, design: str, version: str, views: Mapping[str, str]) -> None:
        """Set the experiment's note, design and views, and the note and version of the study's run.

        Its first line, which a page shows also where it folds the rest, ends in links to the answers and the views.
        """
        run = self.summary
        first, _, rest = note.partition("\n")
        note = f"{first} {self._links(run)}\n{rest}"
        # Or its page opens on traces of language models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        for name, value in {NOTE: note, DESIGN: design, **kind, **views}.items():
            self.client.set_experiment_tag(self.experiment, name, value)
        self.log(run, tags={NOTE: note, VERSION: version})

    def _links(self, run: TrackedRun) -> str:
        # Without a host: the same note is read at whatever address the server has.
        experiment = f"#/experiments/{self.experiment}/runs"
        files = {"Report": "report.html", "transition map": "map.txt", "table": "table.txt", "study file": "study.yaml"}
        links = [f"[{name}]({experiment}/{run.run_id}/artifacts/{file})" for name, file in files.items()]
        links += [f"[{name.lower()}]({view_path(self.experiment, key)})" for key, name in VIEW_NAMES.items()]
        return " · ".join(links)

    def run(self, kind: str, key: str, name: str, tags: Mapping[str, str]) -> TrackedRun:
        """The run of a study, cell or trial; made if it is not there."""
        if (known := self.runs.get((kind, key))) is not None:
            return known
        identity = {KEY: key} if key else {}
        every = {KIND: kind, **identity, STUDY: self.study, STATE: RUNNING, IN_STUDY: "true", RUN_NAME: name, **tags}
        run = self.client.create_run(self.experiment, tags=every)
        tracked = self.runs[kind, key] = TrackedRun(run.info.run_id, RUNNING)
        return tracked

    def log(
        self,
        run: TrackedRun,
        settings: Mapping[str, Value] | None = None,
        records: Iterable[Mapping[str, Any]] = (),
        figures: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Tell a run what it does not have, in as few calls as the server takes it; tags come last.

        settings: its parameters, the numeric ones mirrored as metrics ``hp.*``, since the server compares parameters
        as text; records: of its epochs; figures: what holds for the whole run, of which the server shows the latest.
        """
        now = _now()
        params = {} if settings is None else settings
        numbers = {f"hp.{name}": value for name, value in params.items() if isinstance(value, int | float)}
        later = [record for record in records if record["epoch"] > run.epochs]
        told = dict(tags or {}) | ({SETTLED: "true"} if params else {})
        if later:
            told[EPOCHS] = str(later[-1]["epoch"])
        # A record's own time: the server drops a metric that equals one it has, time included, so that what is told
        # twice stands once.
        metrics = [
            Metric(name, value, int(record["time"] * 1000), record["epoch"])
            for record in later
            for name, value in record["metrics"].items()
        ]
        metrics += [Metric(name, float(value), now, 0) for name, value in {**numbers, **(figures or {})}.items()]
        written = [Param(name, str(value) if value != "" else NOTHING) for name, value in params.items()]
        calls = max(bool(told), -(-len(metrics) // METRICS_A_CALL), -(-len(written) // PARAMS_A_CALL))
        for call in range(calls):
            self.client.log_batch(
                run.run_id,
                metrics[call * METRICS_A_CALL : (call + 1) * METRICS_A_CALL],
                written[call * PARAMS_A_CALL : (call + 1) * PARAMS_A_CALL],
                [RunTag(name, value) for name, value in told.items()] if call == calls - 1 else (),
            )
        run.settled = run.settled or bool(params)
        run.epochs = later[-1]["epoch"] if later else run.epochs

    def log_file(self, run: TrackedRun, path: Path) -> None:
        """Keep a file as an artifact of the run."""
        self.client.log_artifact(run.run_id, str(path))

    def ending(self, run: TrackedRun, state: str, reason: str = "") -> dict[str, str]:
        """Tags that tell a run's ending, none if it has it."""
        if run.state == state:
            return {}
        # An earlier ending may have left a reason.
        return {STATE: state} | ({REASON: reason[:5000]} if reason or run.state != RUNNING else {})

    def close(self, run: TrackedRun, state: str) -> None:
        """Set the status of a run that has been told its ending, once."""
        if run.state != state:
            self.client.set_terminated(run.run_id, ENDINGS[state])
            run.state = state

    def end(self, run: TrackedRun, state: str, reason: str = "") -> None:
        """Give the run its ending, once."""
        self.log(run, tags=self.ending(run, state, reason))
        self.close(run, state)

    def reopen(self, run: TrackedRun) -> None:
        """Say that the run goes on, or begins anew."""
        if run.state == RUNNING:
            return
        if run.state == "FAILED":  # its own fault, so it begins anew
            self.reset_run(run)
            return
        self.log(run, tags={STATE: RUNNING, REASON: ""})
        self.client.update_run(run.run_id, RUNNING)
        run.state = RUNNING

    def reset_run(self, run: TrackedRun) -> None:
        """Let the run of a failed trial begin anew; what its earlier life logged stays in its metrics' history."""
        self.log(run, tags={STATE: RUNNING, REASON: "", EPOCHS: "0"})
        self.client.update_run(run.run_id, RUNNING)
        run.state, run.epochs = RUNNING, 0

    def mark_members(self, trials: Iterable[str], cells: Iterable[str]) -> None:
        """Say of every run whether it still belongs to the study, whose file may have changed since."""
        members = {("study", ""), *(("trial", key) for key in trials), *(("cell", key) for key in cells)}
        for identity, run in self.runs.items():
            if (belongs := identity in members) != run.in_study:
                self.log(run, tags={IN_STUDY: str(belongs).lower()})
                run.in_study = belongs
            if not belongs and run.state not in ENDINGS:
                self.end(run, "STOPPED", "left out of the study's file")

    def _experiment(self, artifact_root: Path) -> str:
        known = self.client.get_experiment_by_name(self.study)
        if known is not None:
            self._require_ours(known)
            if known.lifecycle_stage == "deleted":
                self.client.restore_experiment(known.experiment_id)
            return str(known.experiment_id)
        # A tracking server knows where its artifacts belong; a bare database would take the working directory.
        place = None if self.client.tracking_uri.startswith("http") else artifact_root.resolve().as_uri()
        with contextlib.suppress(OSError):
            artifact_root.mkdir(parents=True, exist_ok=True)
        ours = {STUDY: self.study}
        return str(self.client.create_experiment(self.study, artifact_location=place, tags=ours))

    def _require_ours(self, known: Experiment) -> None:
        """See that an experiment of the study's name is a study's. Raises: InputError if another tool made it."""
        if {STUDY, DESIGN} & set(known.tags):
            return
        everything = [known.experiment_id], "", ViewType.ALL
        runs = self.client.search_runs(*everything, max_results=1)
        if not runs or self.client.search_runs(everything[0], f"tags.`{KIND}` != ''", ViewType.ALL, max_results=1):
            return
        raise InputError(
            Fault(
                f"experiment {self.study}",
                "the tracking store has one of this name with runs that are no study's",
                "give the study another name, or another store with --store or DICESTUDY_STORE",
            )
        )


def _tracked(run: Run) -> TrackedRun:
    tags = run.data.tags
    state = tags.get(STATE, "")
    return TrackedRun(
        run.info.run_id,
        # A crash between tag and status leaves them apart, and whoever comes next tells both again.
        state if run.info.status == ENDINGS.get(state, RUNNING) else "",
        int(tags.get(EPOCHS, 0)),
        tags.get(IN_STUDY) == "true",
        SETTLED in tags,
        dict(run.data.metrics) if tags[KIND] == "cell" else {},
    )


def _now() -> int:
    return int(time.time() * 1000)
