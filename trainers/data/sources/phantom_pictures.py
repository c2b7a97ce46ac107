"""Slices of generated brains as pictures: most of them rightly without a tumour."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from trainers.data.base import CaseArrays, CaseInfo
from trainers.data.geometry.grid import Shape
from trainers.data.sources.phantom_brain import RECIPE, SPLITS, VOXEL_MM, BrainSpec, case_name


class PhantomPicturesSpec(BrainSpec):
    """Slices across the last axis of generated brains, each a picture of its own; a brain is a subject.

    Slices lie evenly between the ends of the volume, so that those far from the tumours are rightly empty.
    """

    source: Literal["phantom-2d"] = "phantom-2d"
    slices: int = Field(default=4, ge=1)
    """Pictures of each brain."""

    @model_validator(mode="after")
    def _slices_fit(self) -> PhantomPicturesSpec:
        if self.slices > self.shape[2]:
            raise ValueError(f"slices is {self.slices}, expected at most the {self.shape[2]} voxels of the last axis")
        return self

    @property
    def patch_shape(self) -> Shape:
        """A whole slice."""
        return self.shape[:2]

    def fingerprint(self) -> str:
        """Name the recipe."""
        return f"phantom-2d-{RECIPE}"

    def list_cases(self) -> list[CaseInfo]:
        """Training slices, then test slices, those of a brain together."""
        return [
            CaseInfo(f"{brain}-{number}", brain, self.group_of(index), split)
            for split, count in zip(SPLITS, (self.train, self.test), strict=True)
            for index in range(count)
            for brain in [case_name(split, index)]
            for number in range(self.slices)
        ]

    def load_case(self, info: CaseInfo) -> CaseArrays:
        """Generate one slice: image (2, *plane), z-scored over its brain's volume; label (1, *plane).

        Raises: ValueError for a case that the source does not have.
        """
        number = info.case.removeprefix(f"{info.subject}-")
        if not number.isdecimal() or int(number) >= self.slices:
            raise ValueError(f"no slice is called {info.case!r}, known: {info.subject}-0 to {self.slices - 1}")
        image, tumour = self.draw_brain(info.subject)
        # In the middle of as many equal parts of the axis.
        plane = int((int(number) + 0.5) * self.shape[2] / self.slices)
        picture = np.ascontiguousarray(image[..., plane])
        return CaseArrays(picture, tumour[np.newaxis, ..., plane].astype(np.uint8), (VOXEL_MM,) * 2)
