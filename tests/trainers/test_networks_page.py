"""The page about networks says what is built."""

import re

import pytest
import yaml

from docs.networks import OURS, PAGE, tables, written
from trainers.spec import ProtocolSpec

TEXT = PAGE.read_text("utf-8")


def test_the_tables_are_those_of_the_networks():
    assert written(TEXT) == TEXT
    assert all(table in TEXT for table in tables().values())


@pytest.mark.parametrize(("name", "total"), [("tiny", 88_673), ("no-new-net", 14_490_691), ("acdc-net", 3_924_020)])
def test_each_table_adds_up(name, total):
    (table,) = re.findall(f"<!-- table {name} -->(.*?)<!-- end -->", TEXT, re.DOTALL)
    *levels, everything = [int(cell.replace(",", "")) for cell in re.findall(r"\| ([\d,]+) \|$", table, re.MULTILINE)]
    assert sum(levels) == everything == total
    assert len(levels) == {"tiny": 6}.get(name, 10)
    assert set(OURS) == {"tiny", "no-new-net", "acdc-net"}


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
def test_the_examples_of_study_files_are_read(block):
    assert ProtocolSpec.model_validate(yaml.safe_load(block)["trial"]).epochs == 100


def test_the_example_in_python_runs():
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    scope = {}
    exec(block, scope)
    assert scope["logits"].shape == (2, 4, 24, 24, 16)
