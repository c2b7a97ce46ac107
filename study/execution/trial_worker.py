"""One trial on any engine: it finds its data and its past on the storage, and leaves its ending there."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from study.storage.folders import LOSS_FILE, Storage
from study.storage.journal import Journal
from trainers.data.prepared.read import PreparedData, open_prepared
from trainers.errors import InputError
from trainers.locks import PATIENCE, BusyError, writing
from trainers.result import TrialResult, save_result
from trainers.spec import TrialSpec

STORAGE_PATIENCE, STORAGE_PAUSE = 180.0, 5.0
"""Seconds for which a storage that is full or away is waited for, and between two tries."""


FIRST_SILENCE = 30.0
"""Seconds between the first two words that a trial waits; each further silence doubles the time waited."""


def work(
    spec: TrialSpec,
    storage: Storage,
    device: str = "cpu",
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
    complain: Callable[[str], None] = lambda _: None,
) -> TrialResult:
    """Run or continue one trial; every ending that is the trial's own fault becomes its result.

    ``tell`` hears of each epoch after it is safe on the storage. While the storage does not take what is written,
    the trial waits and goes on from its checkpoint; ``complain`` hears why.

    Raises: OSError after ``STORAGE_PATIENCE``, BusyError and whatever else is the machine's fault, so that the
    engine tries again.
    """
    last_good = next_word = time.monotonic()

    def tell_on(record: dict[str, Any]) -> None:
        nonlocal last_good
        last_good = time.monotonic()
        tell(record)

    while True:
        try:
            return _attempt(spec, storage, device, tell_on)
        except OSError as error:
            if time.monotonic() - last_good > STORAGE_PATIENCE:
                raise
            place = f"{error.filename}: " if error.filename else ""
            if time.monotonic() >= next_word:
                complain(f"waits for the storage: {place}{error.strerror or error}")
                waited = time.monotonic() - last_good
                next_word = time.monotonic() + max(FIRST_SILENCE, waited)
            time.sleep(STORAGE_PAUSE)


def _attempt(spec: TrialSpec, storage: Storage, device: str, tell: Callable[[dict[str, Any]], None]) -> TrialResult:
    # Here and not above: a driver that only hands out work does not load torch.
    from trainers.trial import run_trial

    folder = storage.trial(spec.key)
    with writing(folder, f"trial {spec.key}", patience=PATIENCE) as require_lease:
        storage.save_spec(spec)
        (folder / LOSS_FILE).unlink(missing_ok=True)
        journal = Journal(folder)

        def report(record: dict[str, Any]) -> None:
            require_lease()
            journal.append(record)
            tell(record)

        try:
            return run_trial(spec, _data(storage.prepared(spec.data_key)), folder, report, device)
        except (OSError, MemoryError, BusyError):
            raise
        except InputError as error:
            result = TrialResult(spec.key, "FAILED", "failed", "; ".join(map(str, error.faults)))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            result = TrialResult(spec.key, "FAILED", "failed", reason, traceback=traceback.format_exc())
        save_result(folder, result)
        return result


@lru_cache(maxsize=4)
def _data(folder: Path) -> PreparedData:
    # Mapped once a process; the pages are shared by all trials of the machine.
    return open_prepared(folder)
