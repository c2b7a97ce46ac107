"""Which trials a search has asked for so far, in the study's folder: with a grid that would be its list of trials."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from study.config.spec import StudySpec
from study.storage.folders import Storage
from trainers.spec import TrialSpec

SUGGESTIONS_FILE = "asked.jsonl"


class SuggestionRecord:
    """The trials that a search has asked for, one JSON line each, only ever added to.

    Those of the study as its file now is: a search whose space or goal changed begins a list of its own. A line torn
    by a killed writer is cut off before the next is added; its trial was never given to anyone.
    """

    def __init__(self, study: str, search_key: str, storage: Storage) -> None:
        self.path = storage.study(study) / SUGGESTIONS_FILE
        self.search_key = search_key
        self._mended = False

    @classmethod
    def of(cls, study: StudySpec, storage: Storage) -> SuggestionRecord:
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
