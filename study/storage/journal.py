"""Append-only files of JSON lines, and the epochs of a trial in one of them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPOCHS_FILE = "epochs.jsonl"


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


def pace_of(times: Sequence[float], epochs: int) -> float | None:
    """Seconds that a trial of so many epochs takes, by the times of its last ones [s]; None of fewer than two."""
    last = times[-LATEST:]
    return None if len(last) < 2 else (last[-1] - last[0]) / (len(last) - 1) * epochs


LATEST = 10
"""Epochs of a trial whose times say how fast it goes; older ones may lie before an interruption."""
