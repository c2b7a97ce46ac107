"""The shared folder: where everything of a study lies, who may write it, and what is over already."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from study.storage.journal import EPOCHS_FILE
from trainers.atomic_files import write_text_whole
from trainers.errors import Fault, InputError
from trainers.result import RESULT_FILE, TrialResult, load_result
from trainers.spec import TrialSpec

SPEC_FILE = "spec.json"
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

    def require(self) -> None:
        """See that it can be written to; writes nothing. Raises: InputError if not."""
        if not is_writable(self.root):
            raise InputError(
                Fault(
                    str(self.root),
                    "the storage cannot be written to",
                    "give another folder with --storage or DICESTUDY_STORAGE",
                )
            )

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

    def save_spec(self, spec: TrialSpec) -> None:
        """Leave the trial's spec beside its result, for people and for rebuilding what was tracked."""
        path = self.trial(spec.key) / SPEC_FILE
        if not path.exists():
            write_text_whole(path, spec.model_dump_json(indent=1))

    def save_loss_reason(self, key: str, reason: str) -> None:
        """Leave word that an engine gave a trial up: a later launch tries it again."""
        write_text_whole(self.trial(key) / LOSS_FILE, reason)

    def loss(self, key: str) -> str | None:
        """Why a trial was given up; None where it was not, or runs again."""
        try:
            return (self.trial(key) / LOSS_FILE).read_text()
        except FileNotFoundError:
            return None

    def set_result_aside(self, key: str) -> None:
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
