"""Where a study stands, read from the storage alone, so that it works while the tracking store is away."""

from __future__ import annotations

from typing import Any

from study.config.spec import StudySpec
from study.storage.folders import STOP_FILE
from study.storage.journal import pace_of, read_epochs
from study.storage.locations import Places
from study.storage.study_record import read_members
from trainers.errors import DicestudyError
from trainers.locks import is_written


def status(study: StudySpec | str, places: Places | None = None) -> dict[str, Any]:
    """The contract's ``status``: ``state`` is running, done, or stopped with trials waiting.

    ``trials`` counts done, failed, running and waiting; ``eta_s`` [s] goes by the trials that are done, before the
    first by the epochs of those that run, and is None where there is neither, or the study does not run;
    ``failures`` lists key and reason.

    Raises: InputError if the storage does not know the study.
    """
    places = places or Places.find()
    study = study if isinstance(study, str) else study.name
    kept = read_members(study, places)
    running_now = is_written(places.storage.study(study))
    counts = dict.fromkeys(("done", "failed", "running", "waiting"), 0)
    failures, left = [], 0.0
    seconds: list[float] = []
    paces: list[float] = []
    for key, epochs in kept["trials"].items():
        result = places.storage.result(key)
        if result is not None:
            counts[result.state.lower()] += 1
            if result.state == "FAILED":
                failures.append({"key": key, "reason": result.reason})
            else:
                seconds.append(result.all_seconds)
            continue
        records = read_epochs(places.storage.trial(key))
        left += 1 - len(records) / epochs
        paces += [pace] if (pace := pace_of([record["time"] for record in records], epochs)) is not None else []
        held = running_now and is_written(places.storage.trial(key))
        counts["running" if held else "waiting"] += 1
    # What a search has not asked for yet.
    to_come = max((kept.get("most") or 0) - len(kept["trials"]), 0)
    counts["waiting"] += to_come
    left += to_come
    eta = None
    if running_now and (known := seconds or paces):
        eta = left * sum(known) / len(known) / kept["concurrent"]
    over = not counts["waiting"] and not counts["running"]
    state = "running" if running_now else "done" if over else "stopped"
    return {"study": study, "state": state, "trials": counts, "eta_s": eta, "failures": failures}


def stop(study: StudySpec | str, places: Places | None = None) -> None:
    """Ask a running study to end. Raises: DicestudyError if it is not running."""
    name = study if isinstance(study, str) else study.name
    if not request_stop(name, places or Places.find()):
        raise DicestudyError(f"study {name} is not running on this storage")


def request_stop(study: str, places: Places) -> bool:
    """Ask a running launch to end; False if none runs. Trials keep their checkpoints."""
    folder = places.storage.study(study)
    if not is_written(folder):
        return False
    (folder / STOP_FILE).touch()
    return True
