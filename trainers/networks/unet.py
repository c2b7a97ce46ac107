"""Our own U-Nets, in two and three dimensions, from torch's layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.networks.designs import Design, Widths
from trainers.pooling import Factors

# MONAI's blocks would do for the convolutions, but not its U-Nets (fixed poolings, learnt up-sampling), and to
# import it takes every worker longer than torch itself.
CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
POOL: dict[int, Callable[..., Tensor]] = {2: functional.max_pool2d, 3: functional.max_pool3d}
NORM: dict[tuple[str, int], Callable[..., nn.Module]] = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}


class MaxPool(nn.Module):
    """The highest of each tile of voxels; ``pool`` has the tile's sides."""

    def __init__(self, pool: Sequence[int]) -> None:
        super().__init__()
        self.pool = tuple(pool)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, *space) to (batch, channel, *space / pool)."""
        # On a GPU torch's own pooling in 3-D adds its gradients in whatever order they come.
        return tiled_max(x, self.pool) if x.is_cuda else POOL[len(self.pool)](x, self.pool)


def tiled_max(x: Tensor, pool: Sequence[int]) -> Tensor:
    """The same by an operation whose gradient has one order. Raises: RuntimeError if a side is no multiple."""
    axes = len(pool)
    parts = [part for side, width in zip(x.shape[2:], pool, strict=True) for part in (side // width, width)]
    tiles = x.reshape(*x.shape[:2], *parts).permute(0, 1, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2))
    return tiles.flatten(2 + axes).max(dim=-1).values


class ConvBlock(nn.Sequential):
    """Two convolutions, each with norm and activation."""

    def __init__(self, widths: Widths, design: Design, dims: int) -> None:
        layers: list[nn.Module] = []
        for (width, out), kernel in zip(pairwise(widths), design.kernels(dims), strict=True):
            padding = tuple(size // 2 for size in kernel)
            layers += [
                # No bias: the norm that follows would take it away again.
                CONV[dims](width, out, kernel_size=kernel, padding=padding, bias=False),
                NORM[design.norm, dims](out, affine=True),
                nn.LeakyReLU(inplace=True) if design.activation == "leaky_relu" else nn.PReLU(out),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """U-Net with max-pooling down, nearest copies up and skips by concatenation.

    Input (batch, channel, *space), output logits (batch, map, *space). ``pools`` has one factor per axis
    for each step down; the shape must be divisible by their products.

    Source: Ronneberger et al., MICCAI 2015; Çiçek et al., MICCAI 2016 (3-D).
    """

    def __init__(self, channels: int, maps: int, design: Design, pools: Sequence[Factors]) -> None:
        super().__init__()
        dims = len(pools[0])
        self.down = nn.ModuleList(ConvBlock(widths, design, dims) for widths in design.down(channels))
        self.pools = nn.ModuleList(MaxPool(pool) for pool in pools)
        self.copies = nn.ModuleList(nn.Upsample(scale_factor=tuple(map(float, pool))) for pool in pools)
        self.up = nn.ModuleList(ConvBlock(widths, design, dims) for widths in design.up())
        self.head = CONV[dims](design.features[0], maps, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every map."""
        skips = []
        for block, pool in zip(self.down, self.pools, strict=False):
            x = block(x)
            skips.append(x)
            x = pool(x)
        x = self.down[-1](x)
        for block, copy, skip in zip(reversed(self.up), reversed(self.copies), reversed(skips), strict=True):
            x = block(torch.cat([skip, copy(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits
