"""A study's file and the keys of its trials, in the study's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from study.config.spec import StudySpec
from study.storage.folders import UnknownStudyError
from study.storage.locations import Places
from study.storage.suggestions import SuggestionRecord
from trainers.atomic_files import write_text_whole
from trainers.errors import Fault
from trainers.spec import TrialSpec

TRIALS_FILE = "trials.json"


STUDY_FILE = "study.yaml"


def write_study_record(
    study: StudySpec, trials: Sequence[TrialSpec], concurrent: int, places: Places, complete: bool = False
) -> None:
    """Leave word of a study and its trials: for ``status``, and for who delivers its records later.

    complete: a search will not ask for any more, though it might have.
    """
    folder = places.storage.study(study.name)
    text = yaml.safe_dump(study.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)
    write_text_whole(folder / STUDY_FILE, text)
    kept: dict[str, Any] = {"trials": {spec.key: spec.protocol.epochs for spec in trials}, "concurrent": concurrent}
    if study.search.is_search:
        kept |= {"search": study.search_key, "most": len(trials) if complete else study.search.trials}
    write_text_whole(folder / TRIALS_FILE, json.dumps(kept))


def read_study(study: str, places: Places) -> StudySpec:
    """The study as it was last launched. Raises: InputError if the storage does not know it."""
    read_members(study, places)
    return StudySpec.model_validate(yaml.safe_load((places.storage.study(study) / STUDY_FILE).read_text()))


def read_members(study: str, places: Places) -> dict[str, Any]:
    """What ``write_study_record`` left: ``trials``, each key with its epochs, and how many run at once, ``concurrent``.

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
        kept["trials"] |= SuggestionRecord(study, search, places.storage).epochs()
    return kept


def study_folders(places: Places) -> list[str]:
    """Names of the studies on the storage."""
    return sorted(path.parent.name for path in places.storage.root.glob(f"studies/*/{TRIALS_FILE}"))
