"""What our own U-Nets are made of. No torch, so that a study can be checked without it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainers.networks.pooling import Factors, fixed_factors, format_shape, pool_factors

Widths = tuple[int, int, int]
"""Channels into a block's first convolution, between the two, and out of the second."""


@dataclass(frozen=True)
class Design:
    """A U-Net with two convolutions a block, max-pooling down, nearest copies up and skips by concatenation.

    features: channels of each level, the finest first.
    flat_steps: how many of the first poolings spare the third axis; None: as the patch's shape asks.
    narrows: whether the last convolution before an up-sampling gives the channels of the level above.
    flat_kernel: whether a block's second convolution is 3×3×1.
    """

    features: tuple[int, ...]
    flat_steps: int | None = None
    norm: Literal["instance", "batch"] = "instance"
    activation: Literal["leaky_relu", "prelu"] = "leaky_relu"
    narrows: bool = False
    flat_kernel: bool = False

    def pools(self, shape: Sequence[int]) -> list[Factors]:
        """Factors of the poolings between the levels. Raises: ValueError if the patch does not fit."""
        steps = len(self.features) - 1
        factors = (
            pool_factors(shape, steps) if self.flat_steps is None else fixed_factors(shape, steps, self.flat_steps)
        )
        if math.prod(shape) == math.prod(map(math.prod, factors)):
            # One voxel has no spread to be normalised by.
            raise ValueError(
                f"a patch of {format_shape(shape)} voxels is one voxel after {steps} poolings; choose a larger one"
            )
        return factors

    def down(self, channels: int) -> list[Widths]:
        """Of each level's block on the way down, the finest first; the last is the bottom."""
        inputs = [channels, *self.features]
        blocks = [(a, b, b) for a, b in zip(inputs, self.features, strict=False)]
        if self.narrows:
            above, bottom = self.features[-2:]
            blocks[-1] = (above, bottom, above)
        return blocks

    def up(self) -> list[Widths]:
        """Of each level's block on the way up, the finest first; the bottom has none."""
        features, blocks = self.features, []
        for level, skip in enumerate(features[:-1]):
            copied, out = (skip, features[max(level - 1, 0)]) if self.narrows else (features[level + 1], skip)
            blocks.append((skip + copied, skip, out))
        return blocks

    def kernels(self, dims: int) -> tuple[Factors, Factors]:
        """Sizes of a block's two kernels in ``dims`` dimensions."""
        return (3,) * dims, (3, 3, 1 if self.flat_kernel else 3)[:dims]


DESIGNS = {
    "tiny": Design((8, 16, 32)),
    "no-new-net": Design((30, 60, 120, 240, 480), flat_steps=0, narrows=True),
    "acdc-net": Design((16, 32, 64, 128, 256), flat_steps=1, norm="batch", activation="prelu", flat_kernel=True),
}
"""Our networks by name.

Source: ``no-new-net``: Isensee et al., BrainLes 2018 (No New-Net); ``acdc-net``: Tilborghs et al., MICCAI 2022.
"""
