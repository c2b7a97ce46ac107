"""Whether a trial could be placed: what it asks for against what there is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from study.config.spec import ResourceSpec
from trainers.errors import Fault, InputError


def compare_resources(resources: ResourceSpec, there: Mapping[str, float], where: str) -> None:
    """See that ``where`` has what one trial asks for. Raises: InputError naming what it lacks."""
    faults = [
        Fault(
            f"resources.{name.lower()}s",
            f"a trial asks for {wanted:g}, and {where} has {there.get(name, 0):g}",
            "ask for less, or launch on a cluster with --address",
        )
        for name, wanted in (("CPU", resources.cpus), ("GPU", resources.gpus))
        if wanted > there.get(name, 0)
    ]
    if faults:
        raise InputError(faults)


def local_gpus() -> int:
    """GPUs that this machine's driver shows."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()])
