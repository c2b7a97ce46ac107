"""A study as its store holds it at one moment; what was computed of it is kept on the storage, and read next time.

Reading ten thousand trials from a store takes many seconds, and the cells that they make a few more; a question about
them takes neither while no trial has ended since.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

import analysis
from analysis.outcomes import trial_scores
from analysis.results.all_results import Findings
from analysis.results.cell_table import CellBook, load_book, make_book
from analysis.results.score_matrix import StudyScores, study_scores
from analysis.results.table_one import table_one
from analysis.results.transition_map import transition_map
from analysis.stats.bootstrap import seeded
from analysis.tables import StudyTables
from study.commands.trial_list import TrialList
from study.execution.code_hash import hash_of_code
from study.storage.locations import Places
from study.tracking.reader import read_tables, version_of

KEPT = "kept"
"""Folder of a study that holds one folder for its latest version, and in it what was computed."""
T = TypeVar("T")


class StudyResults:
    """A study's tables and answers, each read or computed when it is first asked for, with the same figures.

    Raises: InputError if the store does not answer or does not know the study.
    """

    def __init__(self, study: str, places: Places, version: str | None = None) -> None:
        self.study, self.places = study, places
        self.version = version_of(study, places) if version is None else version
        # What an older release computed is not what this one would.
        self._folder = places.storage.study(study) / KEPT / f"{self.version}-{hash_of_code(analysis)}"

    @cached_property
    def tables(self) -> StudyTables:
        """The trials and their cases."""
        return read_tables(self.study, self.places)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Of ``trial_scores``."""
        return trial_scores(self.tables)

    @cached_property
    def matrices(self) -> StudyScores:
        """Of ``study_scores``."""
        return study_scores(self.tables)

    @cached_property
    def book(self) -> CellBook:
        """The cells, and what they are compared by."""
        return self._find(
            "book", load_book, CellBook.save, lambda: make_book(self.tables, seeded(), self.scores, self.matrices)
        )

    @cached_property
    def trials(self) -> TrialList:
        """The trials that are over."""
        return TrialList(self.tables, self.scores)

    @cached_property
    def table(self) -> list[dict[str, Any]]:
        """Of ``analysis.results.table_one.table_one``."""
        return self._find(
            "table", _load, _save, lambda: table_one(self.tables, seeded(), self.book.cells, self.matrices)
        )

    @cached_property
    def map(self) -> dict[str, Any]:
        """Of ``analysis.results.transition_map.transition_map``."""
        return self._find(
            "map", _load, _save, lambda: transition_map(self.tables, seeded(), self.scores, self.matrices)
        )

    def keep(self, found: Findings) -> None:
        """Keep what was computed already."""
        self._keep("book", CellBook.save, found.book)
        self._keep("table", _save, found.rows)
        self._keep("map", _save, found.mapped)

    def _find(
        self, name: str, load: Callable[[Path], T], save: Callable[[T, Path], None], compute: Callable[[], T]
    ) -> T:
        try:
            return load(self._folder / name)
        except (OSError, ValueError, KeyError):
            found = compute()
        self._keep(name, save, found)
        return found

    def _keep(self, name: str, save: Callable[[T, Path], None], found: T) -> None:
        # Whoever may only read the storage, or finds it full, computes anew each time.
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for stale in self._folder.parent.iterdir():
                if stale != self._folder:
                    shutil.rmtree(stale, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self._folder))
            try:
                save(found, scratch)
                scratch.rename(self._folder / name)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def _load(folder: Path) -> Any:
    return json.loads((folder / "found.json").read_text())


def _save(found: Any, folder: Path) -> None:
    (folder / "found.json").write_text(json.dumps(found, allow_nan=False))
