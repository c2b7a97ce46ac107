import numpy as np
import pytest
import torch

from trainers.batch import BatchSource
from trainers.data.geometry.distances import signed_distance
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare, prepare_distances


@pytest.mark.parametrize("keep", [False, True], ids=["mapped", "kept"])
def test_distances_follow_labels_through_hiding_and_flipping(trial, tmp_path, keep):
    folder = prepare(trial.data, tmp_path)
    prepare_distances(folder)
    data = open_prepared(folder)
    hidden = np.zeros((len(data.cases), 1), bool)
    hidden[1] = True
    cases = BatchSource(data, hidden, torch.device("cpu"), distances=True, keep=keep)
    batch = cases.batch([0, 1, 2, 3])
    batch.flip(np.random.default_rng(0), [0, 1, 2])
    assert not np.array_equal(batch.labels[0], data.labels[0])
    assert batch.labels[1].any()
    assert not batch.target()[1].any()
    for target, distances in zip(batch.target(), batch.target_distances(), strict=True):
        # 7 mm voxels; a hidden map has no boundary, so no distance.
        assert np.array_equal(distances, signed_distance(target.numpy(), (7.0, 7.0, 7.0)))
    # What was kept is not what was flipped.
    assert np.array_equal(cases.batch([0]).labels[0], data.labels[0])


def test_kept_distances_are_made_once_and_are_those_of_every_case(trial, tmp_path):
    folder = prepare(trial.data, tmp_path)
    assert open_prepared(folder).distances is None
    prepare_distances(folder)
    data = open_prepared(folder)
    stamp = (folder / "distances").stat().st_mtime_ns
    prepare_distances(folder)
    assert (folder / "distances").stat().st_mtime_ns == stamp
    for label, distances in zip(data.labels, data.distances, strict=True):
        assert np.array_equal(distances, signed_distance(label, (7.0, 7.0, 7.0)))
