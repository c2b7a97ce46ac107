"""Scores of a network on held-out cases, each in the space that its label came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.data.base import voxel_ml
from trainers.data.geometry.grid import PatchGrid, Shape
from trainers.data.prepared.read import PreparedData
from trainers.forward import Runtime
from trainers.metrics import CaseScore, score_case

WINDOWS = 4
"""Windows of a case that are predicted together."""


@torch.no_grad()
def score_cases(
    network: nn.Module,
    data: PreparedData,
    indices: Sequence[int],
    hidden: NDArray[np.bool_],
    computing: Runtime,
    overlap: float,
    tolerance_ml: float = 0.0,
) -> list[CaseScore]:
    """Scores of every class of the cases ``indices`` against their full labels, where these were drawn.

    hidden: (case of the whole data, class) maps that the labeling empties, for the ``emptied`` flag alone;
    overlap: of the windows where a case is larger than the patch; tolerance_ml: as of ``score_case``.
    """
    network.eval()
    scores: list[CaseScore] = []
    for index in indices:
        probabilities = _predict_case(network, data, index, computing, overlap)
        truth = data.truths[index]
        if truth is None:
            maps = computing.harden(probabilities[None])[0].cpu().numpy()
            full, sides = data.labels[index].astype(bool), data.spacing[index].tolist()
        else:
            maps = lay_back(probabilities, truth.grid, computing)
            full, sides = truth.maps(len(data.classes)), truth.spacing
        space = tuple(range(1, full.ndim))
        overlaps, predicted, true = (one.sum(axis=space).tolist() for one in (maps & full, maps, full))
        scores += score_case(
            data.cases[index],
            data.classes,
            overlaps,
            predicted,
            true,
            emptied=hidden[index].tolist(),
            voxel_ml=voxel_ml(sides),
            tolerance_ml=tolerance_ml,
        )
    return scores


@torch.no_grad()
def find_maps(
    network: nn.Module, data: PreparedData, index: int, computing: Runtime, overlap: float
) -> NDArray[np.bool_]:
    """Maps (class, *space) that the network finds in one prepared case, in the prepared space."""
    network.eval()
    found = computing.harden(_predict_case(network, data, index, computing, overlap)[None])
    maps: NDArray[np.bool_] = found[0].cpu().numpy()
    return maps


def _predict_case(network: nn.Module, data: PreparedData, index: int, computing: Runtime, overlap: float) -> Tensor:
    image = computing.tensor(np.array(data.images[index])[np.newaxis])
    return predict(network, image, data.patch, computing, overlap)[0]


def predict(network: nn.Module, image: Tensor, patch: Shape, computing: Runtime, overlap: float) -> Tensor:
    """Probabilities (1, map, *space) of one prepared image (1, channel, *space).

    An image larger than the patch is covered by windows, whose middles count more where they overlap.
    """
    if tuple(image.shape[2:]) == tuple(patch):
        return computing.probabilities(computing.logits(network, image))
    # Imported where it is used: MONAI takes seconds, and most trials need none of it.
    from monai.inferers import sliding_window_inference

    found: Tensor = sliding_window_inference(
        image,
        patch,
        WINDOWS,
        lambda windows: computing.probabilities(computing.logits(network, windows)),
        overlap=overlap,
        mode="gaussian",
    )
    return found


def lay_back(probabilities: Tensor, grid: PatchGrid, computing: Runtime) -> NDArray[np.bool_]:
    """Maps (class, *source) of the prediction in the files' own space; beyond the prepared case nothing is found.

    probabilities: (map, *space) of the prepared case, which lies in the files' space as ``grid`` says; brought back
    by linear interpolation before the threshold.
    """
    box, values = grid.restore(probabilities.cpu().numpy())
    found = computing.harden(torch.from_numpy(np.ascontiguousarray(values))[None])[0].numpy()
    maps = np.zeros((len(found), *grid.source), dtype=bool)
    maps[(slice(None), *box)] = found
    return maps
