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
    from study.commands.check import check_study as check
    from study.commands.explain import explain
    from study.commands.launch import launch
    from study.commands.predict import predict
    from study.commands.report import report
    from study.commands.status import status, stop
    from study.commands.sync import sync
    from study.config.load import load
    from study.config.spec import StudySpec
    from study.planning.forecast import forecast as plan
    from study.storage.locations import Places

__all__ = [
    "Client",
    "Places",
    "StudySpec",
    "best",
    "check",
    "explain",
    "launch",
    "load",
    "plan",
    "predict",
    "report",
    "status",
    "stop",
    "sync",
    "table",
    "transition_map",
    "trials",
]

_HOMES = {
    "Client": "client:Client",
    "Places": "storage.locations:Places",
    "StudySpec": "config.spec:StudySpec",
    "best": "commands.answers:best",
    "check": "commands.check:check_study",
    "explain": "commands.explain:explain",
    "launch": "commands.launch:launch",
    "load": "config.load:load",
    "plan": "planning.forecast:forecast",
    "predict": "commands.predict:predict",
    "report": "commands.report:report",
    "status": "commands.status:status",
    "stop": "commands.status:stop",
    "sync": "commands.sync:sync",
    "table": "commands.answers:table",
    "transition_map": "commands.answers:transition_map",
    "trials": "commands.answers:trials",
}
"""The module and the name there of each name here."""


def __getattr__(name: str) -> Any:
    """Import a name from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    module, attribute = _HOMES[name].split(":")
    return getattr(importlib.import_module(f"study.{module}"), attribute)
