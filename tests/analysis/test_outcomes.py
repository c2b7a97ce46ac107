import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.outcomes import Outcome, case_retention, classify, trial_scores
from tests.analysis.conftest import Setting, make_study, sometimes

NAN = math.nan


@pytest.mark.parametrize(
    ("retention", "labelled", "reference", "outcome"),
    [
        (0.95, 0.89, 0.9, Outcome.IGNORES),
        (0.70, 0.89, 0.9, Outcome.IGNORES),
        (0.50, 0.85, 0.9, Outcome.BETWEEN),
        (0.30, 0.82, 0.9, Outcome.LEARNS_EMPTY),
        (0.00, 0.46, 0.9, Outcome.LEARNS_EMPTY),
        (0.00, 0.44, 0.9, Outcome.COLLAPSED),
        (0.00, 0.00, NAN, Outcome.COLLAPSED),  # no reference: the floor
        (0.00, 0.21, NAN, Outcome.LEARNS_EMPTY),
        (0.90, 0.05, 0.04, Outcome.COLLAPSED),  # a reference that is itself collapsed excuses nothing
        (0.90, NAN, 0.9, Outcome.IGNORES),
        (NAN, 0.9, 0.9, Outcome.UNSCORED),
    ],
)
def test_rules(retention, labelled, reference, outcome):
    assert classify(retention, labelled, reference).outcome is outcome


def test_reasons_tell_the_figures():
    assert classify(0, 0.1, 0.9).reason == "labelled DSC 0.10 is under 0.45, half of the 0.90 under full labeling"
    assert classify(0, 0.1, NAN).reason == "labelled DSC 0.10 is under 0.20, the floor"
    assert "collapse cannot be told" in classify(0.9, NAN, NAN).reason
    assert classify(NAN, NAN, NAN, failure="out of memory").reason == "out of memory"
    assert classify(NAN, NAN, NAN, failure="").reason == "no reason was recorded"


def test_divergence_is_told_from_other_failures():
    assert classify(NAN, NAN, NAN, failure="diverged: the loss was nan at epoch 3").outcome is Outcome.DIVERGED
    assert classify(NAN, NAN, NAN, failure="out of memory").outcome is Outcome.FAILED


def only_group(classes=("tumor",)):
    """A study whose emptied group is the only one; a second class, if any, is never emptied."""
    tables = make_study([Setting("BI", labeling="partial 0.5"), Setting("BI", "1e-07", 2, "full")])
    cases = tables.cases[tables.cases["group"] == "B"]
    parts = [cases, *(cases.assign(**{"class": name, "dsc": 0.8, "emptied": False}) for name in classes[1:])]
    return replace(tables, cases=pd.concat(parts, ignore_index=True), groups=("B",), classes=classes)


def test_where_the_emptied_group_is_the_only_one_collapse_cannot_be_told():
    scores = trial_scores(only_group())
    partial = scores[scores["labeling"] == "partial 0.5"]
    assert set(partial["outcome"]) == {"learns_empty"}
    assert partial["outcome_reason"].str.contains("collapse cannot be told").all()
    assert partial["dsc_labelled"].isna().all()


def test_where_the_emptied_group_is_the_only_one_its_other_classes_are_the_labelled_ones():
    scores = trial_scores(only_group(("tumor", "ring")))
    assert scores["dsc_labelled"].tolist() == pytest.approx([0.8] * 6)
    assert not scores["outcome_reason"].str.contains("cannot be told").any()


def test_full_labeling_ignores_nothing():
    assert classify(0.9, 0.9, 0.9, partial=False).outcome is Outcome.SEGMENTS
    assert classify(0.9, 0.1, 0.9, partial=False).outcome is Outcome.COLLAPSED
    assert classify(NAN, NAN, 0.9, partial=False).outcome is Outcome.UNSCORED


def test_case_retention_is_clipped_and_needs_a_true_volume():
    cases = pd.DataFrame({"pred_ml": [5.0, 30, 2, 2], "true_ml": [10.0, 10, 0, 8], "gt_empty": [False] * 3 + [True]})
    assert case_retention(cases)[:2].tolist() == [0.5, 1.0]
    assert case_retention(cases)[2:].isna().all()


def by_hand():
    """One trial, three cases a group, with volumes that can be worked by hand."""
    tables = make_study([Setting()], seeds=1, cases=3)
    cases = tables.cases.sort_values(["group", "case"]).reset_index(drop=True)
    cases["true_ml"] = [10.0, 10, 10, 10, 20, 0]
    cases["gt_empty"] = [False] * 5 + [True]
    cases["pred_ml"] = [9.0, 8, 2, 5, 30, 2]
    cases["dv_ml"] = cases["pred_ml"] - cases["true_ml"]
    cases["dsc"] = [0.9, 0.8, 0.4, 0.5, np.nan, 0.0]
    return replace(tables, cases=cases)


def test_scores_by_hand():
    row = trial_scores(by_hand()).iloc[0]
    assert row["retention"] == pytest.approx((0.5 + 1) / 2)  # the empty truth counts for nothing
    assert row["dsc_labelled"] == pytest.approx((0.9 + 0.8 + 0.4) / 3)
    assert row["dsc_emptied"] == 0.5  # over drawn maps: older scores hold a 0 for the empty one
    assert row["dv_labelled"] == pytest.approx((-1 - 2 - 8) / 3)
    assert row["dv_emptied"] == pytest.approx((-5 + 10 + 2) / 3)
    assert row["auc"] == pytest.approx((2 + 2 + 0.5) / 9)  # 9 and 8 over 5 and 2; 2 ties with 2
    assert row["outcome"] == "ignores"


def test_each_trial_has_one_row_failed_ones_included():
    tables = make_study([Setting(), Setting("BI")], fail=lambda setting, seed: seed == 0)
    scores = trial_scores(tables)
    assert len(scores) == 6
    failed = scores[scores["seed"] == 0]
    assert set(failed["outcome"]) == {"failed"}
    assert set(failed["outcome_reason"]) == {"the loss became NaN in epoch 3"}
    assert failed["retention"].isna().all()


def test_collapse_is_told_from_learning_empty():
    scores = trial_scores(make_study([Setting("I", "v_hat"), Setting("I", "v_hat", 2, "full")], collapse=sometimes))
    partial = scores[scores["labeling"] == "partial"].sort_values("seed")
    assert partial["outcome"].tolist() == ["learns_empty", "collapsed", "learns_empty"]
    assert set(scores["outcome"]) == {"learns_empty", "collapsed", "segments"}


def test_reference_agrees_in_all_but_loss_phi_eps_and_labeling():
    settings = [Setting("I", "1e-07", 2, "full"), Setting("I", "1e-07", 4, "full"), Setting("BI", "v_hat", 4)]
    tables = make_study([*settings, Setting("I", "1", 8)], seeds=1)
    cases = tables.cases.merge(tables.trials[["key", "batch_size"]], on="key")
    cases.loc[cases["batch_size"] == 2, "dsc"] = 0.9
    cases.loc[cases["batch_size"] == 4, "dsc"] = 0.6
    scores = trial_scores(replace(tables, cases=cases.drop(columns="batch_size")))
    references = scores.set_index(["batch_size", "labeling"])["reference"]
    assert references[4, "partial"] == pytest.approx(0.6)
    assert references[8, "partial"] == pytest.approx(0.9)  # nothing like it under full: the highest of the study


def test_no_emptied_group_no_rows():
    scores = trial_scores(make_study([Setting()], emptied=None))
    assert scores.empty
    assert {"retention", "outcome", "class"} <= set(scores.columns)
