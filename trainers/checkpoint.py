"""A trial's memory between two epochs: one file, written whole, read without unpickling code."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.atomic_files import write_whole
from trainers.errors import DicestudyError

CHECKPOINT_FILE = "checkpoint.pt"
RETRY = "launch with --retry-failed to train anew"
RENEW = "remove the trial's folder and launch the study again"


class CheckpointError(DicestudyError):
    """A checkpoint cannot be used by the trial that found it."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint cannot be read."""


@dataclass
class Progress:
    """Where a training stands after ``epoch`` epochs; everything that the next epoch depends on.

    Random numbers are not here: each epoch draws its own from (seed, epoch).
    """

    epoch: int = 0
    best_loss: float = float("inf")
    bad_epochs: int = 0
    lr_factor: float = 1.0
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    """One record an epoch, as reported."""


def save_checkpoint(
    folder: Path, key: str, progress: Progress, network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write the state after an epoch; the one before it stays until this one is whole."""
    state = {
        "key": key,
        "progress": vars(progress),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    # In memory first: torch would tell of a full disk by a RuntimeError, as of its own faults.
    whole = io.BytesIO()
    torch.save(state, whole)
    write_whole(folder / CHECKPOINT_FILE, lambda file: file.write(whole.getbuffer()))


def load_checkpoint(
    folder: Path, key: str, network: torch.nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Bring network and optimizer to the last whole state; a fresh ``Progress`` where there is none.

    A file that is damaged is laid aside, and the trial begins anew, to the same bits.

    Raises: CheckpointError if the file belongs to another trial.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return Progress()
    try:
        progress, state = _read(path, key, device, RETRY)
    except DamagedCheckpointError:
        path.replace(path.with_name(f"{path.name}.damaged"))
        return Progress()
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return progress


def load_weights(folder: Path, key: str) -> dict[str, Tensor]:
    """The network's state after the last epoch, by the names of its parts, on the CPU.

    Raises: CheckpointError if there is none, it belongs to another trial or is damaged.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        raise CheckpointError(f"{path}: missing; {RENEW}")
    weights: dict[str, Tensor] = _read(path, key, torch.device("cpu"), RENEW)[1]["network"]
    return weights


def _read(path: Path, key: str, device: torch.device, remedy: str) -> tuple[Progress, dict[str, Any]]:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        owner, progress = state["key"], Progress(**state["progress"])
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise  # the machine's fault, not the file's
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise DamagedCheckpointError(f"{path}: not a readable checkpoint ({error}); {remedy}") from error
    if owner != key:
        raise CheckpointError(f"{path}: belongs to trial {owner}, expected {key}; {remedy}")
    return progress, state
