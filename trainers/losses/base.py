"""What every loss is: a callable on maps, with what it needs of the caller said beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainers.errors import Fault, InputError


@dataclass(frozen=True)
class Maps:
    """The arguments of one call, checked.

    prediction: (batch, class, *space), float32 or float64, in [0, 1];
    target: the same shape, any dtype but bool, 0 or 1;
    presence: (batch, class) bool, or None where every class is labelled everywhere;
    distance: signed distances of the target, with or without the background's, or None where they must be computed;
    spacing: size of a voxel of each case along each axis of space, (batch, axis), or None for 1.
    """

    prediction: Tensor
    target: Tensor
    presence: Tensor | None = None
    distance: Tensor | None = None
    spacing: tuple[tuple[float, ...], ...] | None = None

    def foreground(self) -> Maps:
        """Leave out the first map, which is the background."""
        distance = self.distance
        if distance is not None and distance.shape[1] == self.prediction.shape[1]:
            distance = distance[:, 1:]
        return replace(
            self,
            prediction=self.prediction[:, 1:],
            target=self.target[:, 1:],
            presence=None if self.presence is None else self.presence[:, 1:],
            distance=distance,
        )


class Loss(ABC):
    """A loss by name. Call it with probabilities and a 0/1 target, both (batch, class, *space).

    name: as in ``TAXONOMY``; a sum joins its terms by ``+``.
    needs_background: pass all maps with the background first. Otherwise pass only the maps that the loss
    shall see, which under softmax are the foreground maps.
    needs_distance: uses the target's signed distance maps; they are computed at every call unless given.
    """

    name: str
    needs_background: bool = False
    needs_distance: bool = False

    def __call__(
        self,
        prediction: Tensor,
        target: Tensor,
        presence: Tensor | None = None,
        distance: Tensor | None = None,
        spacing: Sequence[float] | Sequence[Sequence[float]] | None = None,
    ) -> Tensor:
        """Compute the loss, in float32 or wider whatever the dtype of ``prediction``.

        presence: (batch, class) bool, False where a case has no label of the class; the background may be left
        out. Only the losses for partial labels heed it; to the others a missing label is an empty map.
        distance: signed distances of the target, (batch, class, *space), as ``distance.signed_distance`` gives
        them; the background may be left out.
        spacing: voxel size per axis of space, of all cases or of each, for distances that are computed here; default 1.

        Returns: a scalar tensor. Raises: InputError if shapes or lengths do not fit.
        """
        maps = check_maps(self, prediction, target, presence, distance, spacing)
        return self.compute(maps).to(maps.prediction.dtype)

    @abstractmethod
    def compute(self, maps: Maps) -> Tensor:
        """Compute the loss of checked maps, a scalar."""


def check_maps(
    loss: Loss,
    prediction: Tensor,
    target: Tensor,
    presence: Tensor | None,
    distance: Tensor | None,
    spacing: Sequence[float] | Sequence[Sequence[float]] | None,
) -> Maps:
    """Bring the arguments of a call into one form.

    Raises: InputError with everything that does not fit.
    """
    faults = []
    if prediction.ndim < 3 or prediction.shape != target.shape:
        faults.append(
            Fault(
                f"loss {loss.name!r}",
                f"prediction is {tuple(prediction.shape)} and target {tuple(target.shape)}",
                "give both as (batch, class, *space)",
            )
        )
        raise InputError(faults)
    batch, count = prediction.shape[:2]
    if presence is not None:
        if loss.needs_background and presence.shape == (batch, count - 1):
            presence = torch.cat([torch.ones_like(presence[:, :1]), presence], dim=1)
        if presence.shape != (batch, count):
            faults.append(
                Fault(
                    f"loss {loss.name!r}",
                    f"presence is {tuple(presence.shape)}",
                    f"expected (batch, class) = {(batch, count)}",
                )
            )
        presence = presence.to(device=prediction.device, dtype=torch.bool)
    if distance is not None:
        short = (batch, count - 1, *prediction.shape[2:])
        if distance.shape != prediction.shape and not (loss.needs_background and distance.shape == short):
            faults.append(
                Fault(
                    f"loss {loss.name!r}",
                    f"distance is {tuple(distance.shape)}",
                    f"expected the target's shape {tuple(target.shape)}",
                )
            )
    sides = None if spacing is None else np.asarray(spacing, dtype=np.float64)
    if sides is not None and sides.shape not in ((prediction.ndim - 2,), (batch, prediction.ndim - 2)):
        faults.append(
            Fault(
                f"loss {loss.name!r}",
                f"spacing has {sides.shape[-1] if sides.ndim == 1 else sides.shape} numbers",
                f"expected one per axis of space, {prediction.ndim - 2}",
            )
        )
    if faults:
        raise InputError(faults)
    wide = prediction.dtype if prediction.dtype == torch.float64 else torch.float32
    return Maps(
        prediction.to(wide),
        target.byte() if target.dtype == torch.bool else target,
        presence,
        distance,
        None if sides is None else tuple(map(tuple, np.broadcast_to(sides, (batch, prediction.ndim - 2)).tolist())),
    )


class WeightedSum(Loss):
    """Σ wₖ Lₖ; a term that needs no background gets the foreground maps when another one needs all."""

    def __init__(self, name: str, terms: Sequence[tuple[float, Loss]]) -> None:
        self.name = name
        self.terms = tuple(terms)
        self.needs_background = any(term.needs_background for _, term in self.terms)
        self.needs_distance = any(term.needs_distance for _, term in self.terms)

    def compute(self, maps: Maps) -> Tensor:
        """Sum the terms, each on the maps it asks for."""
        foreground = maps.foreground() if self.needs_background else maps
        values = [weight * term.compute(maps if term.needs_background else foreground) for weight, term in self.terms]
        return torch.stack([value.to(values[0].dtype) for value in values]).sum()
