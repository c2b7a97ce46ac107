"""The layers of our own U-Nets that torch has not, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.networks.pooling import Factors

POOL: dict[int, Callable[..., Tensor]] = {2: functional.max_pool2d, 3: functional.max_pool3d}
CONVOLVE: dict[int, Callable[..., Tensor]] = {2: functional.conv2d, 3: functional.conv3d}
SPREAD: dict[int, Callable[..., Tensor]] = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


class MaxPool(nn.Module):
    """The highest of each tile of voxels; ``pool`` has the tile's sides."""

    def __init__(self, pool: Sequence[int]) -> None:
        super().__init__()
        self.pool = tuple(pool)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, *space) to (batch, channel, *space / pool)."""
        # On a GPU older torch adds the gradients of its own pooling in 3-D in whatever order they come.
        return tiled_max(x, self.pool) if x.is_cuda else POOL[len(self.pool)](x, self.pool)


def tiled_max(x: Tensor, pool: Sequence[int]) -> Tensor:
    """The same by an operation whose gradient has one order. Raises: RuntimeError if a side is no multiple."""
    axes = len(pool)
    parts = [part for side, width in zip(x.shape[2:], pool, strict=True) for part in (side // width, width)]
    tiles = x.reshape(*x.shape[:2], *parts).permute(0, 1, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2))
    return tiles.flatten(2 + axes).max(dim=-1).values


class ConvBesideCopies(nn.Module):
    """A convolution of a skip beside nearest copies, ``pool`` of each voxel, of what comes up from the level below.

    The copies are never made. Where a kernel of k voxels slides over f copies, several of its weights meet the same
    value: summed first, they make a transposed convolution of stride f with k + f − 1 weights an axis. For k = 3 and
    f = 2 that is 8 products a voxel and pair of channels in place of 27.

    conv: the convolution, without bias, over ``skip`` channels and then those of the copies.
    """

    taps: Tensor

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, skip: int, pool: Factors) -> None:
        super().__init__()
        self.weight, self.kernel_size, self.pool = conv.weight, conv.kernel_size, tuple(pool)
        self.in_channels, self.out_channels, self.skip = conv.in_channels, conv.out_channels, skip
        taps = torch.ones(1, 1)
        for size, factor in zip(self.kernel_size, pool, strict=True):
            taps = torch.kron(taps, summed_taps(size, factor))
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, both: tuple[Tensor, Tensor]) -> Tensor:
        """(batch, skip, *space) and (batch, channel, *space / pool) to (batch, out, *space)."""
        skip, below = both
        axes, padding = len(self.pool), tuple(size // 2 for size in self.kernel_size)
        sizes = [size + factor - 1 for size, factor in zip(self.kernel_size, self.pool, strict=True)]
        copied = self.weight[:, self.skip :]
        summed = (copied.flatten(2) @ self.taps).reshape(*copied.shape[:2], *sizes).transpose(0, 1)
        beside = CONVOLVE[axes](skip, self.weight[:, : self.skip], None, (1,) * axes, padding)
        return beside + SPREAD[axes](below, summed, None, self.pool, padding)


def summed_taps(kernel: int, factor: int) -> Tensor:
    """(kernel, kernel + factor − 1): 1 where a weight is part of a sum, along one axis."""
    weight, total = torch.arange(kernel)[:, None], torch.arange(kernel + factor - 1)
    copy = weight + total - (kernel - 1)
    return ((copy >= 0) & (copy < factor)).float()
