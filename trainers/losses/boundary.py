"""Distance maps of a label with the voxel spacing respected, and the losses that weigh a mismatch by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainers.data.geometry.distances import signed_distance
from trainers.losses.base import Loss, Maps
from trainers.losses.reductions import weighted_mean


def batch_distance(maps: Tensor, spacing: Sequence[float] | Sequence[Sequence[float]] | None = None) -> Tensor:
    """``signed_distance`` of a batch, (batch, class, *space), computed on the CPU.

    spacing: of all cases, or of each.
    """
    cases = maps.detach().float().cpu().numpy()
    sides = None if spacing is None else np.broadcast_to(np.asarray(spacing), (len(cases), maps.ndim - 2)).tolist()
    found = [signed_distance(case, None if sides is None else sides[at]) for at, case in enumerate(cases)]
    return torch.from_numpy(np.stack(found)).to(maps.device)


def target_distance(maps: Maps) -> Tensor:
    """Give the target's signed distances in the prediction's dtype, and compute what the caller has left out."""
    given = maps.distance
    if given is None:
        given = batch_distance(maps.target, maps.spacing)
    elif given.shape[1] < maps.target.shape[1]:
        given = torch.cat([batch_distance(maps.target[:, :1], maps.spacing).to(given), given], dim=1)
    return given.to(device=maps.prediction.device, dtype=maps.prediction.dtype)


class DistanceLoss(Loss):
    """A mean over maps and voxels, weighted by distances; ``background`` adds the background to the maps."""

    needs_distance = True

    def __init__(self, name: str, class_weights: tuple[float, ...] | None = None, *, background: bool = False) -> None:
        self.name = name
        self.class_weights = class_weights
        self.needs_background = background

    def mean(self, values: Tensor) -> Tensor:
        """Average (batch, class, *space) over everything."""
        per_class = values.mean((0, *range(2, values.ndim)))
        return weighted_mean(per_class, self.class_weights, background=self.needs_background)


class BoundaryLoss(DistanceLoss):
    """mean φ_G s, φ_G the signed distance of g, negative inside (Kervadec 2018); minimal, and negative, at s = g."""

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        return self.mean(target_distance(maps) * maps.prediction)


class HausdorffLoss(DistanceLoss):
    """mean (s−g)²(D_G^α + D_S^α), D the distance from the boundary, that of s taken at ½ (Karimi 2019).

    D_S is computed anew at every call, on the CPU.
    """

    def __init__(
        self, name: str, class_weights: tuple[float, ...] | None, alpha: float, *, background: bool = False
    ) -> None:
        super().__init__(name, class_weights, background=background)
        self.alpha = alpha

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        predicted = batch_distance(maps.prediction, maps.spacing).to(maps.prediction.dtype)
        weights = target_distance(maps).abs() ** self.alpha + predicted.abs() ** self.alpha
        return self.mean((maps.prediction - maps.target).square() * weights)


def proximity(distance: Tensor) -> Tensor:
    """Invert a signed distance map on either side: 1 − |φ|/max|φ|, in [0, 1); 0 where there is no boundary."""
    space = tuple(range(2, distance.ndim))
    closeness = torch.zeros_like(distance)
    for side in (distance.clamp_min(0), (-distance).clamp_min(0)):
        furthest = side.amax(space, keepdim=True).clamp_min(torch.finfo(side.dtype).tiny)
        closeness = torch.where(side > 0, 1 - side / furthest, closeness)
    return closeness
