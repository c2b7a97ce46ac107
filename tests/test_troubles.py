"""The page of troubles: each row has a public source and a test that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = [row for row in (ROOT / "docs/troubles.md").read_text(encoding="utf-8").splitlines() if row.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_its_source_and_a_test_that_exists(row: str) -> None:
    assert re.search(r"\(https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+\)", row)
    path, name = re.search(r"`(tests/[\w/]+\.py)::(\w+)`", row).groups()
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
