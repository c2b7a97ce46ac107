"""One trial from beginning to end, the whole loop in one file.

Knows nothing of Ray, MLflow or studies: a spec and prepared data in, a result out, and one callable as
the way back while it runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers.assignment import assign
from trainers.batch import Batch
from trainers.checkpoint import Progress, load_checkpoint, save_checkpoint
from trainers.data.prepared import PreparedData
from trainers.evaluation import Computing, TrialLoss, evaluate
from trainers.labeling import map_volumes
from trainers.losses import make_loss
from trainers.metrics import CaseScore, mean_dsc, summarise
from trainers.networks import build_network
from trainers.outcome import TrialResult, load_result, save_result
from trainers.spec import ProtocolSpec, TrialSpec

EpochRecord = dict[str, Any]
"""``epoch`` (from 1), ``time`` [s since 1970], ``metrics`` {name: value}."""
Report = Callable[[EpochRecord], None]


class DivergedError(ArithmeticError):
    """The loss stopped being a finite number."""


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
    training = _Training(spec, data, device)
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
        result = training.result(progress, state="FAILED", reason=str(error))
        save_result(folder, result)
        return result
    scores = training.scores(progress)
    result = training.result(progress, state="DONE", metrics=summarise(scores, spec.empty))
    save_result(folder, result, scores)
    return result


class _Training:
    """What stays the same over the epochs of one trial, and the steps that change the rest."""

    def __init__(self, spec: TrialSpec, data: PreparedData, device: str) -> None:
        self.spec, self.data = spec, data
        cases = self.cases = assign(spec, data.cases, data.classes, map_volumes(data.labels))
        # drop_last: every batch has the studied size, since Φ = BI and BCI depend on it.
        self.steps_per_epoch = cases.cases_per_epoch // spec.batch_size
        self._scored: tuple[int, list[CaseScore]] = (-1, [])
        self.computing = Computing.of(spec.protocol, data.head, device)
        torch.manual_seed(spec.seed)
        maps = len(data.classes) + (data.head == "softmax")
        layout = torch.channels_last_3d if data.images.ndim == 5 else torch.channels_last
        network = build_network(spec.protocol.network, data.images.shape[1], maps, data.images.shape[2:])
        self.network = network.to(self.computing.device, memory_format=layout)  # type: ignore[call-overload]  # torch leaves it out
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=spec.protocol.lr, weight_decay=spec.protocol.weight_decay
        )
        self.loss = _make_loss(spec, list(cases.eps.values()), data)

    def is_over(self, progress: Progress) -> bool:
        protocol = self.spec.protocol
        waited = protocol.schedule.name == "plateau" and progress.bad_epochs >= protocol.schedule.stop_after
        return waited or progress.epoch >= protocol.epochs

    def run_epoch(self, progress: Progress) -> dict[str, float]:
        """Train one epoch, validate if it is due, and move ``progress`` on; the epoch's metrics."""
        protocol = self.spec.protocol
        epoch = progress.epoch
        metrics = {"train.loss": self._train_epoch(progress), "lr": self.optimizer.param_groups[0]["lr"]}
        progress.epoch += 1
        if progress.epoch % protocol.validate_every == 0 or progress.epoch == protocol.epochs:
            metrics["val.loss"], scores = self.evaluate()
            self._scored = progress.epoch, scores
            if not math.isfinite(metrics["val.loss"]):
                raise DivergedError(f"diverged: the validation loss was {metrics['val.loss']} after epoch {epoch + 1}")
            metrics |= {f"val.{name}": value for name, value in mean_dsc(scores).items()}
            _follow_plateau(protocol, progress, metrics["val.loss"])
        return metrics

    def _train_epoch(self, progress: Progress) -> float:
        spec, total = self.spec, 0.0
        rng = np.random.default_rng([spec.seed, 3, progress.epoch])
        order = rng.permutation(np.repeat(self.cases.train, self.cases.weights))
        self.network.train()
        for step in range(self.steps_per_epoch):
            chosen = order[step * spec.batch_size : (step + 1) * spec.batch_size]
            batch = Batch.of(self.data, chosen, self.cases.hidden, self.spec.loss.needs_distance)
            _count(progress, "steps", 1)
            _count(progress, "batches_without_foreground", int(not batch.labels.any()))
            _count(progress, "emptied_maps_seen", int(batch.hidden.sum()))
            if spec.protocol.augment == "flip":
                batch.flip(rng)
            done = progress.epoch * self.steps_per_epoch + step
            self.optimizer.param_groups[0]["lr"] = self._learning_rate(done, progress)
            logits = self.computing.logits(self.network, self.computing.tensor(batch.images))
            loss = self.loss(self.computing.probabilities(logits), batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise DivergedError(f"diverged: the loss was {value} at epoch {progress.epoch + 1}, step {step + 1}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if spec.protocol.clip is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), spec.protocol.clip)
            self.optimizer.step()
            total += value
        return total / self.steps_per_epoch

    def _learning_rate(self, done: int, progress: Progress) -> float:
        """The rate of the next step, after ``done`` of all."""
        protocol = self.spec.protocol
        if protocol.schedule.name == "linear":
            left = 1 - done / (protocol.epochs * self.steps_per_epoch)
            return protocol.lr * min(1.0, 4 * left)
        return protocol.lr * progress.lr_factor

    def scores(self, progress: Progress) -> list[CaseScore]:
        """Scores of the network as it stands; those of the last validation where that saw the same weights."""
        epoch, scores = self._scored
        return scores if epoch == progress.epoch else self.evaluate()[1]

    def evaluate(self) -> tuple[float, list[CaseScore]]:
        """Loss under the labeling in force and scores against full labels, on the held-out cases."""
        self.network.eval()
        return evaluate(
            self.network,
            self.data,
            self.cases.held_out,
            self.cases.hidden,
            self.spec.loss.needs_distance,
            self.spec.batch_size,
            self.computing,
            self.loss,
        )

    def result(self, progress: Progress, **ending: Any) -> TrialResult:
        return TrialResult(
            key=self.spec.key,
            v_hat=self.cases.v_hat,
            eps_voxels=self.cases.eps,
            counts=progress.counts | {"epochs": progress.epoch, "train_cases": len(self.cases.train)},
            seconds=progress.seconds,
            device=str(self.computing.device),
            **ending,
        )


def _make_loss(spec: TrialSpec, eps: Sequence[float], data: PreparedData) -> TrialLoss:
    """The spec's loss, with ε resolved [voxels], as a function of the network's maps and a batch."""
    terms: list[dict[str, Any]] = []
    for term in spec.loss.terms:
        wanted = {"name": term.name, "weight": term.weight, **term.parameters}
        if term.entry.phi_eps:
            # One number where all classes share it: only that fits a φ that spans classes.
            wanted |= {"phi": spec.loss.phi, "eps": eps[0] if len(set(eps)) == 1 else list(eps)}
        terms.append(wanted)
    loss = make_loss({"terms": terms}, head=data.head, classes=len(data.classes))

    def compute(probabilities: Tensor, batch: Batch) -> Tensor:
        target = torch.from_numpy(batch.labels).to(probabilities.device, torch.float32)
        if data.head == "softmax":
            if loss.needs_background:
                target = torch.cat([1 - target.amax(dim=1, keepdim=True), target], dim=1)
            else:
                probabilities = probabilities[:, 1:]
        distance = None if batch.distances is None else torch.from_numpy(batch.distances)
        presence = torch.from_numpy(~batch.hidden)
        return loss(probabilities, target, presence, distance, spacing=data.spacing[0].tolist())

    return compute


def _follow_plateau(protocol: ProtocolSpec, progress: Progress, loss: float) -> None:
    schedule = protocol.schedule
    if schedule.name != "plateau":
        return
    if loss < progress.best_loss - schedule.min_delta:
        progress.best_loss, progress.bad_epochs = loss, 0
        return
    progress.bad_epochs += protocol.validate_every
    if progress.bad_epochs % schedule.patience < protocol.validate_every:
        progress.lr_factor *= schedule.factor


def _count(progress: Progress, name: str, amount: int) -> None:
    progress.counts[name] = progress.counts.get(name, 0) + amount
