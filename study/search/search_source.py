"""A search as a source of trials: Optuna is asked which setting comes next, and told how its trials ended.

Every setting asked for is one Optuna trial; its trials are one for each fold and seed (one alone for the transition,
which chooses the seed itself), and their keys are kept with it. A key that has an ending on the storage already is
told and not run. Of a launch that was killed or stopped, the Optuna trials that were running are given back to the
queue, and asked for first: with the same parameters, hence the same keys.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from pydantic import ValidationError

from study.config.search_space import TrialMaker
from study.config.spec import StudySpec
from study.search.optuna_storage import open_optuna_study
from study.search.references import reference_trials
from study.search.scores import figures_of
from study.search.strategy import Predict, Strategy, strategy_class
from study.search.transition_sampler import OUTCOME, Standing
from study.storage.journal import read_epochs
from study.storage.locations import Places
from study.storage.suggestions import SuggestionRecord
from trainers.result import PRUNED_REASON, TrialResult, save_result
from trainers.spec import TrialSpec

KEYS, PLACE = "keys", "storage"
"""User attributes of an Optuna trial: its trials' keys, and the storage whose driver asked for it."""
ETA, GRACE = 3, 0.1
"""ASHA lets a third of the trials on to three times as many epochs; no trial ends in the first tenth of its epochs."""
MAX_REPEATED_SETTINGS = 50
"""Settings in a row that are known already or cannot be, after which the space is taken for exhausted."""
Announce = Callable[[TrialSpec], None]


@dataclass
class _RunningSetting:
    """A setting that runs: its Optuna trials (several if asked for again meanwhile), its trials, and their endings."""

    optuna: list[optuna.Trial]
    specs: list[TrialSpec]
    results: dict[str, TrialResult] = field(default_factory=dict)


@contextmanager
def open_search(
    study: StudySpec, places: Places, maker: TrialMaker, announce: Announce, predict: Predict
) -> Iterator[SearchSource]:
    """The supply of a study's search; what runs when it is left goes back to the queue.

    ``announce`` hears of every trial that the search has come to, before it runs.

    Raises: InputError if Optuna's database does not answer.
    """
    with open_optuna_study(study, places) as memory:
        memory.pruner = make_pruner(study)
        strategy = strategy_class(study)(study, maker)
        memory.sampler = strategy.sampler(len(memory.get_trials(deepcopy=False)), predict)
        source = SearchSource(study, strategy, memory, places, maker, announce)
        try:
            yield source
        finally:
            source.release_running()


def make_pruner(study: StudySpec) -> optuna.pruners.BasePruner:
    """The pruner of ``early_stopping``."""
    first = max(1, round(GRACE * study.trial.epochs))
    match study.search.early_stopping:
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=ETA)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first)
    return optuna.pruners.NopPruner()


