"""One trial from beginning to end.

Knows nothing of Ray, MLflow or studies: a spec and prepared data in, a result out, and one callable as
the way back while it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainers.checkpoint import load_checkpoint, save_checkpoint
from trainers.data.prepared.read import PreparedData
from trainers.example_slices import save_examples
from trainers.forward import use_device
from trainers.memory import is_out_of_memory, keep_freed, peak_mib, release, start_measuring
from trainers.metrics import summarise
from trainers.result import TrialResult, load_result, save_result
from trainers.spec import TrialSpec
from trainers.training import DivergedError, Training

EpochRecord = dict[str, Any]
"""``epoch`` (from 1), ``time`` [s since 1970], ``metrics`` {name: value}."""
Report = Callable[[EpochRecord], None]


def run_trial(
    spec: TrialSpec, data: PreparedData, folder: Path, report: Report = lambda _: None, device: str = "cpu"
) -> TrialResult:
    """Train and score one trial, going on from the checkpoint in ``folder`` if there is one.

    ``report`` is told every epoch in order, those of an earlier life again. A trial with a result is not
    run again. Same spec, same machine, same bits, however often it was killed on the way.

    Raises: InputError if the spec does not fit the data; CheckpointError if the checkpoint is not its own.
    """
    if (ended := load_result(folder)) is not None:
        return ended
    torch.set_num_threads(spec.protocol.threads)
    where = use_device(device)
    keep_freed()
    start_measuring(where)
    try:
        return _run(Training(spec, data, where), folder, report)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        # Never tried with another batch size on the quiet: that is a factor of the study.
        reason = f"out of memory at batch size {spec.batch_size}: {str(error).splitlines()[0]}"
        result = TrialResult(spec.key, "FAILED", "out_of_memory", reason, memory_mib=peak_mib(where), device=str(where))
        save_result(folder, result)
        return result
    finally:
        release(where)


def _run(training: Training, folder: Path, report: Report) -> TrialResult:
    spec = training.spec
    progress = load_checkpoint(folder, spec.key, training.network, training.optimizer, training.computing.device)
    for record in progress.history:
        report(record)
    try:
        while not training.is_over(progress):
            started = time.perf_counter()
            metrics = training.run_epoch(progress)
            progress.seconds += time.perf_counter() - started
            record = {"epoch": progress.epoch, "time": time.time(), "metrics": metrics}
            progress.history.append(record)
            # First the checkpoint, then the word: what was told is never trained again.
            save_checkpoint(folder, spec.key, progress, training.network, training.optimizer)
            report(record)
    except DivergedError as error:
        result = training.result(progress, state="FAILED", ending="diverged", reason=str(error))
        save_result(folder, result)
        return result
    ending = time.perf_counter()
    scores = training.scores(progress)
    save_examples(folder, training.data, training.cases.held_out, spec.empty.classes, training.find)
    all_empty = all(score.pred_empty for score in scores)
    result = training.result(
        progress,
        state="DONE",
        ending="all_empty" if all_empty else "done",
        reason="nothing is found in any held-out case" if all_empty else "",
        metrics=summarise(scores, spec.empty),
        scoring_seconds=time.perf_counter() - ending,
    )
    save_result(folder, result, scores)
    return result
