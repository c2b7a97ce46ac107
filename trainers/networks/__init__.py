"""Networks by name: our own U-Nets, and MONAI's by their class names. They end in logits.

``NetworkSpec`` names one without importing torch; ``build_network`` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainers.errors import Fault, InputError
from trainers.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NetworkSpec", "build_network", "check_network"]


def build_network(spec: NetworkSpec, channels: int, maps: int, shape: Sequence[int]) -> nn.Module:
    """The network for images (batch, channels, *shape), giving logits (batch, maps, *shape).

    Raises: InputError if it cannot be made so; ``check_network`` finds more.
    """
    # Here and in the next, not above: a spec is to be had without waiting for torch.
    from trainers.networks.build import build

    _check_patch(spec, shape)
    return build(spec, channels, maps, shape)


def check_network(spec: NetworkSpec, channels: int, maps: int, shape: Sequence[int], batch_size: int = 1) -> None:
    """Find out before a training whether ``build_network`` gives what it says, at next to no cost in memory.

    A network of MONAI's is built and run once on shapes alone (torch's meta device), in training and in
    prediction. Our own are known to work wherever the patch can be pooled.

    Raises: InputError with what is wrong.
    """
    _check_patch(spec, shape)
    if spec.design is None:
        from trainers.networks.build import try_out

        try_out(spec, channels, maps, shape, batch_size)


def _check_patch(spec: NetworkSpec, shape: Sequence[int]) -> None:
    try:
        spec.check_patch(shape)
    except ValueError as error:
        raise InputError(Fault(f"network {spec}", str(error))) from None