class SearchSource:
    """The trials of a search, see ``study.execution.trial_source.TrialSource``; ``memory``: its Optuna study."""

    def __init__(
        self,
        study: StudySpec,
        strategy: Strategy,
        memory: optuna.Study,
        places: Places,
        maker: TrialMaker,
        announce: Announce,
    ) -> None:
        self.strategy = strategy
        self.study, self.memory, self.storage, self.maker = study, memory, places.storage, maker
        self.place = str(places.storage.root.resolve())
        self._announce = announce
        self._record = SuggestionRecord.of(study, places.storage)
        self._running: dict[str, _RunningSetting] = {}
        self._waiting: deque[TrialSpec] = deque()
        self._live: set[str] = set()
        self._behind: dict[str, str] = {}
        self._judged: dict[str, int] = {}
        self._in_vain = 0
        self._may_be_queued = True
        self._stood: Standing | None = None
        self._references = {spec.key for spec in reference_trials(study, maker)}
        self._labelled: list[float] = []
        self._recorded: set[str] = set()
        self._known = self._resume()

    @property
    def over(self) -> bool:
        """Whether the trials are spent, the space is exhausted, or the transition placed as asked."""
        if self._waiting:
            return False
        return self._spent() or (self._standing() is Standing.PLACED and not self._live)

    def next(self) -> TrialSpec | None:
        """The next trial that has no ending yet."""
        while not self._waiting:
            if self._spent() or self._has_enough():
                return None
            self._suggest()
        spec = self._waiting.popleft()
        self._live.add(spec.key)
        return spec

    def tell(self, key: str, result: TrialResult | None) -> None:
        """Take in an ending; a setting is told to Optuna when all its trials have one."""
        self._live.discard(key)
        self._stood = None
        if result is None and key in self._behind:
            result = TrialResult(key, "FAILED", "pruned", f"{PRUNED_REASON}: {self._behind[key]}")
            save_result(self.storage.trial(key), result)
        if result is None:
            return  # it goes back to the queue when the launch ends
        if key in self._references:
            self._judge_by(result)
        asked = self._running.get(key)
        if asked is not None:
            asked.results[key] = result
            self._close(asked)

    def should_prune(self, key: str) -> bool:
        """Whether early stopping ends a trial, by the validation of its last epoch among those of the others."""
        asked = self._running.get(key)
        if self.study.search.early_stopping is None or asked is None:
            return False
        records = read_epochs(self.storage.trial(key))
        record: dict[str, Any] = records[-1] if records else {"epoch": 0}
        # The news may be older than what the trial has written meanwhile; at its end there is nothing left to save.
        if not self._judged.get(key, 0) < record["epoch"] < asked.specs[0].protocol.epochs:
            return False
        self._judged[key] = record["epoch"]
        goal = self.study.search.goals[0]
        names = (
            [f"val.{goal}"] if goal != "dice" else [name for name in record["metrics"] if name.startswith("val.dsc.")]
        )
        values = [record["metrics"][name] for name in names if math.isfinite(record["metrics"].get(name, math.nan))]
        if not values:
            return False
        asked.optuna[0].report(float(np.mean(values)), record["epoch"])
        if not asked.optuna[0].should_prune():
            return False
        self._behind[key] = f"{np.mean(values):.2f} at epoch {record['epoch']} is behind the others"
        return True

    def release_running(self) -> None:
        """Put the settings that have no ending back into Optuna's queue, so that none is said to be running."""
        for trial in {id(one): one for asked in self._running.values() for one in asked.optuna}.values():
            self._queue(trial._trial_id)
        self._running.clear()

    def _resume(self) -> set[str]:
        """Go on where an earlier launch was; the keys of all trials that the search has come to."""
        open_keys: set[str] = set()
        known = set(self._references)
        for trial in self.memory.get_trials(deepcopy=False):
            keys = trial.user_attrs.get(KEYS, [])
            known |= set(keys)
            if trial.state == TrialState.RUNNING and trial.user_attrs.get(PLACE, self.place) == self.place:
                self._queue(trial._trial_id)
            if not trial.state.is_finished():
                open_keys |= set(keys)
        for parameters, keys in self._record.settings():
            if not known & set(keys):
                # Optuna's database is another one, or was lost: what the storage knows is told to it anew.
                self.memory.enqueue_trial(parameters, user_attrs={KEYS: keys, PLACE: self.place})
                open_keys |= set(keys)
                known |= set(keys)
        recorded = self._record.read()
        self._recorded = {spec.key for spec in recorded}
        for spec in reference_trials(self.study, self.maker):
            result = self.storage.result(spec.key)
            self._announce(spec)
            if result is None:
                self._waiting.append(spec)
            else:
                self._judge_by(result)
        # Told already, yet to be run again: failed trials that a user wants retried.
        self._waiting += [
            spec for spec in recorded if spec.key not in open_keys and self.storage.result(spec.key) is None
        ]
        return known

    def _queue(self, trial_id: int) -> None:
        self.memory._storage.set_trial_state_values(trial_id, TrialState.WAITING)

    def _spent(self) -> bool:
        if self._in_vain >= MAX_REPEATED_SETTINGS:
            return True
        queued = self.memory.get_trials(deepcopy=False, states=(TrialState.WAITING,)) if self._may_be_queued else []
        self._may_be_queued = bool(queued)
        return not queued and len(self._known) + self.study.search.rules.trials_per_setting(self.study) > (
            self.study.search.trials or 0
        )

    def _has_enough(self) -> bool:
        """Whether no further setting is wanted now."""
        # What is queued runs only once it is asked for, and of what others run this driver may never hear.
        may_wait = bool(self._live) and not self._may_be_queued
        return self._standing() is Standing.PLACED or (may_wait and self._standing() is Standing.AWAITED)

    def _standing(self) -> Standing:
        if self._stood is None:
            self._stood = self.strategy.standing(self.memory)
        return self._stood

    def _suggest(self) -> None:
        """Ask Optuna for one setting, and put those of its trials in line that have no ending."""
        self._stood = None
        trial = self.memory.ask()
        try:
            specs = self.strategy.trials(trial)
        except ValidationError as error:
            # Values that are right alone and wrong together, in the middle of the space.
            trial.set_user_attr(OUTCOME, str(error).splitlines()[0])
            self.memory.tell(trial, state=TrialState.FAIL)
            self._in_vain += 1
            return
        trial.set_user_attr(PLACE, self.place)
        trial.set_user_attr(KEYS, [spec.key for spec in specs])
        twin = self._running.get(specs[0].key)
        if twin is not None:
            twin.optuna.append(trial)
            self._in_vain += 1
            return
        asked = _RunningSetting([trial], specs)
        # What an earlier launch reported of it.
        reported = self.memory.get_trials(deepcopy=False)[trial.number].intermediate_values
        self._judged |= dict.fromkeys((spec.key for spec in specs), max(reported, default=0))
        fresh = any(spec.key not in self._known for spec in specs)
        self._in_vain = 0 if fresh else self._in_vain + 1
        for spec in specs:
            if spec.key not in self._recorded:
                # Also of a known one: a driver may have been killed after telling Optuna and before writing this.
                self._record.append(spec, trial.params)
                self._recorded.add(spec.key)
            self._known.add(spec.key)
            self._announce(spec)
            self._running[spec.key] = asked
            result = self.storage.result(spec.key)
            if result is not None:
                asked.results[spec.key] = result
            else:
                self._waiting.append(spec)
        self._close(asked)

    def _judge_by(self, reference: TrialResult) -> None:
        figures = figures_of(reference, self.study, partial=False)
        if math.isfinite(figures.labelled):
            self._labelled.append(figures.labelled)
        self.strategy.judge_by(self._reference)

    @property
    def _reference(self) -> float:
        return max(self._labelled, default=math.nan)

    def _close(self, asked: _RunningSetting) -> None:
        """Tell Optuna of a setting whose trials are all over."""
        if len(asked.results) < len(asked.specs):
            return
        for spec in asked.specs:
            self._running.pop(spec.key, None)
        scored = [
            (figures_of(result, self.study, self._reference, spec.labeling.name != "full"), result)
            for spec, result in ((spec, asked.results[spec.key]) for spec in asked.specs)
        ]
        values = self.strategy.values(scored)
        for trial in asked.optuna:
            trial.set_user_attr(OUTCOME, ", ".join(sorted({figures.outcome for figures, _ in scored})))
            for name, value in self.strategy.attributes(scored).items():
                trial.set_user_attr(name, value)
            state = TrialState.FAIL if values is None else TrialState.COMPLETE
            if all(result.ending == "pruned" for _, result in scored):
                state = TrialState.PRUNED
            self.memory.tell(trial, values, state=state, skip_if_finished=True)
