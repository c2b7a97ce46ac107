"""What a trial takes of time and memory, tried on a few steps on the device at hand."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from trainers.assignment import Assignment, assign_cases
from trainers.checkpoint import Progress, save_checkpoint
from trainers.data.prepared.read import PreparedData, open_prepared
from trainers.example_slices import choose_cases
from trainers.forward import use_device
from trainers.memory import is_out_of_memory, keep_freed, peak_mib, release, start_measuring
from trainers.spec import TrialSpec
from trainers.training import Training

STEPS = 4
"""Steps of an epoch that is tried."""
LEAST, MOST = 3, 50
"""Epochs that are tried after the first, at the least and at the most."""


@dataclass(frozen=True)
class Cost:
    """What trials of one shape take.

    start: making the network, and what the first steps take beyond others [s]; step: a batch [s], ``slow`` and
    ``fast``: its 90th and 10th percentile; validation, scoring: a held-out case [s], the second once at the end;
    example, checkpoint: one of either [s]; memory_mib: its peak, of the device on a GPU, else of the process;
    fault: why it cannot be run, if so.
    """

    start: float = 0.0
    step: float = 0.0
    slow: float = 0.0
    fast: float = 0.0
    validation: float = 0.0
    scoring: float = 0.0
    example: float = 0.0
    checkpoint: float = 0.0
    memory_mib: float = 0.0
    fault: str = ""


def shape_of(spec: TrialSpec) -> str:
    """What a trial's time and memory hang on: its spec without what only changes numbers or counts."""
    shape = spec.model_copy(update={"seed": 0, "fold": 0}).model_dump(mode="json")
    shape.pop("labeling")
    shape["loss"] = [term["name"] for term in shape["loss"]["terms"]]
    for name in ("epochs", "lr", "schedule", "weight_decay", "validate_every", "sampling"):
        shape["protocol"].pop(name)
    return repr(shape)


def try_out(spec: TrialSpec, folder: Path, scratch: Path, device: str = "cpu", seconds: float = 3.0) -> Cost:
    """Train a few steps of ``spec`` for about ``seconds``, on the prepared data in ``folder``; keeps nothing.

    scratch: a folder of the storage, where a checkpoint is written to and removed.
    """
    torch.set_num_threads(spec.protocol.threads)
    where = use_device(device)
    keep_freed()
    start_measuring(where)
    try:
        return _try_out(spec, open_prepared(folder), scratch, where, seconds)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return Cost(memory_mib=peak_mib(where), fault=f"out of memory at batch size {spec.batch_size}")
    finally:
        release(where)


def _try_out(spec: TrialSpec, data: PreparedData, scratch: Path, device: torch.device, seconds: float) -> Cost:
    def timed(work: Callable[[], object]) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    whole = assign_cases(spec, data.table)
    some = _some(whole, spec.batch_size)
    begun = time.perf_counter()
    training, progress = Training(spec, data, device, some), Progress()
    first = time.perf_counter() - begun + timed(lambda: training.train_epoch(progress))
    steps = training.steps_per_epoch
    times: list[float] = []
    while len(times) < LEAST or (sum(times) < seconds and len(times) < MOST):
        progress.epoch += 1  # each draws other numbers
        times.append(timed(lambda: training.train_epoch(progress)))
    held_out = len(some.held_out)
    validation = timed(training.evaluate)
    scoring = timed(lambda: training.scores(progress)) if training.is_scored_apart else 0.0
    find = timed(lambda: training.find(some.held_out[0]))
    with tempfile.TemporaryDirectory(prefix=".cost-", dir=scratch) as name:
        place = Path(name)
        save = timed(lambda: save_checkpoint(place, spec.key, progress, training.network, training.optimizer))
    step = statistics.fmean(times) / steps
    fast, slow = np.percentile(times, [10, 90]) / steps
    examples = len(choose_cases(data, whole.held_out, spec.empty.classes))
    return Cost(
        start=max(first - steps * step, 0.0),
        step=step,
        slow=float(slow),
        fast=float(fast),
        validation=validation / held_out,
        scoring=scoring / held_out,
        example=find * examples,
        checkpoint=save,
        memory_mib=peak_mib(device),
    )


def _some(cases: Assignment, batch_size: int) -> Assignment:
    """A few of the cases: an epoch of ``STEPS`` steps, and two batches held out."""
    drawn = np.resize(np.repeat(cases.train, cases.weights), STEPS * batch_size)
    index, weights = np.unique(drawn, return_counts=True)
    return replace(
        cases, train=index.tolist(), weights=weights.astype(np.int64), held_out=cases.held_out[: 2 * batch_size]
    )
