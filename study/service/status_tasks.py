"""Where studies stand, and stopping them: what needs the storage alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from study.commands.status import status, stop
from study.execution.detached import LOG_FILE, is_job_server, job_state
from study.storage.folders import Storage, UnknownStudyError
from study.storage.locations import Places
from study.storage.study_record import study_folders
from trainers.errors import DicestudyError
from trainers.result import RESULT_FILE, TrialResult

POSTED_FILE = "posted.yaml"
"""A study's file as it was posted, in the study's folder."""
SECONDS_TO_BEGIN = 600.0
"""After which a posted study that holds no lock is taken to have ended: a full cluster lets jobs wait."""
LAST_WORDS = 3
"""Lines that a launch ends with."""


class RememberingStorage(Storage):
    """A storage that reads a trial's result once, and again when its file has changed."""

    def result(self, key: str) -> TrialResult | None:
        """How a trial ended, or None while it has not."""
        path = self.trial(key) / RESULT_FILE
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            return None
        if path not in _remembered or _remembered[path][0] != stamp:
            found = super().result(key)
            if found is None:
                return None
            _remembered[path] = stamp, found
        return _remembered[path][1]


_remembered: dict[Path, tuple[int, TrialResult]] = {}


class Watching:
    """The tasks of a worker that looks at the storage. address: where posted studies run."""

    def __init__(self, places: Places, address: str | None) -> None:
        self.places = Places(places.store, RememberingStorage(places.storage.root))
        self.address = address

    def studies(self, _: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The status of every study on the storage."""
        return {}, [self._status(name) for name in study_folders(self.places)]

    def status(self, study: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The contract's ``status``; ``waiting`` while one that was posted has not begun."""
        return {}, self._status(study)

    def stop(self, study: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Ask a study to stop."""
        self._status(study)
        stop(study, self.places)
        return {}, {"study": study, "state": "stopping"}

    def _status(self, study: str) -> dict[str, Any]:
        try:
            found = status(study, self.places)
        except UnknownStudyError:
            if not (self.places.storage.study(study) / POSTED_FILE).exists():
                raise
            counts = dict.fromkeys(("done", "failed", "running", "waiting"), 0)
            found = {"study": study, "state": "stopped", "trials": counts, "eta_s": None, "failures": []}
        if found["state"] != "running" and self._is_beginning(study):
            return found | {"state": "waiting"}
        if not any(found["trials"].values()):
            # It never came to its first trial: why, as the launch said it.
            found["failures"] = [
                {"key": "", "reason": line.removeprefix("error: ")}
                for line in _last_words(self.places.storage.study(study))
            ]
        return found

    def _is_beginning(self, study: str) -> bool:
        """Whether a launch was posted that does not hold its study's lock yet."""
        folder = self.places.storage.study(study)
        try:
            posted = (folder / POSTED_FILE).stat().st_mtime
        except OSError:
            return False
        if time.time() - posted > SECONDS_TO_BEGIN:
            return False
        if is_job_server(self.address):
            try:
                return job_state(study, self.address) in ("PENDING", "RUNNING")
            except DicestudyError:
                return False
        log = folder / LOG_FILE
        spoke = log.exists() and log.stat().st_mtime >= posted
        return not (spoke and any(line.startswith(("error: ", f"{study}: ")) for line in _last_words(folder)))


def _last_words(folder: Path) -> list[str]:
    try:
        return (folder / LOG_FILE).read_text(errors="replace").splitlines()[-LAST_WORDS:]
    except OSError:
        return []
