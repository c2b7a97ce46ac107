import json

import numpy as np
import pandas as pd
import pytest

from analysis.report.terminal import best_text
from analysis.results.ranking import best
from analysis.results.row_filter import choose
from tests.analysis.conftest import Setting, make_study


def test_goal_ignore_finds_cells_that_keep_the_emptied_group(demo, rng):
    found = best(demo, rng, goal="ignore", top=5)
    assert [entry["rank"] for entry in found] == [1, 2, 3, 4, 5]
    for entry in found:
        assert entry["params"]["labeling"] == "partial"
        assert entry["outcomes"] == {"ignores": 3}
        assert entry["score"] == entry["metrics"]["dsc.B.tumor"]["mean"]
    assert found == sorted(found, key=lambda entry: -entry["score"])
    json.dumps(found, allow_nan=False)


def test_goal_empty_finds_cells_that_learn_and_keep_the_labelled_group(demo, rng):
    found = best(demo, rng, goal="empty", top=None)
    assert set(found[0]["outcomes"]) == {"learns_empty"}
    metrics = found[0]["metrics"]
    assert found[0]["score"] == pytest.approx(metrics["auc.tumor"]["mean"] - metrics["retention.tumor"]["mean"])
    # One of three seeds collapsed at v̂: the labelled group is not kept.
    assert "collapsed" not in {name for entry in found for name in entry["outcomes"]}


def test_goal_dice_ranks_all_cells(demo, rng):
    assert len(best(demo, rng, goal="dice", top=None)) == demo.trials["cell"].nunique()


def test_the_labelled_group_must_be_kept(rng):
    # BI costs the labelled group 0.08 of 0.90: too much to ignore, not too much to learn empty.
    tables = make_study([Setting("BI"), Setting("BI", "1e-07", 2, "full")])
    assert best(tables, rng, goal="ignore") == []
    assert len(best(tables, rng, goal="empty")) == 1


def test_differences_are_told_where_the_evidence_allows(demo, rng):
    found = best(demo, rng, goal="empty", where="eps == 60 or eps < 1 and eps > 0.1", top=None)
    assert found[0]["differs_from_first"] is found[0]["p"] is None
    assert found[-1]["outcomes"] == {"ignores": 3}
    assert found[-1]["differs_from_first"] is True
    few = best(make_study([Setting("I", "1"), Setting("BI")], cases=2), rng, goal="dice")
    assert [entry["differs_from_first"] for entry in few] == [None, None]


def test_equal_cells_hardly_ever_differ():
    rng = np.random.default_rng(2)
    told = []
    for _ in range(30):
        tables = make_study([Setting("I", eps) for eps in ("0.1", "0.2", "0.3", "0.4")], seeds=2, rng=rng)
        told += [entry["differs_from_first"] for entry in best(tables, rng, goal="ignore")[1:]]
    # The first was chosen for being the best, which flatters it; the correction for all pairs makes up for that.
    assert np.mean(told) < 0.05


@pytest.mark.parametrize(
    ("metric", "first"),
    [("retention.tumor", "ignores"), ("-final.retention.tumor", "learns_empty"), ("dv_ml.B.tumor", "ignores")],
)
def test_any_metric(metric, first, rng):
    tables = make_study([Setting("I", "1"), Setting("BI")])
    found = best(tables, rng, metric=metric)
    assert found[0]["outcomes"] == {first: 3}
    assert found[1]["differs_from_first"] is True


def test_auc_has_no_pairs_to_compare(demo, rng):
    found = best(demo, rng, metric="auc.tumor")
    assert {entry["differs_from_first"] for entry in found} == {None}


def test_where_filters_by_eps_in_voxels(demo, rng):
    found = best(demo, rng, goal="dice", where="eps>1 and phi=='I' and labeling=='partial'", top=None)
    assert {entry["params"]["eps_voxels"] for entry in found} == {2.0, 6.0, 20.0, 60.0, 200.0, 2000.0}
    written = best(demo, rng, goal="dice", where="eps_written == 'v_hat' and batch_size in [4]", top=None)
    assert {entry["params"]["labeling"] for entry in written} == {"full", "partial"}
    assert best(demo, rng, where="eps > 1e9") == []


def test_wrong_input_names_what_is_known(demo, rng):
    with pytest.raises(ValueError, match="unknown goal 'win', known: ignore, empty, dice"):
        best(demo, rng, goal="win")
    with pytest.raises(ValueError, match=r"unknown metric 'dsc.C.tumor', known: auc.tumor, dsc.A.tumor"):
        best(demo, rng, metric="dsc.C.tumor")
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        best(demo, rng, top=0)


TABLE = pd.DataFrame({"eps": [1e-7, 6.0, np.nan], "phi": ["I", "BI", ""], "batch_size": [1, 2, 4]})


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("eps>1", [1]),
        ("eps <= 6 and not phi == 'I'", [1]),
        ("1e-8 < eps < 10", [0, 1]),
        ("phi in ['I', 'CI'] or batch_size in (4,)", [0, 2]),
        ("phi not in ['I']", [1, 2]),
        ("batch_size > -1", [0, 1, 2]),
        ("  eps > 100  ", []),
    ],
)
def test_choose(where, rows):
    assert np.flatnonzero(choose(TABLE, where)).tolist() == rows


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("", "cannot read"),
        ("eps >", "cannot read"),
        ("@eps > 1", "cannot read"),
        ("eps > 1; phi == 'I'", "cannot read"),
        ("__import__('os').system('true') == 0", "compares no column"),
        ("eps > __import__('os')", "is not allowed"),
        ("eps > 1 and open('x')", "is no comparison"),
        ("eps.real > 1", "compares no column"),
        ("phi.str.len() > 1 and eps > 1", "compares no column"),
        ("eps > 1 + 1", "is not allowed"),
        ("eps > (lambda: 1)()", "is not allowed"),
        ("eps > [x for x in ()]", "is not allowed"),
        ("phi == f'{eps}'", "is not allowed"),
        ("phi in ['I', eps]", "'eps' is no number or text"),
        ("eps[0] > 1", "compares no column"),
        ("eps > True.real", "is not allowed"),
        ("eps", "is no comparison"),
        ("eps and phi == 'I'", "is no comparison"),
        ("1 == 1", "compares no column"),
        ("epsilon > 1", "unknown column 'epsilon'"),
        ("index > 1", "unknown column 'index'"),
        ("phi is 'I'", "write =="),
        ("phi > 1", "cannot compare"),
        ("(" * 500 + "eps > 1" + ")" * 500, "cannot read"),
    ],
)
def test_what_is_no_comparison_is_refused_with_the_known_columns(where, fault):
    with pytest.raises(ValueError, match="known columns: eps, phi, batch_size") as caught:
        choose(TABLE, where)
    assert fault in str(caught.value)


def test_ties_and_thin_evidence_are_said(demo, rng):
    text = best_text(best(demo, rng, goal="dice", where="eps < 2 and labeling == 'partial' and phi == 'I'"))
    assert "Not told apart from the first: 2, 3, 4; the order among them may be chance." in text
    thin = best(make_study([Setting("I", "1"), Setting("BI")], cases=2, seeds=1), rng, goal="dice")
    assert thin[1]["subjects"] == 4
    assert "Cannot be compared with the first: 2; with 4 shared subjects no difference could be told." in best_text(
        thin
    )
    assert "Fewer than 3 trials, which say little about other seeds: 1, 2." in best_text(thin)
