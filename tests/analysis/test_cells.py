import json
from dataclasses import replace

import pytest

from analysis.results.cells import cell_metrics
from analysis.tables import Emptied
from tests.analysis.conftest import Setting, make_study, sometimes


def test_figures_of_a_cell(demo, rng):
    cells = cell_metrics(demo, rng)
    assert len(cells) == demo.trials["cell"].nunique()
    ignoring = next(c for c in cells if c["params"]["eps"] == "0.001 v_hat")
    assert set(ignoring["metrics"]) == {
        *("dsc.A.tumor", "dsc.B.tumor", "dv_ml.A.tumor", "dv_ml.B.tumor", "retention.tumor", "auc.tumor")
    }
    assert ignoring["params"] == {
        "loss": "dice",
        "phi": "I",
        "eps": "0.001 v_hat",
        "eps_voxels": 0.2,
        "v_hat": 200.0,
        "batch_size": 2,
        "labeling": "partial",
        "lr": 0.005,
    }
    assert (ignoring["n"], ignoring["trials"], ignoring["valid"]) == (3, 3, True)
    for figures in ignoring["metrics"].values():
        assert figures["low"] <= figures["mean"] <= figures["high"]
    assert ignoring["metrics"]["dsc.A.tumor"]["n"] == 3 * 8
    keys = demo.trials.loc[demo.trials["cell"] == ignoring["cell"], "key"]
    cases = demo.cases[demo.cases["key"].isin(keys) & (demo.cases["group"] == "B")]
    assert ignoring["metrics"]["dsc.B.tumor"]["mean"] == pytest.approx(cases["dsc"].mean())
    json.dumps(cells, allow_nan=False)


def test_collapsed_and_failed_trials_make_a_cell_invalid(rng):
    tables = make_study(
        [Setting("I", "v_hat"), Setting("I", "v_hat", 2, "full"), Setting("BI")],
        collapse=sometimes,
        fail=lambda setting, seed: setting.phi == "BI" and seed > 0,
    )
    by_name = {(c["params"]["phi"], c["params"]["labeling"]): c for c in cell_metrics(tables, rng)}
    collapsed, failed = by_name["I", "partial"], by_name["BI", "partial"]
    assert (collapsed["valid"], collapsed["doubts"]) == (False, ["1 collapsed"])
    assert collapsed["outcomes"] == {"learns_empty": 2, "collapsed": 1}
    assert (failed["valid"], failed["n"], failed["trials"], failed["doubts"]) == (False, 1, 3, ["2 failed"])
    assert by_name["I", "full"]["valid"]


def test_a_cell_whose_trials_all_failed_has_no_figures(rng):
    (cell,) = cell_metrics(make_study([Setting()], fail=lambda setting, seed: True), rng)
    assert (cell["n"], cell["metrics"], cell["valid"]) == (0, {}, False)
    assert cell["doubts"] == ["no trial is done", "3 failed"]


def test_without_an_emptied_group_there_is_neither_retention_nor_auc(rng):
    (cell,) = cell_metrics(make_study([Setting("I", "1", 2, "full")], emptied=None), rng)
    assert set(cell["metrics"]) == {"dsc.A.tumor", "dsc.B.tumor", "dv_ml.A.tumor", "dv_ml.B.tumor"}
    assert cell["valid"]


def test_several_classes_have_figures_of_their_own(rng):
    tables = make_study([Setting("BI")], seeds=2)
    core = tables.cases.assign(**{"class": "core", "emptied": False})
    core["pred_ml"] = core["true_ml"] / 2
    cases = type(core)(tables.cases)
    both = type(core)({name: [*cases[name], *core[name]] for name in cases.columns})
    two = replace(tables, cases=both, classes=("tumor", "core"), emptied=Emptied("B", ("tumor", "core")))
    (cell,) = cell_metrics(two, rng)
    assert cell["metrics"]["retention.core"]["mean"] == pytest.approx(0.5)
    assert cell["metrics"]["retention.tumor"]["mean"] < 0.1
    assert cell["outcomes"] == {"between": 2, "learns_empty": 2}


def test_the_same_rng_gives_the_same_figures(demo, rng):
    assert cell_metrics(demo, rng) == cell_metrics(demo, type(rng)(type(rng.bit_generator)(0)))
