"""Delivery to MLflow in a thread of its own, while trials run."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress

from study.tracking.delivery import CELL_TIME_SHARE, COOLDOWN_S, Delivery


class BackgroundSync(threading.Thread):
    """Delivers in the background, so that a slow server never holds up a trial.

    ``send`` names a trial with news; ``close`` waits for all that was sent. What a server does not take is
    left to the launch's last look at the storage, where it is.
    """

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(name="background_sync", daemon=True)
        self.delivery = delivery
        self._news: queue.Queue[str | None] = queue.Queue()
        self._pending: set[str] = set()
        self._resting_until = 0.0
        self._begun, self._refreshing = time.monotonic(), 0.0

    def send(self, key: str) -> None:
        """A trial has started, has a new epoch or has ended."""
        if key not in self._pending:  # news that is waiting already will read all there is
            self._pending.add(key)
            self._news.put(key)

    def mark_lost(self, key: str, reason: str) -> None:
        """The engine gave a trial up."""
        # A storage that is away now has the trial's epochs, and no more is needed to try it again.
        with suppress(OSError):
            self.delivery.storage.save_loss_reason(key, reason)
        self.send(key)

    def run(self) -> None:
        """Deliver until closed."""
        while (key := self._news.get()) is not None:
            self._pending.discard(key)
            if time.monotonic() < self._resting_until:
                continue
            try:
                if self._resting_until:
                    self.delivery.tracker.refresh()
                    self._resting_until = 0.0
                self.delivery.sync_trial(key)
                self._refresh_cells()
            except Exception:
                # Whatever it was, the launch's last look delivers the same again, and says what is wrong.
                # A server that is away costs seconds a call; asking for each trial would hold up the end.
                self._resting_until = time.monotonic() + COOLDOWN_S

    def _refresh_cells(self) -> None:
        """Bring cells up to date while no news waits, and a few of them while some does."""
        while self.delivery.stale:
            now = time.monotonic()
            if not self._news.empty() and self._refreshing > CELL_TIME_SHARE * (now - self._begun):
                break
            self.delivery.refresh_cell()
            self._refreshing += time.monotonic() - now

    def close(self) -> None:
        """Deliver what is left, then end."""
        self._news.put(None)
        self.join()
