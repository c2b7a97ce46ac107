"""One class per search strategy: its sampler, the trials of a suggestion, what Optuna is told, when it is finished.

What a strategy asks of a study file's fields and axes is in ``study.config.strategies``, which needs no Optuna.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import optuna

from analysis.outcomes import Outcome
from study.config.search_space import Setting, TrialMaker, read_space
from study.config.spec import StudySpec
from study.search.optuna_space import OptunaSpace
from study.search.scores import Figures, goal_values
from study.search.transition_sampler import (
    EPS,
    LABELLED,
    MAX_SEED,
    RETENTION,
    SEED,
    SLICE,
    Slices,
    Standing,
    TransitionSampler,
)
from trainers.result import TrialResult
from trainers.spec import TrialSpec

Predict = Callable[[list[TrialSpec]], list[tuple[float | None, float | None]]]
"""For specs: the ε [voxels] at which each is expected to turn, and its v̂ [voxels]; None where not known."""
Scored = Sequence[tuple[Figures, TrialResult]]
"""The trials of one setting that are over."""


class Strategy:
    """A search for settings by goals of the user's: every setting is trained for each fold and seed."""

    direction: ClassVar[Literal["minimize", "maximize"]] = "maximize"

    def __init__(self, study: StudySpec, maker: TrialMaker) -> None:
        self.study, self.maker = study, maker
        self._optuna_space = OptunaSpace(read_space(study).spaces)

    @staticmethod
    def goals(study: StudySpec) -> tuple[str, ...]:
        """Names of the values that Optuna is told, one per goal."""
        return study.search.goals

    def sampler(self, suggested: int, predict: Predict) -> optuna.samplers.BaseSampler:
        """The sampler; ``suggested``: how many settings Optuna holds already."""
        raise NotImplementedError

    def trials(self, suggestion: optuna.Trial) -> list[TrialSpec]:
        """The trials of a suggestion. Raises: pydantic's ValidationError if its values do not go together."""
        setting = self._optuna_space.setting(suggestion)
        units = itertools.product(range(self.study.seeds), range(self.study.folds))
        return [self.maker.trial(setting, fold, seed) for seed, fold in units]

    def values(self, scored: Scored) -> list[float] | None:
        """The values that Optuna is told; None for a failure that says nothing of the goal."""
        return goal_values(self.study.search.goals, scored)

    def attributes(self, scored: Scored) -> Mapping[str, float]:  # noqa: ARG002
        """User attributes that an Optuna trial is given beside its values."""
        return {}

    def judge_by(self, reference: float) -> None:
        """Take in the labelled DSC under full labeling that collapse is told by."""

    def standing(self, memory: optuna.Study) -> Standing:  # noqa: ARG002
        """How far the search is, beside its budget of trials."""
        return Standing.OPEN

    def _seed(self, suggested: int) -> int:
        # A search that goes on draws anew, and not once more what it drew at first.
        return int(np.random.SeedSequence([self.study.search.seed, suggested]).generate_state(1)[0])


class RandomStrategy(Strategy):
    """``random``."""

    def sampler(self, suggested: int, predict: Predict) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        """Independent draws."""
        return optuna.samplers.RandomSampler(seed=self._seed(suggested))


class TpeStrategy(Strategy):
    """``tpe``."""

    def sampler(self, suggested: int, predict: Predict) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        """Optuna's tree-structured Parzen estimator."""
        return optuna.samplers.TPESampler(seed=self._seed(suggested))


class Nsga2Strategy(Strategy):
    """``nsga2``."""

    def sampler(self, suggested: int, predict: Predict) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        """Optuna's NSGA-II: about ten generations, of 10 to 50 settings."""
        population = min(max((self.study.search.trials or 1) // 10, 10), 50)
        return optuna.samplers.NSGAIISampler(seed=self._seed(suggested), population_size=population)


class TransitionStrategy(Strategy):
    """``transition``: one trial per suggestion, whose seed is chosen with it; the distance to retention ½ is told."""

    direction = "minimize"

    def __init__(self, study: StudySpec, maker: TrialMaker) -> None:
        super().__init__(study, maker)
        self._slices = Slices.of(read_space(study).spaces)
        self._sampler: TransitionSampler | None = None

    @staticmethod
    def goals(study: StudySpec) -> tuple[str, ...]:  # noqa: ARG004
        """``distance`` alone."""
        return ("distance",)

    def sampler(self, suggested: int, predict: Predict) -> TransitionSampler:  # noqa: ARG002
        """The sampler of ``study.search.transition_sampler``, with what is predicted of each slice."""
        slices = _with_predictions(self._slices, self.maker, predict)
        self._sampler = TransitionSampler(slices, self.study.search.precision)
        return self._sampler

    def trials(self, suggestion: optuna.Trial) -> list[TrialSpec]:
        """The one trial of a slice, ε and seed."""
        slices = self._slices
        number = slices.names.index(suggestion.suggest_categorical(SLICE, list(slices.names)))
        eps = suggestion.suggest_float(EPS, *slices.ends, log=True)
        seed = suggestion.suggest_int(SEED, 0, MAX_SEED)
        setting: Setting = slices.settings[number] | {"eps": slices.spans[number].value(eps)}
        return [self.maker.trial(setting, seed % self.study.folds, seed // self.study.folds)]

    def values(self, scored: Scored) -> list[float] | None:
        """|retention − ½|, and its largest value ½ for a trial that collapsed or diverged."""
        figures = scored[0][0]
        if figures.outcome in (Outcome.FAILED, Outcome.UNSCORED):
            return None
        if figures.outcome in (Outcome.COLLAPSED, Outcome.DIVERGED):
            return [0.5]
        return [abs(figures.retention - 0.5)]

    def attributes(self, scored: Scored) -> Mapping[str, float]:
        """Retention and labelled DSC, as far as they are finite: what the sampler reads again after a restart."""
        figures = scored[0][0]
        named = {RETENTION: figures.retention, LABELLED: figures.labelled}
        return {name: value for name, value in named.items() if math.isfinite(value)}

    def judge_by(self, reference: float) -> None:
        """Hand it to the sampler, which tells lost trials by it."""
        if self._sampler is not None:
            self._sampler.reference = reference

    def standing(self, memory: optuna.Study) -> Standing:
        """PLACED once every slice is."""
        return Standing.OPEN if self._sampler is None else self._sampler.standing(memory)


STRATEGIES: Mapping[str, type[Strategy]] = {
    "random": RandomStrategy,
    "tpe": TpeStrategy,
    "nsga2": Nsga2Strategy,
    "transition": TransitionStrategy,
}


def strategy_class(study: StudySpec) -> type[Strategy]:
    """The class of a search's strategy."""
    return STRATEGIES[study.search.strategy]


def _with_predictions(slices: Slices, maker: TrialMaker, predict: Predict) -> Slices:
    """The slices with what is expected of each before any training, in log10 of the unit of its ε."""
    pairs = zip(slices.settings, slices.spans, strict=True)
    specs = [maker.trial(setting | {"eps": span.ends[0]}) for setting, span in pairs]
    predicted: list[float | None] = []
    for (crossing, v_hat), span in zip(predict(specs), slices.spans, strict=True):
        unit = v_hat if span.unit == "v_hat" else 1.0
        predicted.append(math.log10(crossing / unit) if crossing and unit else None)
    return replace(slices, predicted=tuple(predicted))
