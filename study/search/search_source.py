"""A search as a supply of trials: Optuna is asked which setting comes next, and told how its trials ended.

Every setting asked for is one Optuna trial; its trials are one for each fold and seed (one alone for the transition,
which chooses the seed itself), and their keys are kept with it. A key that has an ending on the storage already is
told and not run. Of a launch that was killed or stopped, the Optuna trials that were running are given back to the
queue, and asked for first: with the same parameters, hence the same keys.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from pydantic import ValidationError

from analysis.outcomes import Outcome
from study.config.search_space import Setting, TrialMaker, read_space
from study.config.spec import StudySpec
from study.search.optuna_space import Choices
from study.search.optuna_storage import open_memory
from study.search.references import reference_trials
from study.search.scores import Figures, figures_of, goal_values
from study.search.transition_sampler import (
    EPS,
    LABELLED,
    MOST_SEEDS,
    OUTCOME,
    RETENTION,
    SEED,
    SLICE,
    Slices,
    Standing,
    TransitionSampler,
)
from study.storage.journal import read_epochs
from study.storage.locations import Places
from study.storage.suggestions import AskedRecord
from trainers.result import PRUNED_REASON, TrialResult, save_result
from trainers.spec import TrialSpec

KEYS, PLACE = "keys", "storage"
"""User attributes of an Optuna trial: its trials' keys, and the storage whose driver asked for it."""
ETA, GRACE = 3, 0.1
"""ASHA lets a third of the trials on to three times as many epochs; no trial ends in the first tenth of its epochs."""
IN_VAIN = 50
"""Settings in a row that are known already or cannot be, after which the space is taken for exhausted."""
Announce = Callable[[TrialSpec], None]
Predict = Callable[[list[TrialSpec]], list[tuple[float | None, float | None]]]
"""For specs: the ε [voxels] at which each is expected to turn, and its v̂ [voxels]; None where not known."""


@dataclass
class _Asked:
    """A setting that runs: its Optuna trials (several if asked for again meanwhile), its trials, and their endings."""

    optuna: list[optuna.Trial]
    specs: list[TrialSpec]
    results: dict[str, TrialResult] = field(default_factory=dict)


@contextmanager
def open_search(
    study: StudySpec, places: Places, maker: TrialMaker, announce: Announce, predict: Predict
) -> Iterator[SearchSupply]:
    """The supply of a study's search; what runs when it is left goes back to the queue.

    ``announce`` hears of every trial that the search has come to, before it runs.

    Raises: InputError if Optuna's database does not answer.
    """
    with open_memory(study, places) as memory:
        memory.pruner = make_pruner(study)
        memory.sampler = make_sampler(study, len(memory.get_trials(deepcopy=False)), maker, predict)
        supply = SearchSupply(study, memory, places, maker, announce)
        try:
            yield supply
        finally:
            supply.give_back()


def make_sampler(study: StudySpec, asked: int, maker: TrialMaker, predict: Predict) -> optuna.samplers.BaseSampler:
    """The sampler of the study's strategy; ``asked``: how many settings Optuna holds already."""
    if study.search.strategy == "transition":
        return TransitionSampler(_foretold(Slices.of(read_space(study).spaces), maker, predict), study.search.precision)
    # A search that goes on draws anew, and not once more what it drew at first.
    seed = int(np.random.SeedSequence([study.search.seed, asked]).generate_state(1)[0])
    match study.search.strategy:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=_population(study.search.trials or 1))
    return optuna.samplers.TPESampler(seed=seed)


def make_pruner(study: StudySpec) -> optuna.pruners.BasePruner:
    """The pruner of ``early_stopping``."""
    first = max(1, round(GRACE * study.trial.epochs))
    match study.search.early_stopping:
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=ETA)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=first)
    return optuna.pruners.NopPruner()


