"""The shared folder: where everything of a study lies, who may write it, and what is over already."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import InputError
from trainers.files import write_text_whole
from trainers.outcome import RESULT_FILE, TrialResult, load_result
from trainers.spec import TrialSpec

SPEC_FILE = "spec.json"
EPOCHS_FILE = "epochs.jsonl"
STOP_FILE = "stop"
LOSS_FILE = "lost.txt"
"""Why an engine gave a trial up; gone once the trial runs again."""


class UnknownStudyError(InputError):
    """Neither the storage nor the store has a study of that name, as the fault says."""


@dataclass(frozen=True)
class Storage:
    """Paths below one root. Trials are shared by all studies: their key says all that they are.

    ``prepared/KEY/`` data; ``trials/KEY/`` spec, checkpoint, epochs, result, per-case table;
    ``studies/NAME/`` lock, study file, report, maps.
    """

    root: Path

    def make(self) -> None:
        """Make its folders, once: whoever writes later takes their lack for a storage that is away."""
        for folder in (self.trial("x"), self.study("x"), self.prepared("x")):
            folder.parent.mkdir(parents=True, exist_ok=True)

    def trial(self, key: str) -> Path:
        """The folder of one trial."""
        return self.root / "trials" / key

    def study(self, name: str) -> Path:
        """The folder of one study."""
        return self.root / "studies" / name

    def prepared(self, data_key: str) -> Path:
        """The folder of one source's prepared cases."""
        return self.root / "prepared" / data_key

    def result(self, key: str) -> TrialResult | None:
        """How a trial ended, or None while it has not."""
        return load_result(self.trial(key))

    def spec(self, key: str) -> TrialSpec | None:
        """What a trial is, or None if it has never begun."""
        try:
            return TrialSpec.model_validate_json((self.trial(key) / SPEC_FILE).read_text())
        except FileNotFoundError:
            return None

    def keep_spec(self, spec: TrialSpec) -> None:
        """Leave the trial's spec beside its result, for people and for rebuilding what was tracked."""
        path = self.trial(spec.key) / SPEC_FILE
        if not path.exists():
            write_text_whole(path, spec.model_dump_json(indent=1))

    def keep_loss(self, key: str, reason: str) -> None:
        """Leave word that an engine gave a trial up: a later launch tries it again."""
        write_text_whole(self.trial(key) / LOSS_FILE, reason)

    def loss(self, key: str) -> str | None:
        """Why a trial was given up; None where it was not, or runs again."""
        try:
            return (self.trial(key) / LOSS_FILE).read_text()
        except FileNotFoundError:
            return None

    def forget_result(self, key: str) -> None:
        """Let a failed trial be run anew from its beginning; what it recorded stays beside it, renamed."""
        folder = self.trial(key)
        for name in (RESULT_FILE, "checkpoint.pt", EPOCHS_FILE):
            path = folder / name
            if path.exists():
                path.replace(path.with_name(f"{path.name}.failed"))


def is_writable(folder: Path) -> bool:
    """Whether a folder can be written to, or made; looks without touching anything."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


class Journal:
    """The epochs of one trial, one JSON line each, only ever added to.

    A line torn by a killed writer is cut off before the next is added; an epoch told again is not added.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / EPOCHS_FILE
        records, whole = _read_lines(self.path)
        self.last = records[-1]["epoch"] if records else 0
        if self.path.exists() and self.path.stat().st_size > whole:
            os.truncate(self.path, whole)

    def append(self, record: dict[str, Any]) -> None:
        """Add the record of one epoch, unless it is here already."""
        if record["epoch"] <= self.last:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.last = record["epoch"]


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The whole records of a trial's journal, in order."""
    return _read_lines(folder / EPOCHS_FILE)[0]


def _read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a journal, and how many bytes they take."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    whole = content.rfind(b"\n") + 1
    return [json.loads(line) for line in content[:whole].splitlines()], whole
