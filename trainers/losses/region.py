"""The region losses: ratios of sums over φ, with ε in voxels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.losses.base import Loss, Maps
from trainers.losses.numerics import power
from trainers.losses.reductions import POOLED_AXES, Overlap, Partition, overlap


@dataclass(frozen=True)
class Mixture:
    """A member of the family (k·TP+ε)/(k·(TP + α·FP + β·FN)+ε), TP = Σgs, FP = Σ(1−g)s, FN = Σg(1−s).

    scale: k. Dice counts 2 TP beside its ε, and IoU and Tversky count TP: Dice is (½, ½, 2), so that Tversky
    with α = β = ½ and ε is Dice with 2ε.
    """

    alpha: float
    beta: float
    scale: float = 1.0

    def score(self, sums: Overlap, eps: float | Tensor) -> Tensor:
        """Give the overlap per φ, in [0, 1]; ε in the numerator too makes an empty map predicted empty score 1."""
        hit = self.scale * sums.both + eps
        alpha, beta = self.scale * self.alpha, self.scale * self.beta
        # k(α(Σs−Σgs) + β(Σg−Σgs)), in the fewest operations: on a small map they cost as much as the sums.
        whole = hit.add(sums.predicted, alpha=alpha).add(sums.true, alpha=beta).sub(sums.both, alpha=alpha + beta)
        return hit / whole


DICE = Mixture(0.5, 0.5, 2.0)
IOU = Mixture(1.0, 1.0)


def asymmetric_mixture(beta: float) -> Mixture:
    """Tversky with the false negatives β² times as heavy as the false positives (Hashemi 2019)."""
    return Mixture(1 / (1 + beta**2), beta**2 / (1 + beta**2))


class RegionLoss(Loss):
    """A loss over Φ; ``background`` adds the background map to the classes."""

    def __init__(self, name: str, partition: Partition) -> None:
        self.name = name
        self.partition = partition
        self.needs_background = partition.background


class OverlapLoss(RegionLoss):
    """mean_φ (1 − score)^(1/γ): Dice, IoU, Tversky, asymmetric similarity (γ = 1), focal Tversky."""

    def __init__(self, name: str, partition: Partition, mixture: Mixture, gamma: float = 1.0) -> None:
        super().__init__(name, partition)
        self.mixture = mixture
        self.gamma = gamma

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        scores = self.scores(maps)
        return self.partition.mean(1 - scores if self.gamma == 1 else power(1 - scores, 1 / self.gamma))

    def scores(self, maps: Maps) -> Tensor:
        """Give the overlap of each φ; (batch, class), an axis that Φ pools having length 1."""
        sums = self.partition.pool_overlap(overlap(maps.prediction, maps.target))
        return self.mixture.score(sums, self.partition.eps_for(sums.true))


class SquaredDiceLoss(RegionLoss):
    """1 − mean_φ (2Σgs+ε)/(Σg²+Σs²+ε) (Milletari 2016); its gradient differs from voxel to voxel."""

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        space = tuple(range(2, maps.prediction.ndim))
        target = maps.target.to(maps.prediction.dtype)
        both = self.partition.pool((maps.prediction * target).sum(space).double())
        squares = self.partition.pool((maps.prediction.square().sum(space) + target.square().sum(space)).double())
        eps = self.partition.eps_for(both)
        return self.partition.mean(1 - (2 * both + eps) / (squares + eps))


class SensitivitySpecificityLoss(RegionLoss):
    """mean_φ w Σ(g−s)²g/(Σg+ε) + (1−w) Σ(g−s)²(1−g)/(Σ(1−g)+ε) (Brosch 2015)."""

    def __init__(self, name: str, partition: Partition, w: float) -> None:
        super().__init__(name, partition)
        self.w = w

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        target = maps.target.to(maps.prediction.dtype)
        errors = overlap((target - maps.prediction).square(), target)
        voxels = target[0, 0].numel()
        missed, inside = self.partition.pool(errors.both), self.partition.pool(errors.true)
        false, outside = self.partition.pool(errors.predicted - errors.both), self.partition.pool(voxels - errors.true)
        eps = self.partition.eps_for(inside)
        return self.partition.mean(self.w * missed / (inside + eps) + (1 - self.w) * false / (outside + eps))


class GeneralisedDiceLoss(RegionLoss):
    """1 − mean (2Σ_c w_c Σgs+ε)/(Σ_c w_c Σ(g+s)+ε), w_c = 1/(Σg)² (Sudre 2017); L/(1+k(1−L)) with ``penalty``.

    The sum over classes is part of the formula, so Φ only says whether the batch is pooled: I and CI are one,
    and so are BI and BCI. ε stands beside weighted sums, which are of the size of 1/Σg and no longer voxels.
    absent_weight: w_c where Σg = 0, in place of the infinite one; None for the largest weight among the other
    classes of the sum, or 1 (that of a class of one voxel) where all are absent.
    """

    def __init__(
        self, name: str, partition: Partition, absent_weight: float | None = None, penalty: float = 0.0
    ) -> None:
        super().__init__(name, partition)
        self.absent_weight = absent_weight
        self.penalty = penalty

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        sums = overlap(maps.prediction, maps.target)
        if 0 in POOLED_AXES[self.partition.phi]:
            sums = Overlap(*(part.sum(0, keepdim=True) for part in (sums.both, sums.predicted, sums.true)))
        weights = self.weights(sums.true)
        both = (weights * sums.both).sum(1)
        total = (weights * (sums.predicted + sums.true)).sum(1)
        eps = self.partition.eps_for(both)
        loss = (1 - (2 * both + eps) / (total + eps)).mean()
        return loss / (1 + self.penalty * (1 - loss))

    def weights(self, true: Tensor) -> Tensor:
        """w_c from Σg, both (batch, class); finite whatever is absent."""
        present = true > 0
        weights = torch.where(present, 1 / torch.where(present, true, 1).square(), 0)
        if self.absent_weight is not None:
            given = torch.full_like(weights[:, :1], self.absent_weight)
        else:
            given = torch.where(present.any(1, keepdim=True), weights.amax(1, keepdim=True), 1)
        return torch.where(present, weights, given)
