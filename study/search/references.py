"""Trials that a search runs beside those it chooses, for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from study.config.axis import Span
from study.config.search_space import Setting, TrialMaker, read_space
from study.config.spec import StudySpec
from study.storage.folders import Storage
from study.storage.suggestions import SuggestionRecord
from trainers.data.base import DataSpec
from trainers.epsilon import Epsilon
from trainers.losses.taxonomy import TAXONOMY
from trainers.spec import Regime, TrialSpec

NEGLIGIBLE = Epsilon(1e-7)
"""ε of a reference: under full labeling any ε segments, and this one is the losses' own default."""


def known_trials(study: StudySpec, storage: Storage, data_key: Callable[[DataSpec], str]) -> list[TrialSpec]:
    """The trials of a search that are known by now: its references, and what it has asked for."""
    trials = [*reference_trials(study, TrialMaker(study, data_key)), *SuggestionRecord.of(study, storage).read()]
    return list({spec.key: spec for spec in trials}.values())


def reference_trials(study: StudySpec, maker: TrialMaker) -> list[TrialSpec]:
    """The trainings under full labeling that a search about emptied maps judges outcomes by.

    ``search.references`` seeds: one set where the search follows a goal, at the first value of every axis and the
    middle of every range; for the transition one set for each of its slices' circumstances, all but loss, Φ and ε.
    """
    if not study.search.needs_partial:
        return []
    trials: dict[str, TrialSpec] = {}
    for space in read_space(study).spaces:
        for setting in _circumstances(space, every=study.search.rules.references_per_context):
            for seed in range(study.search.references):
                spec = maker.trial(setting, 0, seed)
                trials.setdefault(spec.key, spec)
    found = list(trials.values())
    return found if study.search.rules.references_per_context else found[: study.search.references]


def _circumstances(space: dict[str, list[Any]], every: bool) -> list[Setting]:
    """Settings under full labeling."""
    first = {name: _middle(values[0]) if isinstance(values[0], Span) else values[0] for name, values in space.items()}
    settings = [first]
    if every:
        for name, values in space.items():
            if name not in ("loss", "phi", "eps", "labeling") and not name.startswith("loss."):
                settings = [setting | {name: value} for value in values for setting in settings]
    full: Setting = {"labeling": Regime(name="full")}
    if any(TAXONOMY[term["name"]].phi_eps for term in first["loss"]):
        full["eps"] = NEGLIGIBLE
    return [setting | full for setting in settings]


def _middle(span: Span) -> Any:
    return span.value((span.low * span.high) ** 0.5 if span.log else (span.low + span.high) / 2)
