"""What the answers look like, for the description at ``/openapi.json``; more keys may stand beside these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Open: scripts rely on these keys, and others may come."""

    model_config = ConfigDict(extra="allow")


class FaultShape(Shape):
    """One thing wrong: where, what, what to do."""

    where: str
    fault: str
    remedy: str


class ProblemShape(Shape):
    """RFC 9457; ``detail`` is what the command line prints, ``faults`` the same line by line."""

    type: str
    title: str
    status: int
    detail: str
    faults: list[FaultShape] = []


class FailureShape(Shape):
    """A trial that failed, or with an empty key a line of a launch that never came to its first trial."""

    key: str
    reason: str


class StatusShape(Shape):
    """state: waiting, running, done or stopped; eta_s [s]."""

    study: str
    state: str
    trials: dict[str, int]
    eta_s: float | None
    failures: list[FailureShape]


class IntervalShape(Shape):
    """A mean with its 95 % interval over n trials."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


class CellShape(Shape):
    """A setting with its figures."""

    cell: str
    params: dict[str, Any]
    n: int
    metrics: dict[str, IntervalShape]
    differs_from_first: bool | None = None


class RowShape(Shape):
    """A line of table 1: a cell, a group and a class."""

    phi: str
    eps: Any
    batch_size: int
    labeling: str
    group: str
    emptied: bool
    dsc: float | None
    dv_ml: float | None
    auc: float | None
    n: int
    p: float | None


class MapShape(Shape):
    """The transition map: per slice its points over ε, and the crossing or the reason that there is none."""

    slices: list[dict[str, Any]]


class TrialShape(Shape):
    """A trial that is over; scores by emptied class."""

    key: str
    cell: str
    fold: int
    seed: int
    state: str
    reason: str
    params: dict[str, Any]
    scores: dict[str, dict[str, Any]]


class PlanShape(Shape):
    """What a study file would run."""

    study: str
    trials: int
    cells: int
    done: int
    failed: int
    to_run: int
    hours: float | None
    concurrent: int
    limited_by: str


class LaunchShape(PlanShape):
    """A launch on its way: the id of its process or Ray job, and the same in words."""

    id: str
    where: str


class StopShape(Shape):
    """A study that was asked to stop."""

    study: str
    state: str


class PartShape(Shape):
    """Whether a part can be used, else why not."""

    ok: bool
    fault: str


class ReadyShape(Shape):
    """Whether the service can do its work."""

    ready: bool
    store: PartShape
    storage: PartShape
    cluster: PartShape


class HealthShape(Shape):
    """That the service answers."""

    ok: bool
