"""Networks by name. They end in logits; the loss and the scores see probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainers.pooling import FEATURES, pool_factors


class ConvBlock(nn.Sequential):
    """Two 3×3×3 convolutions, each with instance norm and leaky ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        layers: list[nn.Module] = []
        for channels in (channels_in, channels_out):
            layers += [
                # No bias: the norm that follows would take it away again.
                nn.Conv3d(channels, channels_out, kernel_size=3, padding=1, bias=False),
                nn.InstanceNorm3d(channels_out, affine=True),
                nn.LeakyReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """U-Net with max-pooling down, nearest copies up and skips by concatenation.

    Input (batch, channel, *space), output logits (batch, map, *space). ``pools`` has one factor per axis
    for each step down; the shape must be divisible by their products.

    Source: Ronneberger et al., MICCAI 2015; Çiçek et al., MICCAI 2016 (3-D).
    """

    def __init__(
        self, channels: int, maps: int, features: Sequence[int], pools: Sequence[tuple[int, int, int]]
    ) -> None:
        super().__init__()
        widths = [channels, *features]
        self.down = nn.ModuleList(ConvBlock(a, b) for a, b in pairwise(widths))
        self.pools = nn.ModuleList(nn.MaxPool3d(pool) for pool in pools)
        self.copies = nn.ModuleList(nn.Upsample(scale_factor=tuple(map(float, pool))) for pool in pools)
        self.up = nn.ModuleList(ConvBlock(a + b, a) for a, b in pairwise(features))
        self.head = nn.Conv3d(features[0], maps, kernel_size=1)

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


def build_network(name: str, channels: int, maps: int, shape: Sequence[int]) -> nn.Module:
    """The network ``name`` for images of ``channels`` channels and ``shape`` voxels, with ``maps`` outputs."""
    features = FEATURES[name]
    return UNet(channels, maps, features, pool_factors(shape, len(features) - 1))
