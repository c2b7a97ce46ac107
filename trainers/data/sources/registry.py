"""Every source of data by its name in a study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trainers.data.base import DataSpec
from trainers.data.sources.acdc import AcdcSpec
from trainers.data.sources.brats import BratsSpec
from trainers.data.sources.csv_table import TableSpec
from trainers.data.sources.decathlon import DecathlonSpec
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.data.sources.phantom_heart import CardiacPhantomSpec
from trainers.data.sources.phantom_pictures import PhantomPicturesSpec

AnyDataSpec = Annotated[
    PhantomSpec | PhantomPicturesSpec | CardiacPhantomSpec | AcdcSpec | BratsSpec | DecathlonSpec | TableSpec,
    Field(discriminator="source"),
]
"""The ``data`` section of a study file; ``source`` says which."""

SOURCES: dict[str, type[DataSpec]] = {
    "phantom": PhantomSpec,
    "phantom-2d": PhantomPicturesSpec,
    "phantom-cardiac": CardiacPhantomSpec,
    "acdc": AcdcSpec,
    "brats": BratsSpec,
    "decathlon": DecathlonSpec,
    "table": TableSpec,
}
