import numpy as np
import pytest

from trainers.assignment import assign
from trainers.data.base import CaseInfo
from trainers.errors import InputError
from trainers.labeling import hidden_maps, map_volumes, sampling_weights, v_hat
from trainers.spec import EmptySpec, Regime, TrialSpec

EMPTY = EmptySpec(group="B", classes=("ring",))
CASES = [CaseInfo(f"c{i}", f"s{i}", "AB"[i % 2]) for i in range(20)]


def test_full_labeling_hides_nothing():
    assert not hidden_maps(CASES, ("core", "ring"), Regime(name="full"), EMPTY, 0).any()


def test_partial_labeling_hides_the_class_of_the_group_and_nothing_else():
    hidden = hidden_maps(CASES, ("core", "ring"), Regime(name="partial"), EMPTY, 0)
    assert hidden[:, 1].tolist() == [case.group == "B" for case in CASES]
    assert not hidden[:, 0].any()


def test_a_share_is_drawn_from_the_seed():
    half = Regime(name="partial", share=0.5)
    draws = [hidden_maps(CASES, ("core", "ring"), half, EMPTY, seed) for seed in (0, 0, 1)]
    assert draws[0].sum() == 5
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()
    assert all(CASES[row].group == "B" for row in np.nonzero(draws[0])[0])


def test_v_hat_counts_empty_maps_as_zero():
    volumes = np.array([[100, 10], [300, 30], [200, 20], [400, 40]])
    hidden = np.array([[False, False], [True, False], [False, False], [True, True]])
    assert v_hat(volumes, hidden).tolist() == [(100 + 0 + 200 + 0) / 4, (10 + 30 + 20 + 0) / 4]
    # ED:ES 3:1 as in the paper: the labelled group is seen three times an epoch.
    weights = np.array([3, 1, 3, 1])
    assert v_hat(volumes, hidden, weights).tolist() == [(3 * 100 + 3 * 200) / 8, (3 * 10 + 30 + 3 * 20) / 8]


def test_volumes_are_counted_in_voxels():
    labels = np.zeros((2, 1, 4, 4, 4), np.uint8)
    labels[1, 0, :2] = 1
    assert map_volumes(labels).tolist() == [[0], [32]]


def test_sampling_weights():
    assert sampling_weights(CASES[:3], {"B": 3}).tolist() == [1, 3, 1]


@pytest.fixture
def phantom_cases(trial):
    cases = trial.data.list_cases()
    return cases, np.full((len(cases), 1), 100)


def test_training_and_held_out_cases_are_apart(trial, phantom_cases):
    cases, volumes = phantom_cases
    found = assign(trial, cases, ("tumor",), volumes)
    assert not set(found.train) & set(found.held_out)
    assert sorted(found.train + found.held_out) == list(range(len(cases)))
    # Half of the training maps are emptied, so half the volume is left.
    assert found.v_hat == {"tumor": 50.0}
    assert found.eps == {"tumor": 1e-7}


def test_epsilon_follows_the_labeling_in_force(trial, phantom_cases):
    def eps(**fields):
        spec = TrialSpec.model_validate({**trial.model_dump(), **fields})
        return assign(spec, phantom_cases[0], ("tumor",), phantom_cases[1]).eps["tumor"]

    loss = {"name": "dice", "phi": "I", "eps": "0.5 v_hat"}
    assert eps(loss=loss) == 25.0
    assert eps(loss=loss, labeling="full") == 50.0
    assert eps(loss={"name": "dice", "phi": "I", "eps": {"tumor": "2 v_hat"}}) == 100.0


def test_a_batch_larger_than_an_epoch_is_refused(trial, phantom_cases):
    spec = TrialSpec.model_validate({**trial.model_dump(), "batch_size": 9})
    with pytest.raises(InputError, match="9 is more than the 8 training cases"):
        assign(spec, phantom_cases[0], ("tumor",), phantom_cases[1])


def test_a_multiple_of_an_empty_v_hat_is_refused(trial, phantom_cases):
    spec = TrialSpec.model_validate({**trial.model_dump(), "loss": {"name": "dice", "phi": "I", "eps": "v_hat"}})
    with pytest.raises(InputError, match="v̂ is 0"):
        assign(spec, phantom_cases[0], ("tumor",), np.zeros_like(phantom_cases[1]))
