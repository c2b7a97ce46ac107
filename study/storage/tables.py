"""Rows of the two tables that the analysis works on."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.tables import CASE_COLUMNS, TRIAL_COLUMNS, Emptied, StudyTables
from study.config.trial_params import resolved, trial_settings
from study.storage.folders import Storage
from study.storage.locations import Places
from study.storage.study_record import read_members
from trainers.metric_names import encode_name
from trainers.result import CASES_FILE, TrialResult
from trainers.spec import TrialSpec

NOT_SETTINGS = ("key", "cell", "fold", "seed", "state", "reason", "ending")
"""Columns of the trials table that are no setting of the study."""


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
            "ending": result.ending,
            **trial_settings(spec),
            "eps_voxels": None,
            "v_hat": None,
            **resolved(spec, result),
        }
        for spec, result in members
    ]
    done = [storage.trial(spec.key) / CASES_FILE for spec, result in members if result.state == "DONE"]
    first = members[0][0]
    emptied = Emptied(first.empty.group, first.empty.classes)
    return make_tables(rows, read_cases(done), emptied, first.data.groups, first.data.classes)


def stored_members(study: str, storage: Storage) -> tuple[list[tuple[TrialSpec, TrialResult]], int]:
    """A study's trials that are over, from the storage alone, and how many are not.

    Raises: InputError if the storage does not know the study.
    """
    keys = read_members(study, Places("", storage))["trials"]
    specs = [spec for key in keys if (spec := storage.spec(key)) is not None]
    over = [(spec, result) for spec in specs if (result := storage.result(spec.key)) is not None]
    return over, len(keys) - len(over)


def make_tables(
    rows: Sequence[Mapping[str, object]],
    cases: pd.DataFrame,
    emptied: Emptied,
    groups: Sequence[str],
    classes: Sequence[str],
) -> StudyTables:
    """Tables from rows of trials and their cases; every column of a row that is not declared is a setting."""
    trials = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(TRIAL_COLUMNS))
    settings = tuple(name for name in trials.columns if name not in NOT_SETTINGS)
    spelling = {name: encode_name(name) for name in (*groups, *classes)}
    return StudyTables(trials, cases, emptied, tuple(groups), tuple(classes), settings, spelling)


def read_cases(files: Iterable[Path]) -> pd.DataFrame:
    """Per-case files as one table. Files with the same columns are parsed as one text, far quicker than one by one."""
    bodies: dict[str, list[str]] = {}
    for path in files:
        header, _, body = path.read_text(encoding="utf-8").partition("\n")
        bodies.setdefault(header, []).append(body)
    text = dict.fromkeys(("key", "case", "subject", "group", "class"), str)
    # A group may be called NA: only numbers can be absent.
    parts = []
    for header, rows in bodies.items():
        absent = {name: ["", "nan"] for name in header.strip().split(",") if name not in text}
        table = io.StringIO("\n".join([header, *rows]))
        parts.append(pd.read_csv(table, dtype=text, keep_default_na=False, na_values=absent))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(CASE_COLUMNS))
