import numpy as np

from trainers.batch import Batch
from trainers.data.distances import signed_distance
from trainers.data.prepared import open_prepared, prepare, prepare_distances


def test_distances_follow_labels_through_hiding_and_flipping(trial, tmp_path):
    folder = prepare(trial.data, tmp_path)
    prepare_distances(folder)
    data = open_prepared(folder)
    hidden = np.zeros((len(data.cases), 1), bool)
    hidden[1] = True
    batch = Batch.of(data, [0, 1, 2, 3], hidden, distances=True)
    batch.flip(np.random.default_rng(0))
    assert not np.array_equal(batch.labels[0], data.labels[0])
    assert not batch.labels[1].any()
    for label, distances in zip(batch.labels, batch.distances, strict=True):
        # 7 mm voxels; a hidden map has no boundary, so no distance.
        assert np.array_equal(distances, signed_distance(label, (7.0, 7.0, 7.0)))


def test_kept_distances_are_made_once_and_are_those_of_every_case(trial, tmp_path):
    folder = prepare(trial.data, tmp_path)
    assert open_prepared(folder).distances is None
    prepare_distances(folder)
    data = open_prepared(folder)
    stamp = (folder / "distances.npy").stat().st_mtime_ns
    prepare_distances(folder)
    assert (folder / "distances.npy").stat().st_mtime_ns == stamp
    for label, distances in zip(data.labels, data.distances, strict=True):
        assert np.array_equal(distances, signed_distance(label, (7.0, 7.0, 7.0)))
