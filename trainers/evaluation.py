"""The forward pass, and the scoring of a network on held-out cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.batch import Batch
from trainers.data.base import Head
from trainers.data.prepared import PreparedData
from trainers.metrics import CaseScore, score_case
from trainers.spec import ProtocolSpec

TrialLoss = Callable[[Tensor, Batch], Tensor]
"""Loss of probabilities (batch, map, *space) on a batch."""


@dataclass(frozen=True)
class Computing:
    """Where and how precisely tensors are computed."""

    device: torch.device
    precision: str
    head: Head

    @classmethod
    def of(cls, protocol: ProtocolSpec, head: Head, device: str) -> Computing:
        """As the protocol asks, on ``device``."""
        return cls(torch.device(device), protocol.precision, head)

    def autocast(self) -> torch.autocast:
        """Context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """A float32 tensor (batch, map, *space) on the device, in the layout that convolutions like best."""
        # Measured on the CPU: channels-last makes a training step 1.2 (fp32) to 1.3 (bf16) times as fast.
        layout = torch.channels_last_3d if array.ndim == 5 else torch.channels_last
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, torch.float32, memory_format=layout)

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Logits (batch, map, *space) in float32."""
        # A batch of one takes a slow 3-D convolution in torch on the CPU (fp32: 3 times the time of a batch
        # of two). No layer of ours mixes cases, so a twin that is dropped changes nothing but the speed.
        alone = len(images) == 1 and self.device.type == "cpu" and self.precision == "fp32"
        with self.autocast():
            output: Tensor = network(torch.cat([images, images]) if alone else images)
        return (output[:1] if alone else output).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid per map, or softmax over the maps, background first."""
        return logits.sigmoid() if self.head == "sigmoid" else logits.softmax(dim=1)

    def harden(self, logits: Tensor) -> Tensor:
        """Foreground maps (batch, class, *space) bool: probability above ½, or the likeliest map."""
        if self.head == "sigmoid":
            return logits > 0
        winner = logits.argmax(dim=1, keepdim=True)
        maps = torch.arange(1, logits.shape[1], device=logits.device).view(1, -1, *[1] * (logits.ndim - 2))
        return winner == maps


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: PreparedData,
    indices: Sequence[int],
    hidden: NDArray[np.bool_],
    distances: bool,
    batch_size: int,
    computing: Computing,
    loss: TrialLoss,
) -> tuple[float, list[CaseScore]]:
    """Mean loss under the labeling in force, and scores against the full labels.

    indices: cases to look at; hidden: (case of the whole data, class) maps that the labeling empties, for
    the loss and the ``emptied`` flag alone; distances: whether the loss needs them. The order of ``indices``
    decides which cases share a batch, as a batch-wise loss can tell.
    """
    losses: list[float] = []
    scores: list[CaseScore] = []
    for start in range(0, len(indices), batch_size):
        chosen = list(indices[start : start + batch_size])
        batch = Batch.of(data, chosen, hidden, distances)
        labels = data.labels[chosen]
        logits = computing.logits(network, computing.tensor(batch.images))
        losses.append(float(loss(computing.probabilities(logits), batch)) * len(chosen))
        maps = computing.harden(logits)
        truth = torch.from_numpy(labels).to(computing.device).bool()
        space = tuple(range(2, labels.ndim))
        overlap, predicted, true = (values.sum(dim=space).tolist() for values in (maps & truth, maps, truth))
        for row, index in enumerate(chosen):
            scores += score_case(
                data.cases[index],
                data.classes,
                overlap[row],
                predicted[row],
                true[row],
                emptied=hidden[index].tolist(),
                voxel_ml=float(data.voxel_ml[index]),
            )
    return math.fsum(losses) / len(indices), scores
