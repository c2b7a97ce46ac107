"""The losses that come from cross entropy: a mean over voxels of a function of the true class's probability.

Under ``softmax`` the maps are one distribution a voxel, background first: N counts voxels, Σ runs over classes.
Under ``sigmoid`` every map is a distribution of its own, {class, rest}: N counts the voxels of all maps, and
−log s becomes −g log s −(1−g) log(1−s).
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from trainers.data.base import Head
from trainers.losses.base import Loss, Maps
from trainers.losses.boundary import proximity, target_distance
from trainers.losses.numerics import log, power
from trainers.losses.reductions import per_map


def true_probability(maps: Maps, head: Head) -> Tensor:
    """Probability of the class that the target says: (batch, *space) of softmax, (batch, class, *space) of sigmoid."""
    if head == "softmax":
        return (maps.prediction * maps.target).sum(1)
    return torch.where(maps.target > 0.5, maps.prediction, 1 - maps.prediction)


def at_true_class(weights: Tensor, rest: Tensor | float, maps: Maps, head: Head) -> Tensor:
    """Spread a weight per class over the voxels, to the shape of ``true_probability``.

    weights: (class,); rest: the weight of a sigmoid map's voxels outside the class, one or (class,).
    """
    per_class = (None, slice(None)) + (None,) * (maps.target.ndim - 2)
    if head == "softmax":
        return (weights[per_class] * maps.target).sum(1)
    outside = rest[per_class] if isinstance(rest, Tensor) else torch.full_like(weights[per_class], rest)
    return torch.where(maps.target > 0.5, weights[per_class], outside)


def inverse_frequency(maps: Maps) -> tuple[Tensor, Tensor]:
    """1/f of every class, f its share of the batch's voxels, and of the rest of every map; 0 where there is none."""
    voxels = maps.target.shape[0] * math.prod(maps.target.shape[2:])
    inside = maps.target.sum((0, *range(2, maps.target.ndim)), dtype=maps.prediction.dtype)
    inverse = [torch.where(n > 0, voxels / n.clamp_min(1), 0) for n in (inside, voxels - inside)]
    return inverse[0], inverse[1]


class EntropyLoss(Loss):
    """Mean over voxels of a weight times a function of the true class's probability.

    class_weights: one per class, not rescaled. Under sigmoid they weigh the maps, under softmax the voxels of
    the class; one short, they leave the background at 1.
    """

    def __init__(self, name: str, head: Head, class_weights: tuple[float, ...] | None = None) -> None:
        self.name = name
        self.head = head
        self.class_weights = class_weights
        self.needs_background = head == "softmax"

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        probability = true_probability(maps, self.head)
        values = self.voxel_loss(probability)
        weights = self.voxel_weights(maps)
        return self.reduce(values if weights is None else values * weights, probability)

    @abstractmethod
    def voxel_loss(self, probability: Tensor) -> Tensor:
        """Loss of a voxel whose true class has this probability."""

    def voxel_weights(self, maps: Maps) -> Tensor | None:
        """Weight of each voxel, or None for 1."""
        weights = self.given_weights(maps)
        return None if weights is None else at_true_class(weights, weights, maps, self.head)

    def reduce(self, values: Tensor, probability: Tensor) -> Tensor:  # noqa: ARG002 - TopK selects by it
        """Make one number of the voxels'."""
        return values.mean()

    def given_weights(self, maps: Maps) -> Tensor | None:
        """Give the class weights of the specification, one per map."""
        if self.class_weights is None:
            return None
        background = 1.0 if self.needs_background else None
        return maps.prediction.new_tensor(
            per_map("class_weights", self.class_weights, maps.target.shape[1], background)
        )


class CrossEntropyLoss(EntropyLoss):
    """−1/N ΣΣ g log s."""

    def voxel_loss(self, probability: Tensor) -> Tensor:
        """−log s of the true class."""
        return -log(probability)


class WeightedCrossEntropyLoss(CrossEntropyLoss):
    """−1/N ΣΣ w_c g log s (Ronneberger 2015).

    Unless given, w_c = 1/(K f_c), f_c the class's share of the batch's voxels and K the number of classes that
    occur, so that every class that occurs weighs the same and the weights average 1 over the voxels. Under
    sigmoid the classes of a map are itself and its rest; a given w_c then weighs the class, and its rest has 1.
    """

    def voxel_weights(self, maps: Maps) -> Tensor:
        """w_c of the true class."""
        given = self.given_weights(maps)
        if given is not None:
            return at_true_class(given, 1.0, maps, self.head)
        inside, outside = inverse_frequency(maps)
        if self.head == "softmax":
            return at_true_class(inside / (inside > 0).sum(), 0.0, maps, self.head)
        occurring = (inside > 0).to(inside) + (outside > 0).to(inside)
        return at_true_class(inside / occurring, outside / occurring, maps, self.head)


class TopKLoss(CrossEntropyLoss):
    """Cross entropy over the worst ``k`` [%] of the batch's voxels, or over those with s < ``t`` (Wu 2016)."""

    def __init__(
        self, name: str, head: Head, class_weights: tuple[float, ...] | None, k: float, t: float | None
    ) -> None:
        super().__init__(name, head, class_weights)
        self.k = k
        self.t = t

    def reduce(self, values: Tensor, probability: Tensor) -> Tensor:
        """Average the hard voxels; 0 if none is below ``t``."""
        if self.t is not None:
            hard = probability < self.t
            return torch.where(hard, values, 0).sum() / hard.sum().clamp_min(1)
        kept = max(1, math.ceil(values.numel() * self.k / 100))
        return values.flatten().topk(kept, sorted=False).values.mean()


class FocalLoss(EntropyLoss):
    """−1/N ΣΣ (1−s)^γ g log s (Lin 2017)."""

    def __init__(self, name: str, head: Head, class_weights: tuple[float, ...] | None, gamma: float) -> None:
        super().__init__(name, head, class_weights)
        self.gamma = gamma

    def voxel_loss(self, probability: Tensor) -> Tensor:
        """−(1−s)^γ log s of the true class."""
        return -power(1 - probability, self.gamma) * log(probability)


class DistancePenalisedLoss(CrossEntropyLoss):
    """−1/N ΣΣ (1+D_c) g log s, D = 1−|φ_G|/max|φ_G| on either side of the boundary of g (Caliva 2019).

    Scaled to [0, 1), so that the weight knows no unit; an empty or full map has D = 0.
    """

    needs_distance = True

    def voxel_weights(self, maps: Maps) -> Tensor:
        """1 + D of the true class."""
        closeness = proximity(target_distance(maps))
        if self.head == "softmax":
            closeness = (closeness * maps.target).sum(1)
        weights = super().voxel_weights(maps)
        return 1 + closeness if weights is None else (1 + closeness) * weights


class LogarithmicEntropyLoss(EntropyLoss):
    """1/N Σ w_c (−ln s)^γ, w_c = (Σf/f_c)^½ (Wong 2018); the weights come from the batch's frequencies f."""

    def __init__(self, name: str, head: Head, gamma: float) -> None:
        super().__init__(name, head)
        self.gamma = gamma

    def voxel_loss(self, probability: Tensor) -> Tensor:
        """(−ln s)^γ of the true class."""
        return power(-log(probability), self.gamma)

    def voxel_weights(self, maps: Maps) -> Tensor:
        """w_c of the true class; a class's and its map's rest's under sigmoid."""
        inside, outside = inverse_frequency(maps)
        return at_true_class(inside.sqrt(), outside.sqrt(), maps, self.head)
