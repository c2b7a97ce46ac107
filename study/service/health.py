"""Whether the service can do its work: the store, the storage and the cluster, looked at from the service itself.

Not by a worker: a probe every few seconds would keep one alive.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from study.service.settings import Backends

PATIENCE_S = 3.0
KEPT_S = 2.0
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


class Readiness:
    """Answers of ``/readyz``; asked often, it looks only every ``KEPT_S`` seconds, and once at a time."""

    def __init__(self, backends: Backends) -> None:
        store = backends.store or os.environ.get("DICESTUDY_STORE") or ""
        storage = backends.storage or os.environ.get("DICESTUDY_STORAGE") or "dicestudy-data"
        self._looks: dict[str, Callable[[], str]] = {
            "store": lambda: _store_fault(store),
            "storage": lambda: _storage_fault(Path(storage)),
            "cluster": lambda: _cluster_fault(backends.address),
        }
        # As many threads as there are things to look at: one that hangs holds up none of the others.
        self._threads = ThreadPoolExecutor(len(self._looks), "readiness")
        self._found: dict[str, Any] = {}
        self._at = 0.0
        self._turn = asyncio.Lock()

    async def look(self) -> dict[str, Any]:
        """``ready``, and for each part ``ok`` with the ``fault``, which names no password."""
        async with self._turn:
            if not self._found or time.monotonic() > self._at + KEPT_S:
                faults = await asyncio.gather(*(self._one(name) for name in self._looks))
                parts = {
                    name: {"ok": not fault, "fault": fault} for name, fault in zip(self._looks, faults, strict=True)
                }
                self._found = {"ready": not any(faults), **parts}
                self._at = time.monotonic()
        return self._found

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _one(self, name: str) -> str:
        look = asyncio.get_running_loop().run_in_executor(self._threads, self._looks[name])
        try:
            return await asyncio.wait_for(look, PATIENCE_S + 1)
        except TimeoutError:
            return "does not answer"


def _store_fault(store: str) -> str:
    kind = urlsplit(store).scheme.partition("+")[0]
    if kind in ("http", "https"):
        return _http_fault(store.rstrip("/") + "/health")
    if kind == "postgresql":
        return _postgres_fault(store)
    if kind in DEFAULT_PORTS:
        return _port_fault(store, DEFAULT_PORTS[kind])
    return ""  # a file, made when it is needed


def _postgres_fault(store: str) -> str:
    try:
        import psycopg
    except ImportError:
        return _port_fault(store, DEFAULT_PORTS["postgresql"])
    address = store.replace(urlsplit(store).scheme, "postgresql", 1)
    try:
        with psycopg.connect(address, connect_timeout=int(PATIENCE_S)) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        return f"does not answer: {type(error).__name__}"
    return ""


def _storage_fault(storage: Path) -> str:
    while not storage.exists() and storage != storage.parent:
        storage = storage.parent
    return "" if os.access(storage, os.W_OK | os.X_OK) else "cannot be written to"


def _cluster_fault(address: str | None) -> str:
    if not address or ":" not in address:  # this machine, or one that Ray finds itself
        return ""
    if address.startswith(("http://", "https://")):
        return _http_fault(address.rstrip("/") + "/api/version", any_answer=True)
    return _port_fault(f"//{address}", 6379)


def _http_fault(address: str, any_answer: bool = False) -> str:
    import requests

    try:
        answer = requests.get(address, timeout=PATIENCE_S, allow_redirects=False)
    except requests.RequestException as error:
        return f"does not answer: {type(error).__name__}"
    # A cluster that asks for its token is there.
    return "" if answer.ok or (any_answer and answer.status_code in (401, 403)) else f"answers {answer.status_code}"


def _port_fault(address: str, port: int) -> str:
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or port), timeout=PATIENCE_S).close()
    except (OSError, ValueError) as error:
        return f"does not answer: {type(error).__name__}"
    return ""
