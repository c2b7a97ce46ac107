"""How a trial trains: the parts of a protocol that are worth a name of their own."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainers.data.base import FrozenSpec

Spread = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A standard deviation; 0 for none."""


class AugmentSpec(FrozenSpec):
    """Random changes of each training case; written by name (``none``, ``flip``, ``brats``, ``acdc``) or in parts.

    flip: mirrored along each of these axes with probability ½; rotate [rad] within the plane of the first two
    axes; scale: of sizes, as a share; translate [voxels]; elastic [voxels]: of shifts at control points;
    intensity_scale, intensity_shift, noise: of each channel's brightness, in standard deviations of a z-scored
    image. Every number but ``flip`` is the standard deviation of a normal one.
    """

    flip: Literal["none", "x", "all"] = "none"
    rotate: Spread = 0.0
    scale: Spread = 0.0
    translate: tuple[Spread, ...] = ()
    elastic: Spread = 0.0
    intensity_scale: Spread = 0.0
    intensity_shift: Spread = 0.0
    noise: Spread = 0.0

    @classmethod
    def parse(cls, value: object) -> object:
        """Read a name; anything else is left to the fields' own checks."""
        if not isinstance(value, str):
            return value
        if value not in RECIPES:
            raise ValueError(f"unknown augmentation {value!r}, known: {', '.join(RECIPES)}, or its parts")
        return RECIPES[value]

    @model_validator(mode="after")
    def _translates_along_axes(self) -> AugmentSpec:
        if len(self.translate) not in (0, 2, 3):
            raise ValueError(f"translate has {len(self.translate)} numbers, expected one for each axis")
        return self

    @property
    def moves(self) -> bool:
        """Whether voxels are taken from other places."""
        return bool(self.rotate or self.scale or any(self.translate) or self.elastic)

    def flip_axes(self, axes: int) -> list[int]:
        """Axes of space that are mirrored."""
        return {"none": [], "x": [0], "all": list(range(axes))}[self.flip]

    def __str__(self) -> str:
        name = next((name for name, recipe in RECIPES.items() if AugmentSpec(**recipe) == self), None)
        given = self.model_dump(exclude_defaults=True)
        return name or ", ".join(f"{part}={value}" for part, value in given.items())


RECIPES: dict[str, dict[str, object]] = {
    "none": {},
    "flip": {"flip": "all"},
    # The two protocols of Tilborghs, Bertels et al., MICCAI 2022.
    "brats": {
        "flip": "x",
        "rotate": math.pi / 12,
        "translate": (6.0, 6.0, 4.0),
        "elastic": 1.0,
        "intensity_scale": 0.05,
        "intensity_shift": 0.05,
    },
    "acdc": {"rotate": math.pi / 12, "scale": 0.05, "noise": 0.1},
}
