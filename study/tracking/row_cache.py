"""Rows read from MLflow, cached on the storage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pyarrow import parquet

from trainers.atomic_files import write_whole

KEPT_ROWS = "read.parquet"
"""A study's cases as last read, with its trials' rows in the file's metadata."""


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
