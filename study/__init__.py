"""Studies: a file in, trials on a cluster, answers out.

    import study
    s = study.load("study.yaml")
    study.launch(s)
    study.best(s, goal="ignore", top=5)
    study.transition_map(s)

Names are imported when they are first used: ``--help`` must not wait for Ray, MLflow or torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.answers import best, report, table, transition_map, trials
    from study.client import Client
    from study.foresight import explain
    from study.launching import launch
    from study.places import Places
    from study.reader import load
    from study.spec import StudySpec
    from study.standing import status

__all__ = [
    "Client",
    "Places",
    "StudySpec",
    "best",
    "explain",
    "launch",
    "load",
    "report",
    "status",
    "table",
    "transition_map",
    "trials",
]

_HOMES = {
    "Client": "client",
    "Places": "places",
    "StudySpec": "spec",
    "best": "answers",
    "explain": "foresight",
    "launch": "launching",
    "load": "reader",
    "report": "answers",
    "status": "standing",
    "table": "answers",
    "transition_map": "answers",
    "trials": "answers",
}


def __getattr__(name: str) -> Any:
    """Import a name from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    return getattr(importlib.import_module(f"study.{_HOMES[name]}"), name)
