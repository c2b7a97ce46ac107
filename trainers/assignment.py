"""Which cases a trial trains on, which of their maps it does not see, and what ε that makes.

numpy only: a study resolves ε before any training by the same function that the training uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.data.base import CaseInfo, LabelTable
from trainers.data.splits import split, split_by_name
from trainers.errors import Fault, InputError
from trainers.labeling import hidden_maps, sampling_weights, v_hat
from trainers.patches import mean_volumes
from trainers.spec import TrialSpec


@dataclass(frozen=True)
class Assignment:
    """The cases of one trial and their labeling.

    train, held_out: indices into the data's cases; weights: how often an epoch sees each training case;
    hidden: (case of the whole data, class) maps that the labeling empties; volumes: (case of the whole data,
    class) of the full label in a training patch [voxels], on average where patches are drawn; v_hat, eps: per
    class [voxels], ``eps`` empty for a loss without ε.
    """

    train: list[int]
    held_out: list[int]
    weights: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    volumes: NDArray[np.int64] | NDArray[np.float64]
    v_hat: dict[str, float]
    eps: dict[str, float]

    @property
    def cases_per_epoch(self) -> int:
        """Training cases that an epoch sees, repetitions counted."""
        return int(self.weights.sum())


def split_cases(spec: TrialSpec, cases: Sequence[CaseInfo]) -> tuple[list[int], list[int], NDArray[np.int64]]:
    """Cases to train on, cases held out, and how often an epoch sees each of the former; needs no voxels.

    Raises: InputError if the split cannot be made, or a batch is larger than an epoch.
    """
    if spec.split is not None:
        train, held_out = split_by_name(cases, spec.split.train, spec.split.held_out)
    else:
        train, held_out = split(cases, spec.fold, spec.folds)
    weights = sampling_weights([cases[i] for i in train], spec.protocol.sampling)
    if spec.batch_size > weights.sum():
        raise InputError(
            Fault(
                "batch_size",
                f"{spec.batch_size} is more than the {weights.sum()} training cases of an epoch",
                "choose a smaller batch or more cases",
            )
        )
    # A fixed mixture of the groups: a batch-wise loss must not see them one after the other.
    return train, np.random.default_rng([spec.seed, 2]).permutation(held_out).tolist(), weights


def assign_cases(spec: TrialSpec, table: LabelTable) -> Assignment:
    """Split, label and weigh the cases as ``spec`` says.

    Raises: InputError as ``split_cases`` does, or if ε is a multiple of a v̂ of 0.
    """
    cases, classes = table.cases, table.classes
    train, held_out, weights = split_cases(spec, cases)
    hidden = np.zeros((len(cases), len(classes)), dtype=bool)
    for part in (train, sorted(held_out)):
        hidden[part] = hidden_maps([cases[i] for i in part], classes, spec.labeling, spec.empty, spec.seed)
    volumes = patch_volumes(spec, table, hidden)
    means = dict(zip(classes, v_hat(volumes[train], hidden[train], weights).tolist(), strict=True))
    return Assignment(train, held_out, weights, hidden, volumes, means, resolve_epsilon(spec, means))


def patch_volumes(
    spec: TrialSpec, table: LabelTable, hidden: NDArray[np.bool_]
) -> NDArray[np.int64] | NDArray[np.float64]:
    """Volume of every full map in a training patch (case, class) [voxels]. hidden: (case, class)."""
    if table.whole is None:
        return table.volumes
    where = spec.protocol.patches
    rows = zip(table.whole, hidden, strict=True)
    return np.stack([mean_volumes(label, row, table.patch, where) for label, row in rows])


def resolve_epsilon(spec: TrialSpec, v_hat: dict[str, float]) -> dict[str, float]:
    """ε [voxels] of every class; empty for a loss without ε. v_hat: v̂ per class [voxels].

    Where a φ spans the classes (CI, BCI, generalised Dice), its v̂ is the sum of theirs.

    Raises: InputError if ε is a multiple of a v̂ of 0.
    """
    eps = spec.loss.eps
    if eps is None:
        return {}
    if spec.loss.spans_classes:
        v_hat = dict.fromkeys(v_hat, sum(v_hat.values()))
    resolved = {name: (eps[name] if isinstance(eps, dict) else eps).voxels(volume) for name, volume in v_hat.items()}
    faults = [
        Fault(
            f"eps of {name}",
            "v̂ is 0, since the labeling leaves no map of this class",
            "give ε in voxels, or empty a smaller share",
        )
        for name, voxels in resolved.items()
        if voxels <= 0
    ]
    if faults:
        raise InputError(faults)
    return resolved
