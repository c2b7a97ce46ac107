"""Networks from their specs, tried out on shapes alone."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainers.errors import Fault, InputError
from trainers.networks.monai_signatures import SUPPLIED, find_network
from trainers.networks.pooling import format_shape
from trainers.networks.spec import NetworkSpec
from trainers.networks.unet import UNet

META = torch.device("meta")


def build(spec: NetworkSpec, channels: int, maps: int, shape: Sequence[int]) -> nn.Module:
    """The network for images (batch, channels, *shape), giving logits (batch, maps, *shape). Raises: InputError."""
    if spec.design is not None:
        return UNet(channels, maps, spec.design, spec.design.pools(shape))
    signature = find_network(spec.name)
    supplied = dict(zip(SUPPLIED, (len(shape), channels, maps, tuple(shape)), strict=True))
    fitting = {name: value for name, value in supplied.items() if signature and name in signature.known}
    made = getattr(importlib.import_module("monai.networks.nets"), spec.name)
    try:
        network: nn.Module = made(**fitting, **copy.deepcopy(spec.arguments))
    except Exception as error:  # whatever a class of MONAI's makes of arguments that it does not like
        raise InputError(_fault(spec, error)) from error
    return network


def try_out(spec: NetworkSpec, channels: int, maps: int, shape: Sequence[int], batch_size: int) -> None:
    """Run the network once in training and once in prediction, on shapes alone. Raises: InputError."""
    network = _on_meta(spec, channels, maps, shape)
    images = torch.empty(batch_size, channels, *shape, device=META)
    expected = (batch_size, maps, *shape)
    for training in (True, False):
        try:
            with torch.no_grad():
                output = network.train(training)(images)
        except Exception as error:  # whatever a class of MONAI's makes of a shape that it does not like
            raise InputError(_fault(spec, error, f"fails on images of {format_shape(images.shape)}: ")) from error
        if not isinstance(output, Tensor):
            kind = f"a {type(output).__name__}"
            remedy = "switch off what gives more than the logits, such as deep supervision"
            raise InputError(Fault(f"network {spec}", f"returns {kind}, expected one tensor of logits", remedy))
        if output.shape != expected:
            came = f"returns {format_shape(output.shape)} for images of {format_shape(images.shape)}"
            remedy = "choose a network of segmentation, or other arguments"
            raise InputError(Fault(f"network {spec}", f"{came}, expected {format_shape(expected)}", remedy))


def _on_meta(spec: NetworkSpec, channels: int, maps: int, shape: Sequence[int]) -> nn.Module:
    try:
        with META:
            return build(spec, channels, maps, shape)
    except InputError:
        # Some read numbers off tensors while they are made (SwinUNETR), which needs tensors with content.
        return build(spec, channels, maps, shape).to(META)


def _fault(spec: NetworkSpec, error: Exception, what: str = "") -> Fault:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    if isinstance(error, ImportError):
        return Fault(f"network {spec}", f"lacks a package: {first}", "install it, or choose another network")
    return Fault(f"network {spec}", what + first, "mend its arguments or the patch's shape, as MONAI documents them")
