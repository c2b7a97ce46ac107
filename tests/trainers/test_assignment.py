from dataclasses import replace

import numpy as np
import pytest

from trainers.assignment import assign_cases
from trainers.data.base import CaseInfo, LabelTable
from trainers.errors import InputError
from trainers.labeling import hidden_maps, sampling_weights, v_hat
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


def test_sampling_weights():
    assert sampling_weights(CASES[:3], {"B": 3}).tolist() == [1, 3, 1]


@pytest.fixture
def table(trial):
    cases = trial.data.list_cases()
    return LabelTable(cases, ("tumor",), np.full((len(cases), 1), 100), (8, 8, 8))


@pytest.fixture
def whole_table(table):
    """Labels that fill a corner of 100 voxels of a larger volume."""
    label = np.zeros((1, 16, 16, 16), np.uint8)
    label[:, :5, :5, :4] = 1
    return replace(table, whole=[label] * len(table.cases))


def test_training_and_held_out_cases_are_apart(trial, table):
    cases = table.cases
    found = assign_cases(trial, table)
    assert not set(found.train) & set(found.held_out)
    assert sorted(found.train + found.held_out) == list(range(len(cases)))
    # Half of the training maps are emptied, so half the volume is left.
    assert found.v_hat == {"tumor": 50.0}
    assert found.eps == {"tumor": 1e-7}


def test_epsilon_follows_the_labeling_in_force(trial, table):
    def eps(**fields):
        spec = TrialSpec.model_validate({**trial.model_dump(), **fields})
        return assign_cases(spec, table).eps["tumor"]

    loss = {"name": "dice", "phi": "I", "eps": "0.5 v_hat"}
    assert eps(loss=loss) == 25.0
    assert eps(loss=loss, labeling="full") == 50.0
    assert eps(loss={"name": "dice", "phi": "I", "eps": {"tumor": "2 v_hat"}}) == 100.0


def test_a_batch_larger_than_an_epoch_is_refused(trial, table):
    spec = TrialSpec.model_validate({**trial.model_dump(), "batch_size": 9})
    with pytest.raises(InputError, match="9 is more than the 8 training cases"):
        assign_cases(spec, table)


def test_a_multiple_of_an_empty_v_hat_is_refused(trial, table):
    spec = TrialSpec.model_validate({**trial.model_dump(), "loss": {"name": "dice", "phi": "I", "eps": "v_hat"}})
    with pytest.raises(InputError, match="v̂ is 0"):
        assign_cases(spec, replace(table, volumes=np.zeros_like(table.volumes)))


def test_v_hat_of_patches_cut_at_the_label_is_what_they_hold(trial, whole_table):
    spec = TrialSpec.model_validate(
        {**trial.model_dump(), "protocol": {**trial.protocol.model_dump(), "patches": "label"}}
    )
    assert assign_cases(spec, whole_table).v_hat == {"tumor": 50.0}


def test_v_hat_of_random_patches_is_the_mean_over_where_they_may_lie(trial, whole_table):
    found = assign_cases(trial, whole_table)
    # Labelled cases alone may be aimed at; 0 < anywhere < aimed <= 100, and the emptied half counts nothing.
    assert 0 < found.v_hat["tumor"] < 50.0
    assert np.unique(found.volumes[found.hidden]).size == 1
    assert found.volumes[found.hidden].max() < found.volumes[~found.hidden].min()


def test_a_given_split_is_taken(trial, table):
    names = [info.case for info in table.cases]
    split = {"train": names[2:9], "held_out": names[:2]}
    found = assign_cases(TrialSpec.model_validate({**trial.model_dump(), "split": split}), table)
    assert found.train == list(range(2, 9))
    assert sorted(found.held_out) == [0, 1]
