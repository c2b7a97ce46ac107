"""One writer a folder: a lock that falls with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.errors import DicestudyError

LOCK_FILE = "lock"
PATIENCE = 6 * 3600.0
"""Seconds to wait for another process whose work, once done, will be ours as well."""


class BusyError(DicestudyError):
    """Another process is writing what we were about to write."""


@contextmanager
def writing(folder: Path, what: str, patience: float = 2.0) -> Iterator[None]:
    """Hold the folder's lock; it falls with the process, however that ends.

    patience: seconds to wait for another holder, more than a look at the lock takes.
    Raises: BusyError naming the holder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not truncated on opening: until we hold it, what it says is about somebody else.
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 1000, 0).decode(errors="replace") or "another process"
                    raise BusyError(f"{what} is being written by {holder}; wait for it or stop it") from None
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        who = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        os.pwrite(descriptor, who.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_written(folder: Path) -> bool:
    """Whether some live process holds the folder's lock."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who only look do not take each other for the writer.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
