"""A study's file and data, looked at before anything is run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from study.plan import check_settings
from study.reader import load
from study.space import enumerate_trials
from trainers.errors import Fault, InputError


def check_study(path: str | Path) -> dict[str, Any]:
    """The contract's ``check``: ``ok``, all ``faults``, and ``statistics`` of the cases found.

    The file first: data that it does not describe cannot be looked at.
    """
    try:
        study = load(path)
    except InputError as error:
        return _answer(error.faults, {})
    faults = study.data.check_files()
    if faults:
        return _answer(faults, {})
    cases = study.data.list_cases()
    trials = enumerate_trials(study, lambda data: data.model_dump_json())
    try:
        check_settings(trials)
    except InputError as error:
        return _answer(error.faults, {})
    return _answer(
        (),
        {
            "trials": len(trials),
            "cells": len({trial.cell for trial in trials}),
            "cases": len(cases),
            "subjects": len({case.subject for case in cases}),
            "groups": dict(Counter(case.group for case in cases)),
            "classes": list(study.data.classes),
        },
    )


def _answer(faults: tuple[Fault, ...] | list[Fault], statistics: dict[str, Any]) -> dict[str, Any]:
    listed = [{"file": fault.where, "fault": fault.fault, "remedy": fault.remedy} for fault in faults]
    return {"ok": not listed, "faults": listed, "statistics": statistics}
