"""Every source of data by its name in a study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trainers.data.acdc import AcdcSpec
from trainers.data.base import DataSpec
from trainers.data.brats import BratsSpec
from trainers.data.cardiac import CardiacPhantomSpec
from trainers.data.decathlon import DecathlonSpec
from trainers.data.phantom import PhantomSpec
from trainers.data.table import TableSpec

AnyDataSpec = Annotated[
    PhantomSpec | CardiacPhantomSpec | AcdcSpec | BratsSpec | DecathlonSpec | TableSpec, Field(discriminator="source")
]
"""The ``data`` section of a study file; ``source`` says which."""

SOURCES: dict[str, type[DataSpec]] = {
    "phantom": PhantomSpec,
    "phantom-cardiac": CardiacPhantomSpec,
    "acdc": AcdcSpec,
    "brats": BratsSpec,
    "decathlon": DecathlonSpec,
    "table": TableSpec,
}
