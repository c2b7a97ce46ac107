"""Our own U-Nets, in two and three dimensions, from torch's layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from trainers.networks.layers import ConvBesideCopies, MaxPool
from trainers.networks.pooling import Factors
from trainers.networks.unet_config import Design, Widths

# MONAI's blocks would do for the convolutions, but not its U-Nets (fixed poolings, learnt up-sampling), and to
# import it takes every worker longer than torch itself.
CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
NORM: dict[tuple[str, int], Callable[..., nn.Module]] = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}


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


def up_block(widths: Widths, design: Design, skip: int, pool: Factors) -> ConvBlock:
    """A block that takes two: a skip, with this many channels, and what comes up from the level below."""
    block = ConvBlock(widths, design, len(pool))
    block[0] = ConvBesideCopies(block[0], skip, pool)  # type: ignore[arg-type]  # a block's first is its convolution
    return block


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
        self.up = nn.ModuleList(
            up_block(widths, design, skip, pool)
            for widths, skip, pool in zip(design.up(), design.features, pools, strict=False)
        )
        self.head = CONV[dims](design.features[0], maps, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every map."""
        skips = []
        for block, pool in zip(self.down, self.pools, strict=False):
            x = block(x)
            skips.append(x)
            x = pool(x)
        x = self.down[-1](x)
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = block((skip, x))
        logits: Tensor = self.head(x)
        return logits
