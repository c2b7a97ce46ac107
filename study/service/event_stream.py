"""A study's progress as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator

from study.service.answer_cache import AnswerCache
from study.service.problem_details import Problem

MOST_STREAMS = 64
MOST_STREAMS_A_CLIENT = 8
POLL_S = 1.0
SIGN_OF_LIFE_S = 15.0
"""Proxies close connections that say nothing for a minute."""
OVER = ("done", "stopped")


class Streams:
    """All open streams; they share the looks at a study through the cache."""

    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache
        self._open: Counter[str] = Counter()

    async def begin(self, study: str, client: str) -> AsyncIterator[bytes]:
        """A stream of ``status`` events, one a change, until the study is over. Raises: Problem before the first."""
        if self._open[client] >= MOST_STREAMS_A_CLIENT or self._open.total() >= MOST_STREAMS:
            raise Problem(429, "too many open streams; close one", headers={"Retry-After": "10"})
        first = (await self._cache.ask("status", study)).body
        return self._run(study, client, first)

    async def _run(self, study: str, client: str, body: bytes) -> AsyncIterator[bytes]:
        self._open[client] += 1
        try:
            number, said, last = 0, time.monotonic(), b""
            while True:
                if body != last:
                    number, said, last = number + 1, time.monotonic(), body
                    yield b"id: %d\nevent: status\ndata: %s\n\n" % (number, body)
                    if json.loads(body)["state"] in OVER:
                        return
                elif time.monotonic() - said > SIGN_OF_LIFE_S:
                    said = time.monotonic()
                    yield b": still here\n\n"
                await asyncio.sleep(POLL_S)
                try:
                    body = (await self._cache.ask("status", study)).body
                except Problem as problem:
                    if problem.status < 500:
                        return  # the study is gone
        finally:
            self._open[client] -= 1
