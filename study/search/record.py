"""Which trials a search has asked for so far, in the study's folder: with a grid that would be its list of trials."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from study.axes import Span
from study.space import Setting, TrialMaker, read_space
from study.spec import StudySpec
from study.storage import Storage
from trainers.data.base import DataSpec
from trainers.epsilon import Epsilon
from trainers.losses.taxonomy import TAXONOMY
from trainers.spec import Regime, TrialSpec

ASKED_FILE = "asked.jsonl"
NEGLIGIBLE = Epsilon(1e-7)
"""ε of a reference: under full labeling any ε segments, and this one is the losses' own default."""


class AskedRecord:
    """The trials that a search has asked for, one JSON line each, only ever added to.

    Those of the study as its file now is: a search whose space or goal changed begins a list of its own. A line torn
    by a killed writer is cut off before the next is added; its trial was never given to anyone.
    """

    def __init__(self, study: str, search_key: str, storage: Storage) -> None:
        self.path = storage.study(study) / ASKED_FILE
        self.search_key = search_key
        self._mended = False

    @classmethod
    def of(cls, study: StudySpec, storage: Storage) -> AskedRecord:
        """The record of a study as its file is now."""
        return cls(study.name, study.search_key, storage)

    def read(self) -> list[TrialSpec]:
        """The trials, in the order they were asked for."""
        return [TrialSpec.model_validate(entry["spec"]) for entry in self._entries()]

    def settings(self) -> list[tuple[dict[str, Any], list[str]]]:
        """What was asked for, as Optuna's parameters with the keys of its trials, in order."""
        found: dict[str, tuple[dict[str, Any], list[str]]] = {}
        for entry in self._entries():
            found.setdefault(json.dumps(entry["parameters"]), (entry["parameters"], []))[1].append(entry["key"])
        return list(found.values())

    def epochs(self) -> dict[str, int]:
        """Each trial's key with its epochs, without reading the rest of it."""
        return {entry["key"]: entry["spec"]["protocol"]["epochs"] for entry in self._entries()}

    def append(self, spec: TrialSpec, parameters: dict[str, Any]) -> None:
        """Add a trial; ``parameters``: those of its Optuna trial."""
        self.path.parent.mkdir(exist_ok=True)
        if not self._mended:
            # Once: reading all of it for each trial would take longer with every one.
            whole = len(self._whole())
            if self.path.exists() and self.path.stat().st_size > whole:
                os.truncate(self.path, whole)
            self._mended = True
        entry = {
            "search": self.search_key,
            "key": spec.key,
            "parameters": parameters,
            "spec": spec.model_dump(mode="json"),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def _entries(self) -> Iterator[dict[str, Any]]:
        for line in self._whole().splitlines():
            entry = json.loads(line)
            if entry["search"] == self.search_key:
                yield entry

    def _whole(self) -> bytes:
        content = self.path.read_bytes() if self.path.exists() else b""
        return content[: content.rfind(b"\n") + 1]


def known_trials(study: StudySpec, storage: Storage, data_key: Callable[[DataSpec], str]) -> list[TrialSpec]:
    """The trials of a search that are known by now: its references, and what it has asked for."""
    trials = [*reference_trials(study, TrialMaker(study, data_key)), *AskedRecord.of(study, storage).read()]
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
        for setting in _circumstances(space, every=study.search.strategy == "transition"):
            for seed in range(study.search.references):
                spec = maker.trial(setting, 0, seed)
                trials.setdefault(spec.key, spec)
    found = list(trials.values())
    return found if study.search.strategy == "transition" else found[: study.search.references]


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
