"""Fingerprints of the label maps that a trial trained on and was scored against."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from trainers.assignment import Assignment
from trainers.batch import BatchSource


def target_hashes(source: BatchSource, cases: Assignment) -> dict[str, str]:
    """``training``: the training cases' maps as batches hold them; ``scoring``: the held-out cases' full maps.

    Each is a hash [12 hex digits] of names and voxels in the order of the data. Under two labelings of one fold the
    first differs and the second does not; anything else is a mistake that this shows.
    """
    data = source.data

    def training() -> Iterable[tuple[int, bytes]]:
        for index in sorted(cases.train):
            yield index, source.batch([index]).target().bool().cpu().numpy().tobytes()

    def scoring() -> Iterable[tuple[int, bytes]]:
        for index in sorted(cases.held_out):
            truth = data.truths[index]
            yield index, (np.ascontiguousarray(data.labels[index]) if truth is None else truth.codes).tobytes()

    def digest(maps: Iterable[tuple[int, bytes]]) -> str:
        found = hashlib.sha256()
        for index, voxels in maps:
            found.update(data.cases[index].case.encode() + b"\0" + voxels)
        return found.hexdigest()[:12]

    return {"training": digest(training()), "scoring": digest(scoring())}
