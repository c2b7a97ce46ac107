"""What cells are ranked by, kept in files: the same answers to the bit as from the tables."""

import json

import numpy as np
import pytest

from analysis.results.cell_table import load_book, make_book
from analysis.results.pareto import pareto_front
from analysis.results.ranking import best
from tests.analysis.conftest import Setting, make_study


def seeded():
    return np.random.default_rng(0)


@pytest.fixture
def kept(demo, tmp_path):
    make_book(demo, seeded()).save(tmp_path)
    return load_book(tmp_path)


@pytest.mark.parametrize(
    "question",
    [
        {"goal": "ignore"},
        {"goal": "empty", "top": None},
        {"goal": "dice", "top": 20},
        {"metric": "-dv_ml.B.tumor", "where": "eps > 1"},
        {"metric": "auc.tumor"},
    ],
    ids=str,
)
def test_a_kept_book_ranks_as_the_tables_do(demo, kept, question):
    found = best(kept, seeded(), **question)
    assert found
    assert found == best(demo, seeded(), **question)


def test_a_kept_book_has_the_same_front(demo, kept):
    metrics = ("dsc.A.tumor", "dsc.B.tumor")
    assert pareto_front(kept, seeded(), metrics) == pareto_front(demo, seeded(), metrics)


def test_a_study_that_empties_nothing_is_kept_too(tmp_path):
    tables = make_study([Setting("I", "1", 2, "full")], emptied=None)
    make_book(tables, seeded()).save(tmp_path)
    assert best(load_book(tmp_path), seeded(), goal="dice") == best(tables, seeded(), goal="dice")


def test_a_broken_book_is_none(kept, tmp_path):
    (tmp_path / "cells.json").write_text(json.dumps({"cells": []}))
    with pytest.raises(KeyError):
        load_book(tmp_path)
    (tmp_path / "cells.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        load_book(tmp_path)
