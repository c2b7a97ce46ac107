"""Rows of the two tables that the analysis works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.table import CASE_COLUMNS, TRIAL_COLUMNS, Emptied, StudyTables
from study.settings import resolved, settings_of
from study.storage import Storage
from trainers.outcome import CASES_FILE, TrialResult
from trainers.spec import TrialSpec


def build_tables(members: Sequence[tuple[TrialSpec, TrialResult]], storage: Storage) -> StudyTables:
    """The tables of trials that are over, from their specs, results and per-case files."""
    rows = [
        {
            "key": spec.key,
            "cell": spec.cell,
            "fold": spec.fold,
            "seed": spec.seed,
            "state": result.state,
            "reason": result.reason,
            **settings_of(spec),
            "eps_voxels": None,
            "v_hat": None,
            **resolved(spec, result),
        }
        for spec, result in members
    ]
    done = [storage.trial(spec.key) / CASES_FILE for spec, result in members if result.state == "DONE"]
    first = members[0][0]
    emptied = Emptied(first.empty.group, first.empty.classes)
    return make_tables(rows, done, emptied, first.data.groups, first.data.classes)


def make_tables(
    rows: Sequence[Mapping[str, object]],
    case_files: Iterable[Path],
    emptied: Emptied,
    groups: Sequence[str],
    classes: Sequence[str],
) -> StudyTables:
    """Tables from rows of trials and per-case files; every column of a row that is not declared is a setting."""
    trials = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(TRIAL_COLUMNS))
    parts = [pd.read_csv(path, dtype={"key": str, "case": str, "subject": str, "group": str}) for path in case_files]
    cases = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(CASE_COLUMNS))
    settings = tuple(name for name in trials.columns if name not in ("key", "cell", "fold", "seed", "state", "reason"))
    return StudyTables(trials, cases, emptied, tuple(groups), tuple(classes), settings)
