"""The strategy ``transition``: trials where they tell most about the crossing of each slice, as an Optuna sampler.

A slice is one setting of everything but ε. What is known of each is the posterior of
``analysis.transition.posterior``, computed anew from the trials that Optuna holds, so it is the same after a restart
and for every driver of the same memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from analysis.outcomes import NOT_TOLD, Outcome, classify
from analysis.transition.posterior import Located, Posterior, chance_to_place, choose, code_of, shifted_predictions
from study.config.axis import Span
from study.config.search_space import Setting
from study.search.optuna_space import labels

SLICE, EPS, SEED = "slice", "eps", "seed"
"""The three parameters of a trial."""
MAX_SEED = 10**6
OUTCOME, RETENTION, LABELLED = "outcome", "retention", "labelled"
"""User attributes of a told trial: what it did, its retention, and its labelled DSC."""
MIN_CHANCE_INSIDE = 0.02
"""Under this chance that the crossing lies in the range at all, the slice has none to look for."""
MAX_LOST_TRIALS = 12
"""So many trials that collapsed or diverged, and more than twice as many as told something: the slice is given up."""
MIN_CHANCE_TO_PLACE = 0.5
"""With this chance that what runs already places a slice, no further trial of it is begun until more is known."""
BUSIEST_SLICE_FACTOR = 1.4
"""How much more the slice with the most trials counts: what it shows sooner shortens the way of the others."""


class Standing(Enum):
    """How far a search for transitions is; AWAITED: what runs already is likely to place all that is left."""

    OPEN, AWAITED, PLACED = range(3)


@dataclass(frozen=True)
class Slices:
    """The slices of a study: their settings but ε, names, range of ε, and log10 ε of the predicted crossings."""

    settings: tuple[Setting, ...]
    names: tuple[str, ...]
    spans: tuple[Span, ...]
    predicted: tuple[float | None, ...]

    @classmethod
    def of(cls, spaces: Sequence[Mapping[str, list[Any]]]) -> Slices:
        """All combinations of the axes but ε; nothing predicted."""
        settings, names, spans = [], [], []
        for space in spaces:
            listed = {name: values for name, values in space.items() if name != "eps"}
            named = {name: labels(values) for name, values in listed.items()}
            for picks in itertools.product(*(range(len(values)) for values in listed.values())):
                chosen = dict(zip(listed, picks, strict=True))
                settings.append({name: listed[name][pick] for name, pick in chosen.items()})
                told = [f"{name}={named[name][pick]}" for name, pick in chosen.items() if len(listed[name]) > 1]
                names.append(" ".join(told) or "all")
                spans.append(space["eps"][0])
        unlike = len(set(names)) == len(names)
        names = names if unlike else [f"{number}: {name}" for number, name in enumerate(names)]
        return cls(tuple(settings), tuple(names), tuple(spans), (None,) * len(names))

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest ε of all ranges."""
        return min(span.low for span in self.spans), max(span.high for span in self.spans)


@dataclass(frozen=True)
class SliceState:
    """What is known of one slice: its posterior, what that says, the ε of the trials that run, how many were lost.

    precision [decades]: the width of the interval at which the slice is done.
    """

    posterior: Posterior
    located: Located
    pending: tuple[float, ...]
    lost: int
    precision: float

    @property
    def over(self) -> bool:
        """Whether no further trial is wanted, as far as those go that are over."""
        hopeless = self.lost >= MAX_LOST_TRIALS and self.lost > 2 * self.located.n
        return self.located.width <= self.precision or self.located.inside < MIN_CHANCE_INSIDE or hopeless

    @cached_property
    def awaits(self) -> bool:
        """Whether the trials that run are likely to be all that is needed."""
        return (
            bool(self.pending) and chance_to_place(self.posterior, self.pending, self.precision) >= MIN_CHANCE_TO_PLACE
        )


