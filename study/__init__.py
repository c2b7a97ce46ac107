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
    from study.answers import best, report, table, transition_map
    from study.launch import launch
    from study.places import Places
    from study.spec import StudySpec, load
    from study.status import status

__all__ = ["Places", "StudySpec", "best", "launch", "load", "report", "status", "table", "transition_map"]

_HOMES = {
    "Places": "places",
    "StudySpec": "spec",
    "best": "answers",
    "launch": "launch",
    "load": "spec",
    "report": "answers",
    "status": "status",
    "table": "answers",
    "transition_map": "answers",
}


def __getattr__(name: str) -> Any:
    """Import a name from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"study.{_HOMES[name]}"), name)
    # Put over the submodule of the same name (study.launch), which the import has just set.
    globals()[name] = value
    return value
