"""Rows of the two tables that the analysis works on."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pyarrow import parquet

from analysis.table import CASE_COLUMNS, TRIAL_COLUMNS, Emptied, StudyTables
from study.places import Places
from study.settings import resolved, settings_of
from study.standing import members
from study.storage import Storage
from trainers.files import write_whole
from trainers.outcome import CASES_FILE, TrialResult
from trainers.spec import TrialSpec

KEPT_ROWS = "read.parquet"
"""A study's cases as last read, with its trials' rows in the file's metadata."""


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
    return make_tables(rows, read_cases(done), emptied, first.data.groups, first.data.classes)


def stored_members(study: str, storage: Storage) -> tuple[list[tuple[TrialSpec, TrialResult]], int]:
    """A study's trials that are over, from the storage alone, and how many are not.

    Raises: InputError if the storage does not know the study.
    """
    keys = members(study, Places("", storage))["trials"]
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
    settings = tuple(name for name in trials.columns if name not in ("key", "cell", "fold", "seed", "state", "reason"))
    return StudyTables(trials, cases, emptied, tuple(groups), tuple(classes), settings)


def read_cases(files: Iterable[Path]) -> pd.DataFrame:
    """Per-case files as one table. Files with the same columns are parsed as one text, far quicker than one by one."""
    bodies: dict[str, list[str]] = {}
    for path in files:
        header, _, body = path.read_text(encoding="utf-8").partition("\n")
        bodies.setdefault(header, []).append(body)
    text = {"key": str, "case": str, "subject": str, "group": str}
    parts = [pd.read_csv(io.StringIO("\n".join([header, *found])), dtype=text) for header, found in bodies.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(CASE_COLUMNS))


class KeptRows:
    """A study's trials and cases as last read from a store, in its folder: reading goes on from there.

    They are those of one ``launch``, whatever says that; under another there are none.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / KEPT_ROWS

    def load(self, launch: object) -> tuple[dict[str, dict[str, Any]], pd.DataFrame | None]:
        """Rows by key, and their cases; none where there are none of that launch."""
        try:
            table = parquet.read_table(self._file)
            head = json.loads((table.schema.metadata or {})[b"rows"])
        except (OSError, ValueError, KeyError):
            return {}, None
        if head["launch"] != launch or not head["rows"]:
            return {}, None
        return head["rows"], table.to_pandas()

    def save(self, launch: object, rows: Mapping[str, Mapping[str, Any]], cases: pd.DataFrame) -> None:
        """Keep them, unless the storage cannot be written to."""
        # One file, so that rows never stand beside cases of another moment.
        table = pyarrow.Table.from_pandas(cases, preserve_index=False)
        own = {b"rows": json.dumps({"launch": launch, "rows": rows}).encode()}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **own})
        with suppress(OSError):
            write_whole(self._file, lambda file: parquet.write_table(table, file))
