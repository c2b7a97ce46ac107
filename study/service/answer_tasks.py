"""Answers from the tracking store, computed once for each version of a study."""

from __future__ import annotations

import time
from typing import Any

from study.commands.cached_answers import StudyResults
from study.commands.registry import ANSWERS
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

    def answer(
        self, name: str, study: str, *, known: str = "", offset: int = 0, limit: int = 0, **options: Any
    ) -> tuple[dict[str, Any], Any]:
        """An answer of the registry, or a page of it; without a body if ``known`` is the version of the results."""
        results, row = self._find(study), ANSWERS[name]
        if results.version == known:
            return {"kind": "same", "version": known}, None
        if row.paged:
            options["page"] = slice(offset, offset + limit)
        body, total = row.load()(results, **options)
        return {"version": results.version, "total": total}, body

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
