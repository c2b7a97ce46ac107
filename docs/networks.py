"""Writes the tables of ``docs/networks.md``: ``python -m docs.networks``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainers.networks import NetworkSpec, build_network
from trainers.networks.pooling import format_shape

PAGE = Path(__file__).parent / "networks.md"

OURS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "tiny": (1, 1, (24, 24, 16)),
    "no-new-net": (4, 1, (80, 80, 48)),
    "acdc-net": (1, 4, (192, 192, 48)),
}
"""Channels, maps and patch of each of our networks' tables."""

TRIED: list[dict[str, Any]] = [
    {"name": "AttentionUnet", "channels": [8, 16], "strides": [2]},
    {"name": "BasicUNet", "features": [4, 4, 8, 8, 16, 4]},
    {
        "name": "DynUNet",
        "filters": [8, 16, 16],
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
    },
    {"name": "MedNeXt", "blocks_bottleneck": 1, "blocks_down": [1] * 4, "blocks_up": [1] * 4, "init_filters": 4},
    {"name": "RegUNet", "depth": 2, "num_channel_initial": 4},
    {"name": "SegResNet", "blocks_down": [1, 1, 1], "blocks_up": [1, 1], "init_filters": 8},
    {"name": "SegResNetDS", "blocks_down": [1, 1, 1], "init_filters": 8},
    {"name": "UNet", "channels": [8, 16, 32], "norm": ["batch", {"momentum": 0.05}], "strides": [2, 2]},
]
"""MONAI's networks of which tests train a step in two and in three dimensions, as a study file writes them."""


def tables() -> dict[str, str]:
    """Each table of the page, by the name that stands in its marks."""
    return {**{name: _layers(name, *case) for name, case in OURS.items()}, "tried": _tried()}


def written(page: str) -> str:
    """The page with its tables brought up to date."""
    for name, table in tables().items():
        head, start, rest = page.partition(f"<!-- table {name} -->\n\n")
        _, end, tail = rest.partition("\n\n<!-- end -->")
        page = "".join((head, start, table, end, tail))
    return page


def mixes_cases(network: nn.Module) -> bool:
    """Whether one case's output depends, in training, on the others of its batch: batch norm."""
    return any(isinstance(layer, _BatchNorm) for layer in network.modules())


def _layers(name: str, channels: int, maps: int, patch: tuple[int, ...]) -> str:
    network = _shapes_alone(NetworkSpec(name=name), channels, maps, patch)
    sizes = [patch]
    for pool in network.pools:
        sizes.append(tuple(size // factor for size, factor in zip(sizes[-1], pool.pool, strict=True)))
    bottom = len(sizes) - 1
    rows = [(f"{level + 1} down", block, sizes[level]) for level, block in enumerate(network.down[:-1])]
    rows += [(f"{bottom + 1} bottom", network.down[-1], sizes[bottom])]
    rows += [(f"{level + 1} up", network.up[level], sizes[level]) for level in reversed(range(bottom))]
    rows += [("1 head", network.head, patch)]
    lines = ["| level | voxels | convolutions | channels | parameters |", "|---|---|---|---|---:|"]
    for level, block, size in rows:
        convolutions = [layer for layer in block.modules() if hasattr(layer, "in_channels")]
        kernels = ", ".join(format_shape(layer.kernel_size) for layer in convolutions)
        widths = " → ".join(map(str, [convolutions[0].in_channels, *(layer.out_channels for layer in convolutions)]))
        lines.append(f"| {level} | {format_shape(size)} | {kernels} | {widths} | {_count(block):,} |")
    return "\n".join([*lines, f"| all | | | | {_count(network):,} |"])


def _tried() -> str:
    lines = ["| as a study file writes it | batch norm | parameters, 2-D | parameters, 3-D |", "|---|---|---:|---:|"]
    for given in TRIED:
        spec = NetworkSpec.model_validate(given)
        flat, deep = (_shapes_alone(spec, 1, 1, (32,) * dims) for dims in (2, 3))
        mixes = "yes" if mixes_cases(deep) else ""
        lines.append(f"| `{_yaml(given)}` | {mixes} | {_count(flat):,} | {_count(deep):,} |")
    return "\n".join(lines)


def _shapes_alone(spec: NetworkSpec, channels: int, maps: int, patch: tuple[int, ...]) -> Any:
    with torch.device("meta"):
        return build_network(spec, channels, maps, patch)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _yaml(value: Any) -> str:
    """The value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(entry)}" for key, entry in value.items()) + "}"
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
