"""A trial's training: what stays the same over its epochs, and the steps that change the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.assignment import Assignment, assign_cases
from trainers.augmentation import augment
from trainers.batch import Batch, BatchSource
from trainers.checkpoint import Progress
from trainers.data.prepared.read import PreparedData
from trainers.forward import TrialLoss, evaluate, place
from trainers.label_hashes import target_hashes
from trainers.losses import make_loss
from trainers.memory import fits_on, peak_mib
from trainers.metrics import CaseScore, mean_dsc
from trainers.networks import build_network
from trainers.patches import Corner, PatchSampler
from trainers.result import TrialResult
from trainers.scoring import find_maps, score_cases
from trainers.spec import ProtocolSpec, TrialSpec


class DivergedError(ArithmeticError):
    """The loss stopped being a finite number."""


class Training:
    """One trial's network, loss, data and optimiser on their device.

    ``cases``: those of the spec, unless others are given, as to try a few.
    """

    def __init__(
        self, spec: TrialSpec, data: PreparedData, device: torch.device, cases: Assignment | None = None
    ) -> None:
        self.spec, self.data = spec, data
        cases = self.cases = cases or assign_cases(spec, data.table)
        # drop_last: every batch has the studied size, since Φ = BI and BCI depend on it.
        self.steps_per_epoch = cases.cases_per_epoch // spec.batch_size
        self._scored: tuple[int, list[CaseScore]] = (-1, [])
        labels = zip(data.labels, cases.hidden, strict=True) if data.whole else ()
        self._cut = [PatchSampler(label, hidden, data.patch, spec.protocol.patches) for label, hidden in labels]
        self.source = BatchSource(data, cases.hidden, device, spec.loss.needs_distance, keep=fits_on(device, data))
        torch.manual_seed(spec.seed)
        network = build_network(spec.protocol.network, data.channels, data.maps, data.patch)
        self.network, self.computing = place(network, spec.protocol.precision, data.head, data.patch, device)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=spec.protocol.lr, weight_decay=spec.protocol.weight_decay, fused=True
        )
        self.loss = _make_loss(spec, list(cases.eps.values()), data)

    def is_over(self, progress: Progress) -> bool:
        """Whether its epochs are done, or its schedule has waited long enough."""
        protocol = self.spec.protocol
        waited = protocol.schedule.name == "plateau" and progress.bad_epochs >= protocol.schedule.stop_after
        return waited or progress.epoch >= protocol.epochs

    def run_epoch(self, progress: Progress) -> dict[str, float]:
        """Train one epoch, validate if it is due, and move ``progress`` on; the epoch's metrics."""
        protocol = self.spec.protocol
        epoch = progress.epoch
        metrics = {"train.loss": self.train_epoch(progress), "lr": self.optimizer.param_groups[0]["lr"]}
        progress.epoch += 1
        if progress.epoch % protocol.validate_every == 0 or progress.epoch == protocol.epochs:
            metrics["val.loss"], scores = self.evaluate()
            self._scored = progress.epoch, scores
            if not math.isfinite(metrics["val.loss"]):
                raise DivergedError(f"diverged: the validation loss was {metrics['val.loss']} after epoch {epoch + 1}")
            metrics |= {f"val.{name}": value for name, value in mean_dsc(scores).items()}
            _follow_plateau(protocol, progress, metrics["val.loss"])
        return metrics

    def train_epoch(self, progress: Progress) -> float:
        """Train on every case once, or as often as it is weighed; the mean loss."""
        spec, protocol, losses = self.spec, self.spec.protocol, []
        rng = np.random.default_rng([spec.seed, 3, progress.epoch])
        order = rng.permutation(np.repeat(self.cases.train, self.cases.weights))
        without = torch.zeros((), dtype=torch.int64, device=self.computing.device)
        # What a network draws by itself (dropout) comes from torch's own generator, which no checkpoint holds.
        torch.manual_seed(int(np.random.default_rng([spec.seed, 5, progress.epoch]).integers(2**63)))
        self.network.train()
        for step in range(self.steps_per_epoch):
            chosen = order[step * spec.batch_size : (step + 1) * spec.batch_size].tolist()
            batch = self.source.batch(chosen, self._corners(chosen, rng))
            without += ~batch.has_foreground()
            self._count_emptied(progress, chosen)
            augment(batch, protocol.augment, batch.spacing, rng)
            done = progress.epoch * self.steps_per_epoch + step
            self.optimizer.param_groups[0]["lr"] = self._learning_rate(done, progress)
            logits = self.computing.logits(self.network, self.computing.arrange(batch.images))
            loss = self.loss(self.computing.probabilities(logits), batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if protocol.clip is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), protocol.clip)
            self.optimizer.step()
            losses.append(loss.detach())
        # Looked at once an epoch: every look makes the host wait for the device.
        values = torch.stack(losses).tolist()
        for step, value in enumerate(values, start=1):
            if not math.isfinite(value):
                raise DivergedError(f"diverged: the loss was {value} at epoch {progress.epoch + 1}, step {step}")
        _count(progress, "steps", self.steps_per_epoch)
        _count(progress, "batches_without_foreground", int(without))
        return math.fsum(values) / self.steps_per_epoch

    def _count_emptied(self, progress: Progress, chosen: Sequence[int]) -> None:
        """Count the emptied maps of a batch, and the batch if it has no other of a class that is emptied."""
        hidden = self.cases.hidden[chosen]
        columns = [self.data.classes.index(name) for name in self.spec.empty.classes]
        _count(progress, "emptied_maps_seen", int(hidden.sum()))
        _count(progress, "batches_all_emptied", int(hidden[:, columns].all()))

    def _learning_rate(self, done: int, progress: Progress) -> float:
        """The rate of the next step, after ``done`` of all."""
        protocol = self.spec.protocol
        if protocol.schedule.name == "linear":
            left = 1 - done / (protocol.epochs * self.steps_per_epoch)
            return protocol.lr * min(1.0, 4 * left)
        return protocol.lr * progress.lr_factor

    def _corners(self, chosen: Sequence[int], rng: np.random.Generator) -> list[Corner] | None:
        """Where the patches of these cases are cut; None where cases have the patch's shape."""
        return [self._cut[index].draw(rng) for index in chosen] if self.data.whole else None

    @property
    def is_scored_apart(self) -> bool:
        """Whether the labels' own space, in which scores are given, is another than that of training."""
        return self.data.whole or self.data.truths[self.cases.held_out[0]] is not None

    def scores(self, progress: Progress) -> list[CaseScore]:
        """Scores of the network as it stands, in the labels' own space, without a word of the labeling."""
        epoch, scores = self._scored
        if self.is_scored_apart:
            held_out, hidden, protocol = self.cases.held_out, self.cases.hidden, self.spec.protocol
            overlap, tolerance = protocol.patches.overlap, protocol.tolerance_ml
            return score_cases(self.network, self.data, held_out, hidden, self.computing, overlap, tolerance)
        # The space of training is the labels' own: the last validation has scored it, if it saw the same weights.
        return scores if epoch == progress.epoch else self.evaluate()[1]

    def find(self, index: int) -> NDArray[np.bool_]:
        """Maps (class, *space) that the network finds in a prepared case."""
        return find_maps(self.network, self.data, index, self.computing, self.spec.protocol.patches.overlap)

    def evaluate(self) -> tuple[float, list[CaseScore]]:
        """Loss under the labeling in force and scores against full labels, on the held-out cases' patches.

        Patches, where they are drawn, are the same at every call.
        """
        rng, size = np.random.default_rng([self.spec.seed, 4]), self.spec.batch_size
        held_out = self.cases.held_out
        chosen = [held_out[start : start + size] for start in range(0, len(held_out), size)]
        batches = ((part, self.source.batch(part, self._corners(part, rng))) for part in chosen)
        tolerance = self.spec.protocol.tolerance_ml
        return evaluate(self.network, self.data, batches, self.computing, self.loss, tolerance)

    def result(self, progress: Progress, **ending: Any) -> TrialResult:
        """What is known of the training by now, with how it ended."""
        return TrialResult(
            key=self.spec.key,
            v_hat=self.cases.v_hat,
            eps_voxels=self.cases.eps,
            counts=progress.counts
            | {
                "epochs": progress.epoch,
                "train_cases": len(self.cases.train),
                "cases_per_epoch": self.cases.cases_per_epoch,
                # What is left of an epoch after its last whole batch: no batch is smaller than the studied size.
                "cases_dropped_per_epoch": self.cases.cases_per_epoch % self.spec.batch_size,
            },
            targets=target_hashes(self.source, self.cases),
            seconds=progress.seconds,
            memory_mib=peak_mib(self.computing.device),
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
        target = batch.target()
        if data.head == "softmax":
            if loss.needs_background:
                target = torch.cat([1 - target.amax(dim=1, keepdim=True), target], dim=1)
            else:
                probabilities = probabilities[:, 1:]
        return loss(probabilities, target, ~batch.hidden, batch.target_distances(), spacing=batch.spacing.tolist())

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
