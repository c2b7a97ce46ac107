"""Labeling regimes: which maps training does not get to see, and the volume v̂ that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainers.data.base import CaseInfo
from trainers.spec import EmptySpec, Regime


def hidden_maps(
    cases: Sequence[CaseInfo], classes: Sequence[str], regime: Regime, empty: EmptySpec, seed: int
) -> NDArray[np.bool_]:
    """Which label maps the labeling empties: (case, class) bool, True for emptied.

    ``full`` empties none. ``partial`` empties the named classes in ``share`` of the named group's cases,
    rounded to whole cases and drawn from ``seed``. Scoring never asks: it sees the full labels.
    """
    hidden = np.zeros((len(cases), len(classes)), dtype=bool)
    if regime.name == "full":
        return hidden
    candidates = [index for index, case in enumerate(cases) if case.group == empty.group]
    count = round(regime.share * len(candidates))
    chosen = np.random.default_rng([seed, 1]).permutation(candidates)[:count]
    columns = [list(classes).index(name) for name in empty.classes]
    hidden[np.ix_(chosen.astype(int), np.array(columns))] = True
    return hidden


def v_hat(
    volumes: NDArray[np.int64] | NDArray[np.float64],
    hidden: NDArray[np.bool_],
    weights: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """v̂ = E[Σ_φ y] of every class [voxels]: the mean volume of a training map, emptied ones counted as 0.

    volumes, hidden: (case, class) of the training cases; weights: (case,) how often an epoch sees each.
    Source: Tilborghs et al., MICCAI 2022, section 2.3.
    """
    return np.average(np.where(hidden, 0, volumes), axis=0, weights=weights)


def sampling_weights(cases: Sequence[CaseInfo], sampling: Mapping[str, int]) -> NDArray[np.int64]:
    """How often an epoch sees each case: (case,), 1 for a group that ``sampling`` does not name."""
    return np.array([sampling.get(case.group, 1) for case in cases])
