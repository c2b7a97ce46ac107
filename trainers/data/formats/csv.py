"""Lists of cases in CSV files, read so that whatever is wrong with one is told with its line.

Separators are commas; where the header has none, semicolons or tabs, as spreadsheets write them in many
countries. A byte order mark, Windows' line ends, blank lines and blanks round a cell are read over; column names
are the same in capitals and small letters.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import Fault

SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One row: where it stands (``cases.csv:3``), and its cells by column."""

    where: str
    cells: dict[str, str]


@dataclass(frozen=True)
class Rows:
    """A list's columns, in small letters, and its rows."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def notice_unused(self, used: Sequence[str]) -> list[str]:
        """A notice of the columns that nobody reads, if there are any."""
        unused = [column or "one without a name" for column in self.columns if column not in used]
        return [f"{self.path}: columns that are not used: {', '.join(unused)}"] if unused else []


def read_rows(path: Path, needed: Sequence[str], faults: list[Fault]) -> Rows | None:
    """Read a list with the ``needed`` columns and others; what is wrong is added to ``faults``.

    Rows of another length than the header are left out. None if there is no header to go by.
    """
    expected = f"expected a header with the columns {', '.join(needed)}" if needed else "expected a header"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        faults.append(Fault(str(path), "is not UTF-8 text", "save it as CSV in UTF-8"))
        return None
    except (OSError, ValueError) as error:
        faults.append(Fault(str(path), f"cannot be read ({error})", expected))
        return None
    records = _records(text, path, faults)
    if not records:
        faults.append(Fault(str(path), "is empty", expected))
        return None
    columns = tuple(cell.lower() for cell in records[0][1])
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    missing = [name for name in needed if name not in columns]
    if twice:
        faults.append(Fault(str(path), f"column {', '.join(twice)} given twice", "keep one"))
    if missing:
        fault = f"no column {', '.join(missing)}, among: {', '.join(columns)}"
        faults.append(Fault(str(path), fault, "add it to the header"))
    if twice or missing:
        return None
    rows = []
    for line, cells in records[1:]:
        where = f"{path}:{line}"
        if len(cells) == len(columns):
            rows.append(Row(where, dict(zip(columns, cells, strict=True))))
        else:
            remedy = "give every column a cell, and quote cells that hold the separator"
            faults.append(Fault(where, f"{len(cells)} cells, expected {len(columns)} as in the header", remedy))
    return Rows(path, columns, tuple(rows))


def _records(text: str, path: Path, faults: list[Fault]) -> list[tuple[int, list[str]]]:
    """Lines that are not blank, with their numbers, up to the first that cannot be read."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    separator = next((mark for mark in SEPARATORS if mark in header), SEPARATORS[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                records.append((reader.line_num, stripped))
    except csv.Error as error:
        faults.append(Fault(f"{path}:{reader.line_num}", f"unreadable CSV ({error})", "mend its quotes"))
    return records
