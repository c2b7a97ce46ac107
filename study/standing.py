"""Where a study stands, read from the storage alone, so that it works while the tracking store is away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from study.places import Places
from study.progress import pace_of
from study.search.record import AskedRecord
from study.spec import StudySpec
from study.storage import STOP_FILE, UnknownStudyError, read_epochs
from trainers.errors import Fault
from trainers.files import write_text_whole
from trainers.locks import is_written
from trainers.spec import TrialSpec

TRIALS_FILE = "trials.json"
STUDY_FILE = "study.yaml"


def keep_members(
    study: StudySpec, trials: Sequence[TrialSpec], concurrent: int, places: Places, complete: bool = False
) -> None:
    """Leave word of a study and its trials: for ``status``, and for who delivers its records later.

    complete: a search will not ask for any more, though it might have.
    """
    folder = places.storage.study(study.name)
    text = yaml.safe_dump(study.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)
    write_text_whole(folder / STUDY_FILE, text)
    kept: dict[str, Any] = {"trials": {spec.key: spec.protocol.epochs for spec in trials}, "concurrent": concurrent}
    if study.search.strategy != "grid":
        kept |= {"search": study.search_key, "most": len(trials) if complete else study.search.trials}
    write_text_whole(folder / TRIALS_FILE, json.dumps(kept))


def kept_study(study: str, places: Places) -> StudySpec:
    """The study as it was last launched. Raises: InputError if the storage does not know it."""
    members(study, places)
    return StudySpec.model_validate(yaml.safe_load((places.storage.study(study) / STUDY_FILE).read_text()))


def members(study: str, places: Places) -> dict[str, Any]:
    """What ``keep_members`` left: ``trials``, each key with its epochs, and how many run at once, ``concurrent``.

    Raises: InputError if the storage does not know the study.
    """
    try:
        kept: dict[str, Any] = json.loads((places.storage.study(study) / TRIALS_FILE).read_text())
    except FileNotFoundError:
        known = ", ".join(study_folders(places)) or "none"
        raise UnknownStudyError(
            Fault(study, f"no such study on this storage, known: {known}", "launch it first, or give --storage")
        ) from None
    if search := kept.get("search"):
        kept["trials"] |= AskedRecord(study, search, places.storage).epochs()
    return kept


def status(study: str, places: Places | None = None) -> dict[str, Any]:
    """The contract's ``status``: ``state`` is running, done, or stopped with trials waiting.

    ``trials`` counts done, failed, running and waiting; ``eta_s`` [s] goes by the trials that are done, before the
    first by the epochs of those that run, and is None where there is neither, or the study does not run;
    ``failures`` lists key and reason.

    Raises: InputError if the storage does not know the study.
    """
    places = places or Places.find()
    kept = members(study, places)
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


def request_stop(study: str, places: Places) -> bool:
    """Ask a running launch to end; False if none runs. Trials keep their checkpoints."""
    folder = places.storage.study(study)
    if not is_written(folder):
        return False
    (folder / STOP_FILE).touch()
    return True


def study_folders(places: Places) -> list[str]:
    """Names of the studies on the storage."""
    return sorted(path.parent.name for path in places.storage.root.glob(f"studies/*/{TRIALS_FILE}"))
