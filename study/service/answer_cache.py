"""Answers that are kept: an old one is given at once, with its age, while a newer one is looked for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from study.commands.registry import ANSWERS
from study.service.problem_details import Problem, of_worker
from study.service.worker_pool import Reply, WorkerPool, WorkerTimeout

MOST_KEPT = 256
MOST_BYTES_KEPT = 64 * 2**20


@dataclass(frozen=True)
class CachePolicy:
    """How one kind of answer is kept [s].

    looks: pause between two looks for a newer one, and ``shy`` times what the last look took; stale: from this age
    on a request waits ``grace`` for a newer one; first: how long it waits where there is none; limit: after which
    the worker is ended.
    """

    pool: str
    looks: float
    shy: float
    stale: float
    grace: float
    first: float
    limit: float


CACHE_POLICIES = {
    **dict.fromkeys(("status", "studies"), CachePolicy("storage", 1.0, 4.0, 3.0, 5.0, 30.0, 60.0)),
    **{name: CachePolicy(row.pool, 2.0, 1.0, 60.0, 2.0, 30.0, 600.0) for name, row in ANSWERS.items()},
}


@dataclass
class CachedAnswer:
    """An answer as it is sent. verified: when it was last known to be true, in seconds since 1970; took: to find it."""

    body: bytes
    version: str
    total: int | None
    read: float
    verified: float
    looked: float
    took: float

    @cached_property
    def tag(self) -> str:
        """Its entity tag."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


class AnswerCache:
    """All answers; for each question at most one look is under way."""

    def __init__(self, pools: dict[str, WorkerPool]) -> None:
        self._pools = pools
        self._kept: OrderedDict[str, CachedAnswer] = OrderedDict()
        self._looks: dict[str, tuple[float, asyncio.Task[CachedAnswer]]] = {}

    async def ask(self, task: str, study: str = "", **arguments: Any) -> CachedAnswer:
        """The answer to a question. Raises: Problem."""
        policy, question = CACHE_POLICIES[task], json.dumps([task, study, arguments], sort_keys=True)
        kept = self._kept.get(question)
        if kept is not None:
            self._kept.move_to_end(question)
            now = time.monotonic()
            if now < kept.looked + policy.looks + policy.shy * kept.took:
                return kept
        begun, look = self._look(policy, question, task, study, arguments)
        if kept is None:
            patience = policy.first
        elif time.time() - kept.verified > policy.stale:
            patience = policy.grace - (time.monotonic() - begun)
        else:
            return kept
        return await self._wait(look, patience, kept, policy)

    def forget(self, study: str) -> None:
        """What was known of a study's standing is out of date."""
        for question in [
            entry for entry in self._kept if json.loads(entry)[:2] in (["status", study], ["studies", ""])
        ]:
            del self._kept[question]

    async def _wait(
        self, look: asyncio.Task[CachedAnswer], patience: float, kept: CachedAnswer | None, policy: CachePolicy
    ) -> CachedAnswer:
        try:
            # Shielded: others wait for the same look, and the next request finds its answer.
            return await asyncio.wait_for(asyncio.shield(look), max(patience, 0))
        except TimeoutError:
            if kept is not None:
                return kept
            detail = f"this takes more than {policy.first:.0f} s; it goes on, ask again for what it finds"
            raise Problem(503, detail, headers={"Retry-After": "5"}) from None
        except Problem as problem:
            if kept is not None and problem.status >= 500:
                return kept
            raise

    def _look(
        self, policy: CachePolicy, question: str, task: str, study: str, arguments: dict[str, Any]
    ) -> tuple[float, asyncio.Task[CachedAnswer]]:
        if question not in self._looks:
            look = asyncio.create_task(self._find(policy, question, task, study, arguments))
            # Its end is heard even where nobody waits for it any more.
            look.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            self._looks[question] = time.monotonic(), look
        return self._looks[question]

    async def _find(
        self, policy: CachePolicy, question: str, task: str, study: str, arguments: dict[str, Any]
    ) -> CachedAnswer:
        kept, begun = self._kept.get(question), time.monotonic()
        known = {"known": kept.version} if kept is not None and kept.version else {}
        try:
            reply = await have_done(self._pools[policy.pool], task, study, {**arguments, **known}, policy.limit)
            now, took = time.time(), time.monotonic() - begun
            if reply.kind == "same" and kept is not None:
                kept.verified, kept.looked, kept.took = now, time.monotonic(), took
                return kept
            about = reply.about
            found = CachedAnswer(
                reply.body, about.get("version", ""), about.get("total"), now, now, time.monotonic(), about["seconds"]
            )
            if self._is_current(question):
                self._keep(question, found)
            return found
        except Problem as problem:
            if problem.status < 500:
                self._kept.pop(question, None)
            elif kept is not None:
                kept.looked = time.monotonic()  # a store that is away is not asked without a pause
            raise
        finally:
            if self._is_current(question):
                del self._looks[question]

    def _is_current(self, question: str) -> bool:
        return question in self._looks and self._looks[question][1] is asyncio.current_task()

    def _keep(self, question: str, answer: CachedAnswer) -> None:
        self._kept[question] = answer
        self._kept.move_to_end(question)
        while len(self._kept) > MOST_KEPT or (
            len(self._kept) > 1 and sum(len(kept.body) for kept in self._kept.values()) > MOST_BYTES_KEPT
        ):
            self._kept.popitem(last=False)


async def have_done(pool: WorkerPool, task: str, study: str, arguments: dict[str, Any], limit: float) -> Reply:
    """Have a task done by a worker. Raises: Problem for whatever else becomes of it."""
    try:
        reply = await pool.ask(task, study, arguments, limit)
    except WorkerTimeout:
        raise Problem(
            503, f"no answer within {limit:.0f} s: the store or the storage hangs", headers={"Retry-After": "30"}
        ) from None
    if reply.kind in ("done", "same"):
        return reply
    if reply.kind == "broken":
        raise Problem(500, "the service failed; its log says why")
    raise of_worker(reply.kind, json.loads(reply.body))


async def uninterrupted(work: Coroutine[Any, Any, Reply]) -> Reply:
    """Finish what must not be left half done, even if who asked for it goes away."""
    return await asyncio.shield(asyncio.create_task(work))
