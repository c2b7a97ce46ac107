"""From the storage to the tracking server: what trials left behind becomes runs, in the background.

The storage is the record of truth. Delivering a trial twice, or after a crash, adds only what is missing, so
the same call follows a running trial, catches up after a killed driver, and rebuilds a lost store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.outcomes import Outcome
from analysis.results.cells import cell_metrics
from study.config.trial_params import RESOLVED, Value, resolved, setting_name, trial_settings, varied_settings
from study.storage.folders import Storage
from study.storage.journal import read_epochs
from study.storage.tables import build_tables
from study.tracking.schema import CELL, ENDING, PARENT
from study.tracking.writer import MlflowTracker, TrackedRun
from trainers.result import CASES_FILE, TrialResult
from trainers.spec import TrialSpec

CELL_TIME_SHARE = 0.1
"""Share of its time that the background sync spends on cells while trials wait; `finalize` writes all of them."""
COOLDOWN_S = 60.0
"""Seconds without a call to a store that has just failed."""


class Delivery:
    """Delivers the trials of one study; ``trials`` are all of them, done or not."""

    def __init__(
        self,
        trials: Sequence[TrialSpec],
        storage: Storage,
        tracker: MlflowTracker,
        shown: Sequence[TrialSpec] = (),
    ) -> None:
        self.storage, self.tracker = storage, tracker
        self.specs = {spec.key: spec for spec in trials}
        self.cells: dict[str, list[TrialSpec]] = defaultdict(list)
        for spec in trials:
            self.cells[spec.cell].append(spec)
        self.settings = {cell: trial_settings(members[0]) for cell, members in self.cells.items()}
        self.varied = varied_settings(trial_settings(spec) for spec in shown) or varied_settings(self.settings.values())
        self.results: dict[str, TrialResult] = {}
        # An ordered set: cells whose runs lack something that is known.
        self.stale: dict[str, None] = {}

    def add(self, spec: TrialSpec) -> None:
        """One more trial, which a search has come to; before any news of it."""
        if spec.key not in self.specs:
            self.settings.setdefault(spec.cell, trial_settings(spec))
            self.cells[spec.cell].append(spec)
            self.specs[spec.key] = spec

    def sync_trial(self, key: str, running: bool = True) -> None:
        """Bring the server up to date about one trial. running: it is in an engine's hands right now."""
        spec = self.specs[key]
        result = self.storage.result(key)
        epochs, loss = read_epochs(self.storage.trial(key)), self.storage.loss(key)
        if result is None and loss is None and not epochs and not running and ("trial", key) not in self.tracker.runs:
            return  # never begun: it has no run yet
        name = f"{setting_name(self.settings[spec.cell], self.varied)} fold={spec.fold} seed={spec.seed}"
        cell = self._cell_run(spec.cell)
        run = self.tracker.run("trial", key, name, {CELL: spec.cell, PARENT: cell.run_id})
        settings = {**self.settings[spec.cell], "fold": spec.fold, "seed": spec.seed}
        if result is not None:
            if run.state != result.state:
                self._end(run, spec, result, settings, epochs)
                self.stale[spec.cell] = None
            self.results[key] = result
            return
        if running and loss is None:
            self.tracker.reopen(cell)
            self.tracker.reopen(run)
        self.tracker.log(run, None if run.settled else settings, epochs)
        if loss is not None:
            self.tracker.end(run, "LOST", f"lost by the engine: {loss}")
        elif not running:
            self.tracker.end(run, "STOPPED", "ended before its last epoch; goes on when launched again")

    def reset_run(self, key: str) -> None:
        """A failed trial is to be run anew."""
        if (run := self.tracker.runs.get(("trial", key))) is not None:
            self.tracker.reset_run(run)

    def sync_all(self) -> None:
        """Deliver what the storage holds of every trial, none of which is running; end what nobody runs."""
        for key in self.specs:
            self.sync_trial(key, running=False)

    def refresh_cell(self) -> None:
        """Tell one of the stale cells, the one that has waited longest, what its finished trials say by themselves."""
        cell = next(iter(self.stale))
        del self.stale[cell]
        self._tell_cell(cell, self._cell_figures_now(cell))

    def close_cells(self, cells: Iterable[Mapping[str, Any]]) -> None:
        """End the run of every cell, once no trial runs any more.

        cells: figures as the whole study sees them, since outcomes are relative to full labeling.
        """
        figures = {entry["cell"]: _figures_of(entry) for entry in cells}
        for cell, members in self.cells.items():
            if (run := self.tracker.runs.get(("cell", cell))) is None:
                continue
            whole = all(spec.key in self.results for spec in members)
            state, reason = ("DONE", "") if whole else ("STOPPED", "not all of its trials are over")
            self._tell_cell(cell, figures.get(cell, {}), self.tracker.ending(run, state, reason))
            self.tracker.close(run, state)
        self.stale.clear()

    def _end(
        self,
        run: TrackedRun,
        spec: TrialSpec,
        result: TrialResult,
        settings: Mapping[str, Value],
        epochs: list[dict[str, Any]],
    ) -> None:
        if run.state == "FAILED":  # its own fault, so it began anew
            self.tracker.reset_run(run)
        self.tracker.log_file(run, self.storage.trial(spec.key) / CASES_FILE)
        self.tracker.log(
            run,
            {**({} if run.settled else settings), **resolved(spec, result)},
            epochs,
            {f"final.{name}": value for name, value in result.metrics.items()}
            | {f"count.{name}": value for name, value in result.counts.items()}
            | {"seconds": result.seconds, "memory_mib": result.memory_mib},
            {f"dicestudy.target.{name}": value for name, value in result.targets.items()}
            | self.tracker.ending(run, result.state, result.reason)
            | {ENDING: result.ending},
        )
        # Last: a run that is over has everything.
        self.tracker.close(run, result.state)

    def _cell_run(self, cell: str) -> TrackedRun:
        name = setting_name(self.settings[cell], self.varied)
        run = self.tracker.run("cell", cell, name, {CELL: cell})
        if not run.settled:
            self.stale[cell] = None
        return run

    def _tell_cell(self, cell: str, figures: Mapping[str, float], tags: Mapping[str, str] | None = None) -> None:
        run = self._cell_run(cell)
        new = {name: value for name, value in figures.items() if run.figures.get(name) != value}
        self.tracker.log(run, None if run.settled else self.settings[cell], figures=new, tags=tags)
        run.figures |= new

    def _cell_figures_now(self, cell: str) -> dict[str, float]:
        """Means and intervals over the cell's finished trials."""
        members = [(spec, self.results[spec.key]) for spec in self.cells[cell] if spec.key in self.results]
        if not members:
            return {}
        (entry,) = cell_metrics(build_tables(members, self.storage), np.random.default_rng(0))
        return _figures_of(entry)


def _figures_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """``n``, ``valid``, ``outcome.NAME``; ``final.NAME`` with ``.low`` and ``.high``, where they are known."""
    figures = {"n": entry["n"], "valid": float(entry["valid"])}
    # Those that did not occur as well: an outcome that is judged otherwise later must not stay.
    figures |= {f"outcome.{name}": entry["outcomes"].get(name, 0) for name in Outcome}
    resolved_now = {name: entry["params"][name] for name in RESOLVED}
    figures |= {f"hp.{name}": value for name, value in resolved_now.items() if value is not None}
    for name, values in entry["metrics"].items():
        parts = {"": values["mean"], ".low": values["low"], ".high": values["high"]}
        figures |= {f"final.{name}{end}": part for end, part in parts.items() if part is not None and part == part}
    return figures
