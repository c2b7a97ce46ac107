from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.tables import Emptied, MissingColumnsError, StudyTables, TableError, is_partial, plain
from tests.analysis.conftest import Setting, make_study


@pytest.fixture
def small() -> StudyTables:
    return make_study([Setting("BI"), Setting("I", "v_hat"), Setting("I", "0.5 v_hat"), Setting("I", "100")], seeds=2)


def test_missing_columns_are_named_with_their_meaning(small):
    with pytest.raises(MissingColumnsError, match=r"table of cases lacks pred_ml \(predicted volume \[ml\]\)"):
        replace(small, cases=small.cases.drop(columns="pred_ml"))


def test_all_faults_are_told_at_once(small):
    trials = small.trials.assign(state=["RUNNING", *small.trials["state"][1:]])
    trials["key"] = trials["key"].replace(trials["key"][1], trials["key"][2])
    with pytest.raises(TableError) as caught:
        replace(small, trials=trials, emptied=Emptied("LGG", ("liver",)), groups=("A",), settings=("momentum",))
    for fault in (
        "settings without a column in the table of trials: momentum",
        "trials that stand twice",
        "unknown states RUNNING, known: DONE, FAILED",
        "cases of trials that are not DONE",
        "cases with unknown group B, known: A",
        "unknown emptied group 'LGG'",
        "unknown emptied class liver",
    ):
        assert fault in str(caught.value)


def test_order_of_rows_in_does_not_matter(small):
    shuffled = replace(
        small,
        trials=small.trials.sample(frac=1, random_state=1),
        cases=small.cases.sample(frac=1, random_state=2),
    )
    pd.testing.assert_frame_equal(shuffled.trials, small.trials)
    pd.testing.assert_frame_equal(shuffled.cases, small.cases)


def test_trials_stand_by_phi_then_eps_in_voxels(small):
    assert list(zip(small.trials["phi"], small.trials["eps"], strict=True))[::2] == [
        ("I", "0.5 v_hat"),
        ("I", "100"),
        ("I", "v_hat"),
        ("BI", "1e-07"),
    ]


def test_settings_may_be_lists_or_missing_and_are_no_derived_columns(small):
    trials = small.trials.assign(features=[[8, 16]] * 7 + [None], momentum=np.nan)
    tables = replace(small, trials=trials, settings=(*small.settings, "features", "eps_voxels", "momentum"))
    assert set(tables.trials["features"]) == {"[8, 16]", ""}
    assert tables.settings == ("loss", "phi", "eps", "batch_size", "labeling", "lr", "features", "momentum")
    assert tables.other_settings == ("lr", "features", "momentum")


def test_a_loss_without_phi_and_eps_is_welcome(small):
    trials = small.trials.assign(phi=None, eps=None, eps_voxels=None, v_hat=None)
    tables = replace(small, trials=trials)
    assert set(tables.trials["phi"]) == {""}
    assert tables.trials["eps_voxels"].isna().all()


def test_is_emptied_asks_for_labeling_group_and_class(small):
    assert small.is_emptied("partial 0.5", "B", "tumor")
    assert not small.is_emptied("full", "B", "tumor")
    assert not small.is_emptied("partial", "A", "tumor")
    assert is_partial("partial")


def test_plain_gives_jsons_own_types():
    nested = {"a": np.float64("nan"), "b": (np.int64(2), np.bool_(True)), "c": np.array([1.5, np.inf]), "d": pd.NA}
    assert plain(nested) == {"a": None, "b": [2, True], "c": [1.5, None], "d": None}
    assert type(plain(np.int64(2))) is int
