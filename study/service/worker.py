"""A worker of the service: one task after the other, read from the standard input, until that closes.

A task is a line of JSON; its answer is a line of JSON about it, with ``kind`` and ``length``, and so many bytes.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from study.commands.registry import ANSWERS
from study.service.settings import Backends
from trainers.errors import DicestudyError, InputError


def main() -> None:
    """Answer until the service closes the line."""
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Answering requests, and the trials of this machine, go before computing.
    os.nice(5)
    given = json.loads(sys.stdin.buffer.readline())
    tasks = make_tasks(Backends(**{**given, "data_roots": tuple(given["data_roots"])}))
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        about, body = perform(tasks[asked["task"]], asked["study"], asked["arguments"])
        answers.write(json.dumps({**about, "length": len(body)}).encode() + b"\n" + body)
        answers.flush()


Task = Callable[..., tuple[dict[str, Any], Any]]
"""Takes a study's name and arguments; gives what is to be told about the answer, and the answer."""


def make_tasks(backends: Backends) -> dict[str, Task]:
    """Every task by name; what a task needs is imported when it is first asked for."""
    # Here and not above: the service itself imports this package, and must not wait for any of it.
    from study.storage.locations import Places

    places = Places.find(backends.store, backends.storage)
    kept: dict[str, Any] = {}

    def reading() -> Any:
        if "reading" not in kept:
            from study.service.answer_tasks import Reading

            kept["reading"] = Reading(places)
        return kept["reading"]

    def watching() -> Any:
        if "watching" not in kept:
            from study.service.status_tasks import Watching

            kept["watching"] = Watching(places, backends.address)
        return kept["watching"]

    def post(_: str, **arguments: Any) -> tuple[dict[str, Any], Any]:
        from study.service.submit_task import submit_study

        return {}, submit_study(places, backends, **arguments)

    return {
        **{name: (lambda *a, name=name, **k: reading().answer(name, *a, **k)) for name in ANSWERS},
        **{name: (lambda *a, name=name, **k: getattr(watching(), name)(*a, **k)) for name in WATCHINGS},
        "post": post,
    }


WATCHINGS = ("studies", "status", "stop")


def perform(task: Task, study: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Do one task; whatever becomes of it is an answer."""
    begun = time.perf_counter()
    try:
        about, found = task(study, **arguments)
        body = b"" if about.get("kind") == "same" else encode(found)
        return {"kind": "done", "seconds": time.perf_counter() - begun, **about}, body
    except DicestudyError as error:
        return {"kind": _kind(error)}, encode(_faults(error))
    except Exception as error:
        if _is_silence(error):
            fault = f"the tracking store stopped answering: {str(error).splitlines()[0]}"
            return {"kind": "silent"}, encode([{"where": "", "fault": fault, "remedy": ""}])
        traceback.print_exc()
        return {"kind": "broken"}, b""


def encode(value: Any) -> bytes:
    """JSON as the command line prints it, without its line breaks."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode(errors="replace")


def _kind(error: DicestudyError) -> str:
    from study.storage.folders import UnknownStudyError

    if isinstance(error, UnknownStudyError):
        return "unknown"
    if isinstance(error, InputError):
        return "silent" if type(error).__name__ == "SilentStoreError" else "wrong"
    return "busy"


def _faults(error: DicestudyError) -> list[dict[str, str]]:
    if isinstance(error, InputError):
        return [vars(fault) for fault in error.faults]
    return [{"where": "", "fault": str(error), "remedy": ""}]


def _is_silence(error: Exception) -> bool:
    """Whether the tracking store went away under a task."""
    if "study.tracking.client" not in sys.modules:
        return False
    from study.tracking.client import STORE_ERRORS

    return isinstance(error, STORE_ERRORS)


if __name__ == "__main__":
    main()
