"""Where a study stands, read from the storage alone, so that it works while the tracking store is away."""

from __future__ import annotations

import json
from typing import Any

from study.places import Places
from study.storage import read_epochs
from trainers.errors import Fault, InputError
from trainers.files import write_text_whole
from trainers.locks import is_written
from trainers.spec import TrialSpec

TRIALS_FILE = "trials.json"


def keep_members(study: str, trials: list[TrialSpec], concurrent: int, places: Places) -> None:
    """Leave word of a study's trials, for ``status``."""
    kept = {"trials": {spec.key: spec.protocol.epochs for spec in trials}, "concurrent": concurrent}
    write_text_whole(places.storage.study(study) / TRIALS_FILE, json.dumps(kept))


def members(study: str, places: Places) -> dict[str, Any]:
    """What ``keep_members`` left: ``trials``, each key with its epochs, and how many run at once, ``concurrent``.

    Raises: InputError if the storage does not know the study.
    """
    try:
        kept: dict[str, Any] = json.loads((places.storage.study(study) / TRIALS_FILE).read_text())
    except FileNotFoundError:
        known = ", ".join(study_folders(places)) or "none"
        raise InputError(
            Fault(study, f"no such study on this storage, known: {known}", "launch it first, or give --storage")
        ) from None
    return kept


def status(study: str, places: Places | None = None) -> dict[str, Any]:
    """The contract's ``status``: ``state`` is running, done, or stopped with trials waiting.

    ``trials`` counts done, failed, running and waiting; ``eta_s`` [s] is None before a trial is done or while
    none runs; ``failures`` lists key and reason.

    Raises: InputError if the storage does not know the study.
    """
    places = places or Places.find()
    kept = members(study, places)
    running_now = is_written(places.storage.study(study))
    counts = dict.fromkeys(("done", "failed", "running", "waiting"), 0)
    failures, seconds, left = [], [], 0.0
    for key, epochs in kept["trials"].items():
        result = places.storage.result(key)
        if result is not None:
            counts[result.state.lower()] += 1
            if result.state == "FAILED":
                failures.append({"key": key, "reason": result.reason})
            else:
                seconds.append(result.seconds)
            continue
        begun = len(read_epochs(places.storage.trial(key)))
        left += 1 - begun / epochs
        held = running_now and is_written(places.storage.trial(key))
        counts["running" if held else "waiting"] += 1
    eta = None
    if running_now and seconds:
        eta = left * sum(seconds) / len(seconds) / kept["concurrent"]
    over = counts["done"] + counts["failed"] == len(kept["trials"])
    state = "running" if running_now else "done" if over else "stopped"
    return {"study": study, "state": state, "trials": counts, "eta_s": eta, "failures": failures}


def study_folders(places: Places) -> list[str]:
    """Names of the studies on the storage."""
    return sorted(path.parent.name for path in places.storage.root.glob(f"studies/*/{TRIALS_FILE}"))
