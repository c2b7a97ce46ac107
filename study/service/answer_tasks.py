"""Answers from the tracking store, computed once for each version of a study."""

from __future__ import annotations

import time
from typing import Any

from study.commands.answers import rank
from study.commands.cached_answers import StudyResults
from study.storage.locations import Places
from study.tracking.reader import version_of

STUDIES_KEPT = 2
VERSION_CHECK_S = 1.0
"""Seconds between two looks at a study's version."""
READ_PAUSE_FACTOR = 2.0
"""A study is read anew after a pause of so many times what reading took: a running one changes all the time."""


class Reading:
    """The tasks of a worker that reads the store. known: the version that the asker has an answer for."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._results: dict[str, StudyResults] = {}
        self._looked: dict[str, float] = {}
        self._rested: dict[str, float] = {}

    def best(self, study: str, known: str = "", **how: Any) -> tuple[dict[str, Any], Any]:
        """The best cells."""
        found = self._find(study)
        return _unless(found, known, lambda: (rank(found.book, **how), None))

    def table(self, study: str, offset: int, limit: int, known: str = "") -> tuple[dict[str, Any], Any]:
        """A page of table 1."""
        found = self._find(study)
        return _unless(found, known, lambda: (found.table[offset : offset + limit], len(found.table)))

    def map(self, study: str, known: str = "") -> tuple[dict[str, Any], Any]:
        """The transition map."""
        found = self._find(study)
        return _unless(found, known, lambda: (found.map, None))

    def trials(
        self, study: str, where: str | None, state: str | None, offset: int, limit: int, known: str = ""
    ) -> tuple[dict[str, Any], Any]:
        """A page of the trials that are over."""
        found = self._find(study)

        def page() -> tuple[Any, int]:
            rows = found.trials.choose(where, state)
            return found.trials.entries(rows[offset : offset + limit]), len(rows)

        return _unless(found, known, page)

    def _find(self, study: str) -> StudyResults:
        """The study as it is now, or a little ago where reading it takes long."""
        now = time.monotonic()
        known = self._results.get(study)
        if known is not None and now < max(self._looked[study] + VERSION_CHECK_S, self._rested[study]):
            return known
        begun = time.monotonic()
        version = version_of(study, self.places)
        if known is None or version != known.version:
            # Let go of the old one first: two at once would take twice the memory.
            known = self._results.pop(study, None) and None
            while len(self._results) >= STUDIES_KEPT:
                self._results.pop(next(iter(self._results)))
            known = self._results[study] = StudyResults(study, self.places, version)
            # Read now, so that it is known how long it takes.
            known.book  # noqa: B018
            took = time.monotonic() - begun
            self._rested[study] = time.monotonic() + READ_PAUSE_FACTOR * took
        self._looked[study] = time.monotonic()
        return known


def _unless(found: StudyResults, known: str, compute: Any) -> tuple[dict[str, Any], Any]:
    """The answer, or only that it is the one that is known."""
    if found.version == known:
        return {"kind": "same", "version": known}, None
    body, total = compute()
    return {"version": found.version, "total": total}, body
