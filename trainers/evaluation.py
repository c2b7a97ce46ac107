"""The forward pass, and the scoring of a network on held-out cases."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.batch import Batch
from trainers.data.base import Head
from trainers.data.prepared import PreparedData
from trainers.metrics import CaseScore, score_case
from trainers.networks import mixes_cases

TrialLoss = Callable[[Tensor, Batch], Tensor]
"""Loss of probabilities (batch, map, *space) on a batch."""
SMALL = 2**16
"""Voxels of a volume up to which channels-last is the faster layout on the CPU."""
SLOW_SLICE = 20480 // 16
"""Product of a volume's first two sides up to which a batch of one mostly goes through torch's slow 3-D
convolution: torch takes it where batch × channels × these two is 20480 at most, and channels are about 16."""


def use_device(name: str) -> torch.device:
    """The device, set up to give the same bits each time."""
    device = torch.device(name)
    if device.type == "cuda":
        # cuBLAS asks for it where its workspaces must not change results.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    return device


def preferred_layout(device: torch.device, space: Sequence[int]) -> torch.memory_format:
    """The layout of images with these sides that a training step is fastest in."""
    if len(space) == 2:
        return torch.channels_last
    # Measured on the CPU (bench.training): at 24×24×16 channels-last takes 0.85 of the time. Where caches are left
    # behind it takes 1.1 (fp32) to 1.25 (bf16) times: torch's instance norm copies to the other layout and back.
    large = device.type == "cpu" and math.prod(space) > SMALL
    return torch.contiguous_format if large else torch.channels_last_3d


@dataclass(frozen=True)
class Computing:
    """Where and how precisely tensors are computed."""

    device: torch.device
    precision: str
    head: Head
    twins: bool = True
    """Whether a batch of one may be computed beside a copy of itself; not where a network mixes cases."""

    def autocast(self) -> torch.autocast:
        """Context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """A float32 tensor (batch, map, *space) on the device, as ``arrange`` gives it."""
        return self.arrange(torch.from_numpy(array))

    def arrange(self, images: Tensor) -> Tensor:
        """The same images (batch, map, *space) on the device, in the layout that convolutions like best."""
        layout = preferred_layout(self.device, images.shape[2:])
        return images.to(self.device, torch.float32, memory_format=layout)

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Logits (batch, map, *space) in float32."""
        # A batch of one takes a slow 3-D convolution in torch on the CPU (fp32: 3 times the time of a batch
        # of two). Where no layer mixes cases, a twin that is dropped changes nothing but the speed.
        slow = self.device.type == "cpu" and self.precision == "fp32" and images.ndim == 5
        slow &= math.prod(images.shape[2:4]) <= SLOW_SLICE
        alone = slow and len(images) == 1 and self.twins
        with self.autocast():
            output: Tensor = network(torch.cat([images, images]) if alone else images)
        return (output[:1] if alone else output).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid per map, or softmax over the maps, background first."""
        return logits.sigmoid() if self.head == "sigmoid" else logits.softmax(dim=1)

    def harden(self, probabilities: Tensor) -> Tensor:
        """Foreground maps (batch, class, *space) bool: probability above ½, or the likeliest map."""
        if self.head == "sigmoid":
            return probabilities > 0.5
        winner = probabilities.argmax(dim=1, keepdim=True)
        maps = torch.arange(1, probabilities.shape[1], device=probabilities.device)
        return winner == maps.view(1, -1, *[1] * (probabilities.ndim - 2))


def place(
    network: nn.Module, precision: str, head: Head, patch: Sequence[int], device: torch.device
) -> tuple[nn.Module, Computing]:
    """The network on the device in the layout that its patches are fastest in, and how it is computed with.

    Training and prediction alike: another layout would change the last bits.
    """
    layout = preferred_layout(device, patch)
    placed: nn.Module = network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch leaves it out
    return placed, Computing(device, precision, head, twins=not mixes_cases(network))


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: PreparedData,
    batches: Iterable[tuple[Sequence[int], Batch]],
    computing: Computing,
    loss: TrialLoss,
) -> tuple[float, list[CaseScore]]:
    """Mean loss under the labeling in force, and scores of the same patches against the full labels.

    batches: the cases to look at, with their indices; which of them share one a batch-wise loss can tell.
    """
    network.eval()
    losses: list[float] = []
    scores: list[CaseScore] = []
    for chosen, batch in batches:
        probabilities = computing.probabilities(computing.logits(network, computing.arrange(batch.images)))
        losses.append(float(loss(probabilities, batch)) * len(chosen))
        maps, truth = computing.harden(probabilities), batch.labels.bool()
        space = tuple(range(2, truth.ndim))
        overlap, predicted, true = (values.sum(dim=space).tolist() for values in (maps & truth, maps, truth))
        for row, index in enumerate(chosen):
            scores += score_case(
                data.cases[index],
                data.classes,
                overlap[row],
                predicted[row],
                true[row],
                emptied=batch.hidden[row].tolist(),
                voxel_ml=float(data.voxel_ml[index]),
            )
    return math.fsum(losses) / (len(scores) // len(data.classes)), scores
