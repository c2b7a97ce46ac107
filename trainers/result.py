"""How a trial ended, and the two files in its folder that say so: ``result.json`` and ``cases.csv``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal, cast, get_args

from trainers.atomic_files import write_text_whole
from trainers.metrics import CaseScore, Metrics

RESULT_FILE = "result.json"
CASES_FILE = "cases.csv"


Ending = Literal["done", "all_empty", "diverged", "pruned", "out_of_memory", "failed"]
"""``all_empty``: trained to its end, and every held-out map is predicted empty. ``pruned``: ended by early stopping."""


@dataclass(frozen=True)
class TrialResult:
    """The ending of one trial.

    state: DONE, or FAILED by its own fault; ``ending`` says how, ``reason`` in words, ``traceback`` where it is
    not foreseen. An ``all_empty`` trial is DONE, a ``pruned`` one FAILED.
    metrics: final figures (``trainers.metrics.summarise``). v_hat, eps_voxels: per class [voxels], ε empty
    where the loss has none. counts: what training saw (steps, batches without any foreground…). targets:
    hashes of the label maps that ``training`` saw and that ``scoring`` compared with: the second is the same
    for every labeling of a fold, or something is wrong. memory_mib: the most that the trial took, of the device's
    memory on a GPU, else of the process's, 0 where it was not measured.
    seconds: wall time of the training, summed over resumptions. scoring_seconds: that of scoring, after it.
    """

    key: str
    state: Literal["DONE", "FAILED"]
    ending: Ending = "done"
    reason: str = ""
    traceback: str = ""
    metrics: Metrics = field(default_factory=dict)
    v_hat: dict[str, float] = field(default_factory=dict)
    eps_voxels: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    scoring_seconds: float = 0.0
    memory_mib: float = 0.0
    device: str = "cpu"

    @property
    def all_seconds(self) -> float:
        """Of training and scoring."""
        return self.seconds + self.scoring_seconds


def save_result(folder: Path, result: TrialResult, scores: Sequence[CaseScore] = ()) -> None:
    """Write both files whole; the result last, since a trial with a result is over."""
    text = io.StringIO()
    rows = [score.row(result.key) for score in scores]
    columns = list(rows[0]) if rows else ["key"]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_whole(folder / CASES_FILE, text.getvalue())
    write_text_whole(folder / RESULT_FILE, json.dumps(asdict(result), indent=1))


def load_result(folder: Path) -> TrialResult | None:
    """The trial's ending, or None while it has none."""
    try:
        text = (folder / RESULT_FILE).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    known = {entry.name for entry in fields(TrialResult)}
    written = {name: value for name, value in json.loads(text).items() if name in known}
    written["ending"] = read_ending(written["state"], written.get("reason", ""), written.get("ending"))
    return TrialResult(**written)


def read_ending(state: str, reason: str, ending: str | None = None) -> Ending:
    """The ending of a trial as recorded; of a record made before endings had these names, by its state and reason."""
    if ending in get_args(Ending) and not (ending == "failed" and reason.startswith(PRUNED_REASON)):
        return cast("Ending", ending)
    if state == "DONE":
        return "all_empty" if ending == "collapsed" or reason.startswith("collapsed") else "done"
    if reason.startswith(PRUNED_REASON):
        return "pruned"
    if reason.startswith("diverged"):
        return "diverged"
    return "out_of_memory" if reason.startswith("out of memory") else "failed"


PRUNED_REASON = "stopped early"
"""What the reason of a pruned trial begins with."""
