"""Dice for labels of which some are missing: the loss is told which, and does not take them for empty."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.losses.base import Maps
from trainers.losses.reductions import Overlap, Partition, overlap
from trainers.losses.region import DICE, OverlapLoss


class LeafDiceLoss(OverlapLoss):
    """Dice over the φ with Σg > 0, of the maps that are labelled (Fidon 2021).

    The others leave both the sum and the count, and their gradient is exactly 0; 0 if none is left.
    """

    def __init__(self, name: str, partition: Partition) -> None:
        super().__init__(name, partition, DICE)

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        sums = _labelled(overlap(maps.prediction, maps.target), maps.presence)
        sums = self.partition.pool_overlap(sums)
        scores = self.mixture.score(sums, self.partition.eps_for(sums.true))
        return self.partition.mean(1 - scores, keep=sums.true > 0)


class MarginalDiceLoss(OverlapLoss):
    """Dice with background over the labelled maps; s and g of the missing classes join the background (Shi 2021).

    With everything labelled it is Dice with background. A labelled map that is empty counts. Under sigmoid
    there is no background that a missing class could join, and its map only leaves sum and count.
    """

    def __init__(self, name: str, partition: Partition) -> None:
        super().__init__(name, partition, DICE)

    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""
        prediction, target, presence = maps.prediction, maps.target, maps.presence
        if presence is not None and self.needs_background:
            joins = ~presence
            joins[:, 0] = True
            joins = joins[(...,) + (None,) * (prediction.ndim - 2)]
            prediction, target = (
                torch.cat([(part * joins).sum(1, keepdim=True, dtype=part.dtype), part[:, 1:]], dim=1)
                for part in (prediction, target)
            )
        sums = self.partition.pool_overlap(_labelled(overlap(prediction, target), presence))
        scores = self.mixture.score(sums, self.partition.eps_for(sums.true))
        keep = None if presence is None else self.partition.pool(presence.to(scores.dtype)) > 0
        return self.partition.mean(1 - scores, keep)


def _labelled(sums: Overlap, presence: Tensor | None) -> Overlap:
    """Take the maps without a label out of the sums."""
    if presence is None:
        return sums
    given = presence.to(sums.both.dtype)
    return Overlap(sums.both * given, sums.predicted * given, sums.true * given)
