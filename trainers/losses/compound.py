"""Losses made of a Dice part, which takes Φ and ε, and an entropy."""

from __future__ import annotations

from torch import Tensor

from trainers.losses.base import Maps
from trainers.losses.numerics import log, power
from trainers.losses.reductions import Partition
from trainers.losses.region import DICE, OverlapLoss


class ComboLoss(OverlapLoss):
    """a·E − (1−a)·mean_φ Dice, E = −1/N ΣΣ β g log s + (1−β)(1−g) log(1−s) (Taghanaki 2019).

    The entropy is binary whatever the head, as in its source; N counts the voxels of all maps. A perfect
    prediction gives −(1−a).
    """

    def __init__(self, name: str, partition: Partition, a: float, beta: float) -> None:
        super().__init__(name, partition, DICE)
        self.a = a
        self.beta = beta

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        target = maps.target.to(maps.prediction.dtype)
        entropy = -(
            self.beta * target * log(maps.prediction) + (1 - self.beta) * (1 - target) * log(1 - maps.prediction)
        ).mean()
        return self.a * entropy - (1 - self.a) * self.partition.mean(self.scores(maps))


class LogarithmicDiceLoss(OverlapLoss):
    """mean_φ (−ln Dice)^γ (Wong 2018)."""

    def __init__(self, name: str, partition: Partition, gamma: float) -> None:
        super().__init__(name, partition, DICE, gamma)

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        return self.partition.mean(power(-log(self.scores(maps)), self.gamma))
