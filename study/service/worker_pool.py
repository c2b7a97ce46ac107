"""Questions to workers: processes that read the store and compute, a bounded number, each with a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from study.service.auth import ENVIRONMENT
from study.service.problem_details import Problem
from study.service.settings import Backends

IDLE_S = 300.0
"""Without a task for so long, a worker ends, and its memory with it."""
MOST_WAITING = 64
"""Tasks that wait for one lane; more are told to come again."""
LINE_LIMIT = 2**20


@dataclass(frozen=True)
class Reply:
    """A worker's answer. about: its header, with ``kind`` done, same, wrong, unknown, busy, silent or broken."""

    about: dict[str, Any]
    body: bytes

    @property
    def kind(self) -> str:
        """How the task ended."""
        return str(self.about["kind"])


class WorkerTimeout(Exception):  # noqa: N818 - the name of a condition, as asyncio.TimeoutError
    """A worker took longer than its task may, and was ended."""


@dataclass
class WorkerSlot:
    """Room for one worker. study: whose tables it holds; waiting: tasks that stand in line, and the one at work."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: asyncio.subprocess.Process | None = None
    study: str = ""
    waiting: int = 0
    ends: asyncio.TimerHandle | None = None


class WorkerPool:
    """Workers for one kind of task, so that tasks of another kind never wait for these."""

    def __init__(self, backends: Backends, workers: int) -> None:
        self._backends = backends
        self._slots = [WorkerSlot() for _ in range(workers)]

    async def ask(self, task: str, study: str, arguments: dict[str, Any], patience: float) -> Reply:
        """Have a task done. patience: seconds until its worker is ended.

        Raises: WorkerTimeout; Problem if too many wait already.
        """
        if sum(slot.waiting for slot in self._slots) >= MOST_WAITING:
            raise Problem(503, "too many requests wait for the store; come again", headers={"Retry-After": "5"})
        slot = self._choose(study)
        slot.waiting += 1
        try:
            async with slot.turn:
                return await self._have_done(slot, task, study, arguments, patience)
        finally:
            slot.waiting -= 1

    async def close(self) -> None:
        """End every worker."""
        for slot in self._slots:
            await _end(slot)

    def _choose(self, study: str) -> WorkerSlot:
        """The worker that has the study's tables, else the one with the least to do, running ones first."""
        for slot in self._slots:
            if study and slot.study == study and slot.process is not None:
                return slot
        return min(self._slots, key=lambda slot: (slot.waiting, slot.process is None))

    async def _have_done(
        self, slot: WorkerSlot, task: str, study: str, arguments: dict[str, Any], patience: float
    ) -> Reply:
        if slot.ends is not None:
            slot.ends.cancel()
        try:
            reply = await asyncio.wait_for(self._exchange(slot, task, study, arguments), patience)
        except (TimeoutError, asyncio.CancelledError) as error:
            # What it would answer later would be taken for the answer to the next question.
            await _end(slot)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise WorkerTimeout from None
        except (OSError, asyncio.IncompleteReadError, json.JSONDecodeError):
            await _end(slot)
            return Reply({"kind": "broken"}, b"")
        slot.study = study or slot.study
        loop = asyncio.get_running_loop()
        slot.ends = loop.call_later(IDLE_S, lambda: loop.create_task(_retire(slot)))
        return reply

    async def _exchange(self, slot: WorkerSlot, task: str, study: str, arguments: dict[str, Any]) -> Reply:
        if slot.process is None or slot.process.returncode is not None:
            slot.process, slot.study = await _start(self._backends), ""
        process = slot.process
        assert process.stdin is not None
        assert process.stdout is not None
        line = json.dumps({"task": task, "study": study, "arguments": arguments})
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()
        about = json.loads(await process.stdout.readline())
        return Reply(about, await process.stdout.readexactly(about["length"]))


async def _start(backends: Backends) -> asyncio.subprocess.Process:
    # A worker needs no token, and hands none on to the launches that it starts.
    environment = {name: value for name, value in os.environ.items() if name != ENVIRONMENT}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "study.service.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        limit=LINE_LIMIT,
        # Ctrl-C is the service's to handle, which then ends its workers.
        start_new_session=True,
    )
    assert process.stdin is not None
    # Not among its arguments, which every user of the machine can read: a store's address may hold a password.
    process.stdin.write(json.dumps(asdict(backends)).encode() + b"\n")
    return process


async def _retire(slot: WorkerSlot) -> None:
    async with slot.turn:
        await _end(slot)


async def _end(slot: WorkerSlot) -> None:
    process, slot.process, slot.study = slot.process, None, ""
    if slot.ends is not None:
        slot.ends.cancel()
        slot.ends = None
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
