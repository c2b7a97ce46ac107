"""Faster ways to what torch computes slowly on the CPU, for any network; equal but for rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

SLOW = 20480
"""Channels × first two sides of one case, alone in its batch, up to which torch takes its slow 3-D convolution."""


class CpuKernels(TorchFunctionMode):
    """Context in which a network computes with the functions below in place of torch's of the same names."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """What torch calls in place of ``func``."""
        return DETOURS.get(func, func)(*args, **(kwargs or {}))


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[Any] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """A kernel of one voxel as a product of matrices; a small case alone in its batch as two, its halves.

    In channels-last the product copies nothing, and takes a sixth of the time.
    """
    if groups > 1 or x.ndim < 5:  # never slow; a case without a batch
        return torch.conv3d(x, weight, bias, stride, padding, dilation, groups)
    kernel, rims = tuple(weight.shape[2:]), _three(padding)
    keeps_size = rims == tuple(size // 2 for size in kernel) and all(size % 2 for size in kernel)
    if keeps_size and _three(stride) == _three(dilation) == (1, 1, 1):
        if kernel == (1, 1, 1) and not torch.is_autocast_enabled("cpu"):
            return functional.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
        if _is_slow(x, weight) and x.shape[2] % 2 == 0:
            return _in_halves(x, weight, bias, rims)
    return _beside_a_copy(torch.conv3d, x, weight, bias, stride, padding, dilation)


def conv_transpose3d(x: Tensor, weight: Tensor, *others: Any, **named: Any) -> Tensor:
    """A small case alone in its batch beside a copy of itself."""
    return _beside_a_copy(torch.conv_transpose3d, x, weight, *others, **named)


def _is_slow(x: Tensor, weight: Tensor) -> bool:
    """Whether torch takes a way that costs the time of two to four cases."""
    small = len(x) == 1 and x.ndim == 5 and math.prod(x.shape[1:4]) <= SLOW and min(weight.shape[-2:]) <= 3
    return small and not torch.is_autocast_enabled("cpu")


def _three(sides: int | Sequence[Any]) -> tuple[Any, ...]:
    return (sides,) * 3 if isinstance(sides, int) else tuple(sides)


def _in_halves(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """The convolution of the first axis' two halves, each with a rim of the other."""
    rim, *others = padding
    whole, middle = functional.pad(x, (0, 0, 0, 0, rim, rim)), x.shape[2] // 2
    halves = torch.cat([whole[:, :, : middle + 2 * rim], whole[:, :, middle:]])
    found = torch.conv3d(halves, weight, bias, padding=(0, *others)).movedim(1, -1)
    # In channels-last the halves lie one behind the other as they are.
    return found.reshape(1, -1, *found.shape[2:]).movedim(-1, 1)


def _beside_a_copy(convolve: Any, x: Tensor, weight: Tensor, *others: Any, **named: Any) -> Tensor:
    if not _is_slow(x, weight):
        alone: Tensor = convolve(x, weight, *others, **named)
        return alone
    both: Tensor = convolve(torch.cat([x, x]), weight, *others, **named)
    return both[:1]


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Batch norm of each case: it keeps channels-last, where instance norm copies to the other layout."""
    if running_mean is not None or not use_input_stats:
        return functional.instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    cases = [functional.batch_norm(case, None, None, weight, bias, True, momentum, eps) for case in torch.split(x, 1)]
    return torch.cat(cases) if len(cases) > 1 else cases[0]


def group_norm(x: Tensor, *others: Any, **named: Any) -> Tensor:
    """By way of the other layout: in channels-last its gradient takes ten times as long."""
    found = functional.group_norm(x.contiguous(), *others, **named)
    return found.contiguous(memory_format=torch.channels_last_3d) if x.ndim == 5 else found


DETOURS: Mapping[Any, Any] = {
    torch.conv3d: conv3d,
    torch.conv_transpose3d: conv_transpose3d,
    functional.instance_norm: instance_norm,
    functional.group_norm: group_norm,
}
