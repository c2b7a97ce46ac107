"""A posted study file, read and launched: what a worker does with it after ``study.service.upload_limits``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study.config.load import parse_study
from study.config.search_space import representative_trials
from study.config.spec import StudySpec
from study.execution.detached import launch_detached, require_idle
from study.planning.data import check_settings
from study.planning.plan import make_plan
from study.service.settings import Backends
from study.service.status_tasks import POSTED_FILE
from study.service.upload_limits import NAME, check_upload, path_outside_roots
from study.storage.locations import Places
from trainers.atomic_files import write_text_whole
from trainers.data.base import DataSpec
from trainers.errors import Fault, InputError

MOST_CASES = 10_000
"""Of a generated source."""
MOST_VOXELS = 2**24
"""Of a generated case."""


def submit_study(places: Places, backends: Backends, text: str, check: bool, retry_failed: bool) -> dict[str, Any]:
    """Check a posted study and launch it; what will run, and as what. check: launch nothing.

    Raises: InputError with every fault; DicestudyError if the study is running.
    """
    study = read(text, backends.data_roots)
    plan = make_plan(study, places.storage)
    check_settings(plan.representatives)
    found: dict[str, Any] = {"study": study.name, **plan.as_dict()}
    if check:
        return found
    write_text_whole(require_idle(study.name, places) / POSTED_FILE, text)
    begun = launch_detached(study, text, places, backends.address, retry_failed)
    return {**found, "id": begun.id, "where": begun.where}


def read(text: str, roots: tuple[str, ...]) -> StudySpec:
    """Read a posted study, small enough and with no path that leads out of ``roots``. Opens no file.

    Raises: InputError with what is wrong.
    """
    check_upload(text, roots)
    study = parse_study(text, NAME)
    # The splits before the trials: these read them.
    faults = list(_paths_outside({"splits": study.splits}, roots))
    if not faults:
        sources = {spec.data.model_dump_json(): spec.data for spec in representative_trials(study, lambda _: "")}
        for source in sources.values():
            faults += _paths_outside({f"data.{name}": value for name, value in source}, roots)
            faults += _too_large(source)
    if faults:
        raise InputError(list(dict.fromkeys(faults)))
    return study


def _paths_outside(named: dict[str, Any], roots: tuple[str, ...]) -> Iterator[Fault]:
    """Paths that do not lie, links followed, below a folder that the operator named."""
    allowed = [Path(root).expanduser().resolve() for root in roots]
    for name, path in named.items():
        if not isinstance(path, Path):
            continue
        try:
            true = path.expanduser().resolve()
            inside = any(true.is_relative_to(root) for root in allowed)
        except (OSError, RuntimeError, ValueError):  # a loop of links, a user that is not there, a null byte
            inside = False
        if not inside:
            yield path_outside_roots(name, path, roots)


def _too_large(source: DataSpec) -> Iterator[Fault]:
    """A generated source is as large as its file says; cases of all others are there already."""
    if hasattr(source, "root"):
        return
    cases = sum(int(getattr(source, name, 0)) for name in ("train", "test"))
    for name, came, most in (
        ("cases", cases, MOST_CASES),
        ("voxels a case", math.prod(source.patch_shape), MOST_VOXELS),
    ):
        if came > most:
            yield Fault(f"{NAME}: data", f"{came:,} {name}, expected at most {most:,}", "make it smaller")
