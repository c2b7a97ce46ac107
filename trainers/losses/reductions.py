"""Sums of the maps, and the partition Φ that pools them: all that a region loss sees of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainers.errors import Fault, InputError
from trainers.losses.taxonomy import Phi

POOLED_AXES: dict[Phi, tuple[int, ...]] = {"I": (), "CI": (1,), "BI": (0,), "BCI": (0, 1)}
"""Axes of (batch, class) that one φ spans, beside all of space."""

BACKGROUND_EPS = 1e-7
"""ε [voxels] of the background where one is given per foreground class: a background is never empty, so any
negligible value does."""


def _by_map(maps: Tensor) -> bool:
    """Whether to work on one map after the other, as is best on the CPU, or on everything at once.

    The product of a map goes where the last map's was. A whole batch's would be fresh memory at every call,
    whose page faults take longer than the sums; a GPU keeps its memory, and there starting a kernel is what costs.
    """
    return maps.device.type == "cpu"


def _pieces(maps: Tensor) -> Sequence[Tensor]:
    """Split (batch, class, *space) into what is worked on at once."""
    return maps.flatten(0, 1).unbind() if _by_map(maps) else (maps,)


def _cast(maps: Tensor, out: Tensor) -> Tensor:
    """Give ``maps`` in the dtype of ``out``, copied into it where it must be."""
    return maps if maps.dtype == out.dtype else out.copy_(maps)


class _Overlap(torch.autograd.Function):
    """Σgs, Σs and Σg over space, with a gradient written out.

    It is d_gs·g + d_s, one pass over the target; autograd would keep the product's factors and build two
    gradients to add them.
    """

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(target)
        ctx.dtype = prediction.dtype
        space = tuple(range(2 - prediction.ndim, 0))
        predicted = prediction.sum(space)
        both, true = [], []
        pieces = _pieces(prediction)
        work = torch.empty_like(pieces[0])
        for one, other in zip(pieces, _pieces(target), strict=True):
            both.append(torch.mul(one, other, out=work).sum(space))
            true.append(_cast(other, work).sum(space))
        sums = (torch.stack(both).view_as(predicted), predicted, torch.stack(true).view_as(predicted))
        wide = tuple(part.double() for part in sums)
        ctx.mark_non_differentiable(wide[2])
        return wide

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_both: Tensor, d_predicted: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (target,) = ctx.saved_tensors
        if not _by_map(target):
            spread = (...,) + (None,) * (target.ndim - 2)
            slope, offset = d_both[spread].to(ctx.dtype), d_predicted[spread].to(ctx.dtype)
            return torch.addcmul(offset, target, slope).to(ctx.dtype), None
        gradient = torch.empty(target.shape, dtype=ctx.dtype)
        slopes, offsets = d_both.flatten().tolist(), d_predicted.flatten().to(ctx.dtype)
        for out, one, slope, offset in zip(_pieces(gradient), _pieces(target), slopes, offsets, strict=True):
            torch.add(offset, _cast(one, out), alpha=slope, out=out)
        return gradient, None


@dataclass(frozen=True)
class Overlap:
    """Per map: both = Σgs, predicted = Σs, true = Σg [voxels]; (batch, class) float64, or as Φ pools them.

    float64, because 1 beside ε = 1e-7, and an empty map's gradient ε/(Σs+ε)² beside a labelled one's, are out
    of reach of float32, and a handful of numbers costs nothing.
    """

    both: Tensor
    predicted: Tensor
    true: Tensor


def overlap(prediction: Tensor, target: Tensor) -> Overlap:
    """Sum over space, differentiable once with respect to ``prediction``; both (batch, class, *space)."""
    both, predicted, true = _Overlap.apply(prediction, target)  # type: ignore[no-untyped-call]
    return Overlap(both, predicted, true)


@dataclass(frozen=True)
class Partition:
    """Φ with its ε: how (batch, class) sums become one number per φ, and those one loss.

    eps: ε [voxels], or one per class where a φ holds a single class (Φ = I, BI).
    class_weights: scaled to a mean of 1, so that ε keeps its meaning. They weigh the mean over φ, or, where a
    φ spans the classes, the classes' sums inside it.
    background: the first map is the background; ``eps`` and ``class_weights`` may then leave it out.
    """

    phi: Phi
    eps: float | tuple[float, ...]
    class_weights: tuple[float, ...] | None = None
    background: bool = False

    @property
    def spans_classes(self) -> bool:
        """Whether a φ holds several classes."""
        return 1 in POOLED_AXES[self.phi]

    def pool(self, sums: Tensor) -> Tensor:
        """(batch, class) sums to one per φ, with the pooled axes kept at length 1."""
        if self.spans_classes and self.class_weights is not None:
            sums = sums * self._weights(sums)
        axes = POOLED_AXES[self.phi]
        return sums.sum(axes, keepdim=True) if axes else sums

    def pool_overlap(self, sums: Overlap) -> Overlap:
        """All three sums, pooled."""
        return Overlap(self.pool(sums.both), self.pool(sums.predicted), self.pool(sums.true))

    def eps_for(self, pooled: Tensor) -> float | Tensor:
        """ε, ready to be added to pooled sums."""
        if isinstance(self.eps, float):
            return self.eps
        first = BACKGROUND_EPS if self.background else None
        return pooled.new_tensor(per_map("eps", self.eps, pooled.shape[1], first))

    def mean(self, values: Tensor, keep: Tensor | None = None) -> Tensor:
        """Average pooled ``values`` over φ, or over those in ``keep`` (bool, same shape); 0 if none is kept."""
        weights = None if self.spans_classes else self.class_weights
        return weighted_mean(values, weights, keep, background=self.background)

    def _weights(self, values: Tensor) -> Tensor:
        return class_weights(values, self.class_weights or (), background=self.background)


def class_weights(values: Tensor, given: Sequence[float], *, background: bool) -> Tensor:
    """Scale the given weights to a mean of 1, the background, if left out, having the mean weight."""
    first = sum(given) / max(len(given), 1) if background else None
    weights = values.new_tensor(per_map("class_weights", given, values.shape[-1], first))
    return weights / weights.mean()


def weighted_mean(
    values: Tensor, given: Sequence[float] | None, keep: Tensor | None = None, *, background: bool = False
) -> Tensor:
    """Average (…, class) values with one weight per class, over those in ``keep``; 0 if none is kept."""
    if given is None and keep is None:
        return values.mean()
    weights = torch.ones_like(values)
    if given is not None:
        weights = weights * class_weights(values, given, background=background)
    if keep is not None:
        weights = weights * keep
    return (values * weights).sum() / weights.sum().clamp_min(torch.finfo(values.dtype).tiny)


def per_map(name: str, values: Sequence[float], count: int, background: float | None = None) -> tuple[float, ...]:
    """One value per map; ``background``, where given, is put first if the values are one short.

    Raises: InputError if there are not ``count`` values.
    """
    if background is not None and len(values) == count - 1:
        return (background, *values)
    if len(values) != count:
        raise InputError(Fault(name, f"{len(values)} numbers for {count} maps", "give one per class"))
    return tuple(values)
