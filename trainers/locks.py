"""One writer a folder, on one machine and among many: a lock that falls with its process, and a lease that runs out.

The system's lock falls with the process that holds it, however that ends, but not every shared file system carries
it from machine to machine. So the lock's file also says who holds it, and is touched every few seconds while he
lives. Whoever gets the system's lock although another machine's holder is written there waits until that file has
stood still for ``EXPIRY``; a holder that finds itself replaced has lost the lease and must write no more.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainers.errors import DicestudyError

LOCK_FILE = "lock"
PATIENCE = 6 * 3600.0
"""Seconds to wait for another process whose work, once done, will be ours as well."""
RENEWAL, EXPIRY = 5.0, 30.0
"""Seconds between two signs of life, and without one until a holder on another machine counts as gone."""
LOOK = 0.2
"""Seconds between two looks at a lock that somebody holds."""


class BusyError(DicestudyError):
    """Another process is writing what we were about to write, or has taken over what we wrote."""


def machine() -> str:
    """This machine, apart from all others and from itself before its last start."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot[:8]}"
    return socket.gethostname()


@contextmanager
def writing(folder: Path, what: str, patience: float = 2.0) -> Iterator[Callable[[], None]]:
    """Hold the folder's lock and renew its lease; gives a function that raises BusyError once the lease is lost.

    patience: seconds to wait for a holder that lives, more than a look at the lock takes.
    Raises: BusyError naming the holder; OSError if the folder is not there and cannot be made in the one above it.
    """
    folder.mkdir(exist_ok=True)
    # Not truncated on opening: until we hold it, what it says is about somebody else.
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _claim(descriptor, what, patience)
        ours = f"process {os.getpid()} on {machine()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        _sign(descriptor, ours)
        lease = _Lease(descriptor, ours, what)
        lease.start()
        try:
            yield lease.require
        finally:
            lease.end()
    finally:
        os.close(descriptor)


def is_written(folder: Path) -> bool:
    """Whether some live process holds the folder's lock, here or on a machine that was heard of lately."""
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
        holder = _holder(descriptor)
        return _is_elsewhere(holder) and time.time() - os.fstat(descriptor).st_mtime < EXPIRY
    finally:
        os.close(descriptor)


class _Lease(threading.Thread):
    """Touches the lock's file while its holder lives, and notices when somebody else has signed it."""

    def __init__(self, descriptor: int, ours: str, what: str) -> None:
        super().__init__(name="lease", daemon=True)
        self.descriptor, self.ours, self.what = descriptor, ours, what
        self._over = threading.Event()
        self._taken_by = ""

    def run(self) -> None:
        while not self._over.wait(RENEWAL):
            # A storage that is away for a while is no reason to give up: nobody else sees it either.
            with suppress(OSError):
                if (holder := _holder(self.descriptor)) != self.ours:
                    self._taken_by = holder or "somebody who has gone again"
                    return
                os.utime(self.descriptor)

    def require(self) -> None:
        """Raises: BusyError if another process has taken over."""
        if self._taken_by:
            raise BusyError(f"{self.what} was taken over by {self._taken_by}, since we were not heard of")

    def end(self) -> None:
        """Stop renewing, and say that nobody holds the lock."""
        self._over.set()
        self.join()
        if not self._taken_by:
            with suppress(OSError):
                os.ftruncate(self.descriptor, 0)


def _claim(descriptor: int, what: str, patience: float) -> None:
    """Wait for the system's lock, and for the lease of a holder elsewhere to run out."""
    deadline = time.monotonic() + patience
    seen, since = None, time.monotonic()
    while True:
        held = _is_locked(descriptor)
        holder, stamp = _holder(descriptor), os.fstat(descriptor).st_mtime_ns
        if not held:
            if not _is_elsewhere(holder):
                return
            # By our own clock alone: machines' clocks differ.
            if (holder, stamp) != seen:
                alive = seen is not None and seen[0] == holder
                seen, since = (holder, stamp), time.monotonic()
            else:
                alive = False
                if time.monotonic() - since >= EXPIRY:
                    return
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        if time.monotonic() >= deadline and (held or alive):
            raise BusyError(f"{what} is being written by {holder or 'another process'}; wait for it or stop it")
        time.sleep(LOOK)


def _is_locked(descriptor: int) -> bool:
    """Whether somebody holds the system's lock; if not, we do now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _sign(descriptor: int, ours: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, ours.encode(), 0)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 1000, 0).decode(errors="replace")


def _is_elsewhere(holder: str) -> bool:
    """Whether the signature is another machine's; a process of this one is gone, or its lock would hold."""
    return bool(holder) and f" on {machine()} since " not in holder