class TransitionSampler(optuna.samplers.BaseSampler):
    """Places each trial where it is expected to tell most, beside those that still run; each with a seed of its own.

    ``precision`` [decades]: the width of a slice's 95 % interval at which it is done. ``reference``: the labelled
    DSC under full labeling, by which collapse is told; NaN until it is known.
    """

    def __init__(self, slices: Slices, precision: float) -> None:
        self.slices, self.precision = slices, precision
        self.reference = math.nan
        self._seen: object = None
        self._of_slices: list[SliceState] = []

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All three parameters are chosen together."""
        return distributions(self.slices)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The slice and ε that tell most, and the first seed that the slice has not had."""
        if not search_space or trial.params:
            return {}  # one that was given back keeps what it was
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        known = self.slice_states(trials)
        wanted = {index: each for index, each in enumerate(known) if not each.over}
        most = max((each.located.n for each in wanted.values()), default=0)
        wanted = {index: each for index, each in wanted.items() if not each.awaits} or wanted
        best, number, place = -1.0, 0, known[0].located.crossing
        for index, each in wanted.items():
            x, gain = choose(each.posterior, each.pending)
            gain *= BUSIEST_SLICE_FACTOR if each.located.n == most else 1.0
            if gain > best:
                best, number, place = gain, index, x
        had = {other.params[SEED] for other in trials if other.params.get(SLICE) == self.slices.names[number]}
        span = self.slices.spans[number]
        seed = next(seed for seed in itertools.count() if seed not in had)
        eps = min(max(10.0**place, span.low), span.high)
        return {SLICE: self.slices.names[number], EPS: eps, SEED: seed}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter alone, of a trial that a killed driver left with a part of them: nothing has run of it."""
        return self.sample_relative(study, _bare(trial), {param_name: param_distribution})[param_name]

    def standing(self, study: optuna.Study) -> Standing:
        """Whether every slice is done, as far as the trials go that are over, or likely to be by those that run."""
        wanted = [one for one in self.slice_states(study.get_trials(deepcopy=False)) if not one.over]
        if not wanted:
            return Standing.PLACED
        return Standing.AWAITED if all(one.awaits for one in wanted) else Standing.OPEN

    def slice_states(self, trials: Sequence[FrozenTrial]) -> list[SliceState]:
        """What the trials say of each slice; a slice's prior moves by how far off the others' predictions were."""
        by_slice: dict[str, list[FrozenTrial]] = {name: [] for name in self.slices.names}
        for trial in trials:
            if trial.params.get(SLICE) in by_slice and EPS in trial.params:
                by_slice[trial.params[SLICE]].append(trial)
        # Whether a trial is wanted, and then which, is asked of the same trials.
        seen = self.reference, [(one.number, one.state) for part in by_slice.values() for one in part]
        if seen != self._seen:
            self._seen, self._of_slices = seen, self._tell_slices(list(by_slice.values()))
        return self._of_slices

    def _tell_slices(self, parts: list[list[FrozenTrial]]) -> list[SliceState]:
        alone = [self._slice_state(part, number, self.slices.predicted[number]) for number, part in enumerate(parts)]
        if len(parts) == 1:
            return alone
        found = [each.located for each in alone]
        return [
            self._slice_state(part, number, self._shifted(number, found))
            if found[number].width > self.precision
            else one
            for number, (part, one) in enumerate(zip(parts, alone, strict=True))
        ]

    def _shifted(self, number: int, found: Sequence[Located]) -> float | None:
        others = [None if index == number else located for index, located in enumerate(found)]
        return shifted_predictions(self.slices.predicted, others)[number]

    def _slice_state(self, trials: Sequence[FrozenTrial], number: int, predicted: float | None) -> SliceState:
        span = self.slices.spans[number]
        posterior = Posterior(math.log10(span.low), math.log10(span.high), predicted)
        pending, lost = [], 0
        for trial in trials:
            x = math.log10(trial.params[EPS])
            if trial.state in (TrialState.RUNNING, TrialState.WAITING):
                pending.append(x)
            elif trial.state == TrialState.COMPLETE:
                gone = self._lost(trial.user_attrs)
                lost += gone
                posterior.see(x, code_of(trial.user_attrs.get(RETENTION, math.nan), lost=gone))
        return SliceState(posterior, posterior.locate(), tuple(pending), lost, self.precision)

    def _lost(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a trial collapsed or diverged, by what is known now of full labeling."""
        if attributes.get(OUTCOME) in (str(Outcome.COLLAPSED), str(Outcome.DIVERGED)):
            return True
        verdict = classify(attributes.get(RETENTION, math.nan), attributes.get(LABELLED, math.nan), self.reference)
        return verdict.outcome in NOT_TOLD


def distributions(slices: Slices) -> dict[str, BaseDistribution]:
    """The parameters of a trial; ε over all the slices' ranges."""
    low, high = slices.ends
    return {
        SLICE: CategoricalDistribution(list(slices.names)),
        EPS: FloatDistribution(low, high, log=True),
        SEED: IntDistribution(0, MAX_SEED),
    }


def _bare(trial: FrozenTrial) -> FrozenTrial:
    twin = optuna.trial.create_trial(state=TrialState.RUNNING)
    twin.number = trial.number
    return twin
