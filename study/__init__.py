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
    from study.client import Client
    from study.commands.answers import best, table, transition_map, trials
    from study.commands.explain import explain
    from study.commands.launch import launch
    from study.commands.report import report
    from study.commands.status import status
    from study.config.load import load
    from study.config.spec import StudySpec
    from study.storage.locations import Places

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
    "Places": "storage.locations",
    "StudySpec": "config.spec",
    "best": "commands.answers",
    "explain": "commands.explain",
    "launch": "commands.launch",
    "load": "config.load",
    "report": "commands.report",
    "status": "commands.status",
    "table": "commands.answers",
    "transition_map": "commands.answers",
    "trials": "commands.answers",
}


def __getattr__(name: str) -> Any:
    """Import a name from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    return getattr(importlib.import_module(f"study.{_HOMES[name]}"), name)