class SearchSupply:
    """The trials of a search, see ``study.execution.trial_source.Supply``; ``memory``: its Optuna study."""

    def __init__(
        self, study: StudySpec, memory: optuna.Study, places: Places, maker: TrialMaker, announce: Announce
    ) -> None:
        self.study, self.memory, self.storage, self.maker = study, memory, places.storage, maker
        self.place = str(places.storage.root.resolve())
        self._announce = announce
        self._record = AskedRecord.of(study, places.storage)
        self._spaces = read_space(study).spaces
        self._choices = Choices(self._spaces)
        self._running: dict[str, _Asked] = {}
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
        self._known = self._take_up()

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
            self._ask()
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

    def is_behind(self, key: str) -> bool:
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

    def give_back(self) -> None:
        """Put the settings that have no ending back into Optuna's queue, so that none is said to be running."""
        for trial in {id(one): one for asked in self._running.values() for one in asked.optuna}.values():
            self._queue(trial._trial_id)
        self._running.clear()

    def _take_up(self) -> set[str]:
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
        if self._in_vain >= IN_VAIN:
            return True
        queued = self.memory.get_trials(deepcopy=False, states=(TrialState.WAITING,)) if self._may_be_queued else []
        self._may_be_queued = bool(queued)
        return not queued and len(self._known) + self._members() > (self.study.search.trials or 0)

    def _members(self) -> int:
        """Trials of one setting."""
        return 1 if self.study.search.strategy == "transition" else self.study.folds * self.study.seeds

    def _has_enough(self) -> bool:
        """Whether no further setting is wanted now."""
        # What is queued runs only once it is asked for, and of what others run this driver may never hear.
        may_wait = bool(self._live) and not self._may_be_queued
        return self._standing() is Standing.PLACED or (may_wait and self._standing() is Standing.AWAITED)

    def _standing(self) -> Standing:
        if not isinstance(self.memory.sampler, TransitionSampler):
            return Standing.OPEN
        if self._stood is None:
            self._stood = self.memory.sampler.standing(self.memory)
        return self._stood

    def _ask(self) -> None:
        """Ask Optuna for one setting, and put those of its trials in line that have no ending."""
        self._stood = None
        trial = self.memory.ask()
        try:
            specs = self._specs(trial)
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
        asked = _Asked([trial], specs)
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

    def _specs(self, trial: optuna.Trial) -> list[TrialSpec]:
        if isinstance(self.memory.sampler, TransitionSampler):
            return [self._spec_of_slice(trial, self.memory.sampler.slices)]
        setting = self._choices.setting(trial)
        units = itertools.product(range(self.study.seeds), range(self.study.folds))
        return [self.maker.trial(setting, fold, seed) for seed, fold in units]

    def _spec_of_slice(self, trial: optuna.Trial, slices: Slices) -> TrialSpec:
        number = slices.names.index(trial.suggest_categorical(SLICE, list(slices.names)))
        eps = trial.suggest_float(EPS, *slices.ends, log=True)
        seed = trial.suggest_int(SEED, 0, MOST_SEEDS)
        setting: Setting = slices.settings[number] | {"eps": slices.spans[number].value(eps)}
        return self.maker.trial(setting, seed % self.study.folds, seed // self.study.folds)

    def _judge_by(self, reference: TrialResult) -> None:
        figures = figures_of(reference, self.study, partial=False)
        if math.isfinite(figures.labelled):
            self._labelled.append(figures.labelled)
        if isinstance(self.memory.sampler, TransitionSampler):
            self.memory.sampler.reference = self._reference

    @property
    def _reference(self) -> float:
        return max(self._labelled, default=math.nan)

    def _close(self, asked: _Asked) -> None:
        """Tell Optuna of a setting whose trials are all over."""
        if len(asked.results) < len(asked.specs):
            return
        for spec in asked.specs:
            self._running.pop(spec.key, None)
        seen = [
            (figures_of(result, self.study, self._reference, spec.labeling.name != "full"), result)
            for spec, result in ((spec, asked.results[spec.key]) for spec in asked.specs)
        ]
        values = self._values(seen)
        for trial in asked.optuna:
            trial.set_user_attr(OUTCOME, ", ".join(sorted({figures.outcome for figures, _ in seen})))
            if isinstance(self.memory.sampler, TransitionSampler):
                for name, value in ((RETENTION, seen[0][0].retention), (LABELLED, seen[0][0].labelled)):
                    if math.isfinite(value):
                        trial.set_user_attr(name, value)
            state = TrialState.FAIL if values is None else TrialState.COMPLETE
            if all(result.ending == "pruned" for _, result in seen):
                state = TrialState.PRUNED
            self.memory.tell(trial, values, state=state, skip_if_finished=True)

    def _values(self, seen: list[tuple[Figures, TrialResult]]) -> list[float] | None:
        """What the sampler is told; None for a failure that says nothing of the goal."""
        if self.study.search.strategy != "transition":
            return goal_values(self.study.search.goals, seen)
        figures = seen[0][0]
        if figures.outcome in (Outcome.FAILED, Outcome.UNSCORED):
            return None
        if figures.outcome in (Outcome.COLLAPSED, Outcome.DIVERGED):
            return [0.5]  # the farthest from ½ that a retention can be
        return [abs(figures.retention - 0.5)]


def _population(trials: int) -> int:
    """Settings in a generation: about ten generations, of 10 to 50."""
    return min(max(trials // 10, 10), 50)


def _foretold(slices: Slices, maker: TrialMaker, predict: Predict) -> Slices:
    """The slices with what is expected of each before any training, in log10 of the unit of its ε."""
    pairs = zip(slices.settings, slices.spans, strict=True)
    specs = [maker.trial(setting | {"eps": span.ends[0]}) for setting, span in pairs]
    predicted: list[float | None] = []
    for (crossing, v_hat), span in zip(predict(specs), slices.spans, strict=True):
        unit = v_hat if span.unit == "v_hat" else 1.0
        predicted.append(math.log10(crossing / unit) if crossing and unit else None)
    return replace(slices, predicted=tuple(predicted))
