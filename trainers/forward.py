"""The forward pass, and the scoring of a network on held-out cases."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.batch import Batch
from trainers.cpu_kernels import CpuKernels
from trainers.data.base import Head
from trainers.data.prepared.read import PreparedData
from trainers.errors import Fault, InputError
from trainers.metrics import CaseScore, score_case

TrialLoss = Callable[[Tensor, Batch], Tensor]
"""Loss of probabilities (batch, map, *space) on a batch."""
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of a tensor's axes, the layout that convolutions like best."""


def use_device(name: str) -> torch.device:
    """The device, set up to give the same bits each time. Raises: InputError where this machine has none such."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(Fault("--device cuda", "no such device on this machine", "give --device cpu"))
    device = torch.device(name)
    if device.type == "cuda":
        # cuBLAS asks for it where its workspaces must not change results.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        # It would write NaN into all new memory; that finds faults, and costs time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


@dataclass(frozen=True)
class Runtime:
    """Where and how precisely tensors are computed."""

    device: torch.device
    precision: str
    head: Head

    def autocast(self) -> torch.autocast:
        """Context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """A float32 tensor (batch, map, *space) on the device, as ``arrange`` gives it."""
        return self.arrange(torch.from_numpy(array))

    def arrange(self, images: Tensor) -> Tensor:
        """The same images (batch, map, *space) on the device, in the layout that convolutions like best."""
        return images.to(self.device, torch.float32, memory_format=LAYOUTS[images.ndim])

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Logits (batch, map, *space) in float32."""
        with self.autocast(), CpuKernels() if self.device.type == "cpu" else nullcontext():
            output: Tensor = network(images)
        return output.float()

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
) -> tuple[nn.Module, Runtime]:
    """The network on the device in the layout that its patches are fastest in, and how it is computed with.

    Training and prediction alike: another layout would change the last bits.
    """
    layout = LAYOUTS[2 + len(patch)]
    placed: nn.Module = network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch leaves it out
    return placed, Runtime(device, precision, head)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: PreparedData,
    batches: Iterable[tuple[Sequence[int], Batch]],
    computing: Runtime,
    loss: TrialLoss,
    tolerance_ml: float = 0.0,
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
                tolerance_ml=tolerance_ml,
            )
    return math.fsum(losses) / (len(scores) // len(data.classes)), scores
