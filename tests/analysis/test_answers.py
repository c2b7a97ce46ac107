import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.results.table_one import table_one
from analysis.results.transition_map import map_rows, transition_map
from analysis.stats.permutation import holm, paired_bootstrap
from tests.analysis.conftest import LINE, Setting, demo_settings, make_study

BOTH = [Setting(*setup, 2, kind) for setup in (("I", "1e-07"), ("BI", "1e-07")) for kind in ("full", "partial")]


def row_of(rows, phi, labeling, group):
    (row,) = [r for r in rows if (r["phi"], r["labeling"], r["group"]) == (phi, labeling, group)]
    return row


def test_table_shows_the_papers_pattern(rng):
    rows = table_one(make_study(BOTH, cases=12), rng)
    assert len(rows) == 4 * 2
    kept, lost = (row_of(rows, phi, "partial", "B") for phi in ("I", "BI"))
    assert kept["emptied"]
    assert kept["dsc"] > 0.85
    assert not kept["significant"]
    assert lost["dsc"] < 0.35
    assert lost["auc"] > 0.85
    assert lost["significant"]
    assert lost["change"] == pytest.approx(lost["dsc"] - row_of(rows, "BI", "full", "B")["dsc"])
    assert lost["outcomes"] == {"learns_empty": 3}
    assert not row_of(rows, "BI", "partial", "A")["emptied"]
    for group in "AB":
        full = row_of(rows, "I", "full", group)
        assert (full["p"], full["significant"], full["emptied"]) == (None, None, False)
    assert {
        "phi",
        "eps",
        "batch_size",
        "labeling",
        "group",
        "class",
        "emptied",
        "dsc",
        "dv_ml",
        "auc",
        "n",
        "p",
    } <= set(kept)
    json.dumps(rows, allow_nan=False)


def test_p_is_the_paired_one_of_case_means_corrected_over_the_table(rng):
    tables = make_study(BOTH, cases=9)
    rows = table_one(tables, rng)
    means = tables.cases.merge(tables.trials[["key", "phi", "labeling"]], on="key")
    means = means.groupby(["phi", "group", "labeling", "case"])["dsc"].mean().unstack("labeling")
    raw = {
        (phi, group): paired_bootstrap(part["partial"], part["full"], range(len(part)), np.random.default_rng(0))
        for (phi, group), part in means.groupby(["phi", "group"])
    }
    corrected = dict(zip(raw, holm(list(raw.values())), strict=True))
    for (phi, group), p in corrected.items():
        assert row_of(rows, phi, "partial", group)["p"] == pytest.approx(p)


def test_partial_is_compared_with_full_at_the_same_eps_as_written(rng):
    settings = [Setting("I", "v_hat", 2, "full"), Setting("I", "v_hat"), Setting("I", "0.5 v_hat")]
    rows = [row for row in table_one(make_study(settings), rng) if row["group"] == "A"]
    told = {(row["eps"], row["labeling"]): row["p"] is not None for row in rows}
    assert told == {("v_hat", "full"): False, ("v_hat", "partial"): True, ("0.5 v_hat", "partial"): False}


def test_nothing_differs_nothing_is_marked():
    rng = np.random.default_rng(8)
    marked = []
    for _ in range(25):
        settings = [Setting("I", "0.1", b, kind) for b in (1, 2, 4) for kind in ("full", "partial")]
        marked.append(any(row["significant"] for row in table_one(make_study(settings, seeds=1, rng=rng), rng)))
    assert np.mean(marked) <= 0.2  # 5 % of whole tables, and the error of 25


def test_few_subjects_are_not_tested(rng):
    rows = table_one(make_study(BOTH, cases=5), rng)
    assert {row["p"] for row in rows} == {None}
    assert row_of(rows, "BI", "partial", "B")["change"] < -0.5


def test_table_of_failed_trials_is_empty(rng):
    assert table_one(make_study(BOTH, fail=lambda setting, seed: True), rng) == []


def slice_of(mapped, phi, batch_size):
    (found,) = [s for s in mapped["slices"] if (s["at"]["phi"], s["at"]["batch_size"]) == (phi, batch_size)]
    return found


def test_map_finds_the_crossing_that_the_study_was_drawn_from(rng):
    settings = [Setting("I", f"{eps:.3g}") for eps in 10 ** np.arange(-1, 3.1, 0.5)]
    mapped = transition_map(make_study(settings, seeds=6, crossing=1.2, spread=0.3), rng)
    (found,) = mapped["slices"]
    crossing = found["crossing"]
    assert crossing["low"] <= 10**1.2 <= crossing["high"]
    assert crossing["bracket"][0] <= crossing["eps"] <= crossing["bracket"][1]
    assert crossing["in_v_hat"]["eps"] == pytest.approx(crossing["eps"] / 200)
    assert found["reason"] is None
    assert found["v_hat"] == 200
    json.dumps(mapped, allow_nan=False)


def test_slices_are_the_partial_settings_without_eps(demo, rng):
    mapped = transition_map(demo, rng)
    assert [(s["at"]["phi"], s["at"]["batch_size"]) for s in mapped["slices"]] == [
        ("I", 2),
        ("I", 4),
        ("BI", 2),
        ("BI", 4),
    ]
    assert all("eps" not in s["at"] and s["at"]["labeling"] == "partial" for s in mapped["slices"])
    assert slice_of(mapped, "BI", 2)["crossing"] is None
    assert "fewer than two ε" in slice_of(mapped, "BI", 2)["reason"]


def test_points_stand_in_order_of_eps_and_tell_collapsed_trials_apart(demo, rng):
    points = slice_of(transition_map(demo, rng), "I", 2)["points"]
    assert [point["eps"] for point in points] == [1e-7, 0.2, 0.6, 2, 6, 20, 60, 200, 2000]
    assert points[1]["eps_in_v_hat"] == 0.001
    assert points[1]["eps_written"] == LINE[0]
    at_v_hat = points[7]
    assert at_v_hat["outcomes"] == {"learns_empty": 2, "collapsed": 1}
    assert at_v_hat["n"] == 2
    assert at_v_hat["dsc_labelled"] > 0.75  # the collapsed trial's 0 is not averaged in
    assert sorted(trial["outcome"] for trial in at_v_hat["trials"]) == ["collapsed", "learns_empty", "learns_empty"]
    assert points[8]["outcomes"] == {"learns_empty": 2, "failed": 1}


def test_eps_that_differs_a_little_between_folds_is_one_point(rng):
    tables = make_study([Setting("I", "0.01 v_hat"), Setting("I", "v_hat")])
    wobble = tables.trials["seed"].map({0: 0.9, 1: 1.0, 2: 1.1})
    trials = tables.trials.assign(eps_voxels=wobble * tables.trials["eps_voxels"])
    found = transition_map(replace(tables, trials=trials), rng)
    (points,) = [s["points"] for s in found["slices"]]
    assert [point["eps"] for point in points] == pytest.approx([2 * 0.99 ** (1 / 3), 200 * 0.99 ** (1 / 3)])


def test_rows_of_the_map_are_flat_and_alike(demo, rng):
    mapped = transition_map(demo, rng)
    rows = map_rows(mapped)
    assert len(rows) == sum(len(found["points"]) for found in mapped["slices"])
    assert len({tuple(row) for row in rows}) == 1
    at_v_hat = next(row for row in rows if row["eps"] == 200)
    assert (at_v_hat["trials_learns_empty"], at_v_hat["trials_collapsed"], at_v_hat["trials_ignores"]) == (2, 1, 0)
    assert 0.2 < at_v_hat["crossing_low"] <= 6
    assert not any(isinstance(value, dict | list) for row in rows for value in row.values())


def test_collapsed_everywhere_is_a_reason(rng):
    tables = make_study(demo_settings(), collapse=lambda setting, seed: setting.labeling == "partial")
    for found in transition_map(tables, rng)["slices"]:
        assert found["crossing"] is None
        assert "no trial to fit: " in found["reason"]
        assert "collapsed" in found["reason"]
        assert all(point["retention"] is None for point in found["points"])


def test_a_loss_without_eps_has_no_points(rng):
    tables = make_study([Setting()])
    tables = replace(tables, trials=tables.trials.assign(loss="leaf", eps="", eps_voxels=np.nan, v_hat=np.nan))
    (found,) = transition_map(tables, rng)["slices"]
    assert (found["crossing"], found["points"], found["v_hat"]) == (None, [], None)
    assert found["reason"] == "no trial has an ε above 0"


def test_without_partial_labeling_or_emptied_group_the_map_is_empty(rng):
    nothing = {"slices": [], "planes": []}
    assert transition_map(make_study([Setting("I", "1", 2, "full")]), rng) == nothing
    assert transition_map(make_study([Setting()], emptied=None), rng) == nothing


def test_collapse_has_a_share_of_its_own_with_wilsons_interval(demo, rng):
    points = slice_of(transition_map(demo, rng), "I", 2)["points"]
    assert points[7]["collapse"]["share"] == pytest.approx(1 / 3)
    assert points[8]["collapse"]["share"] == 0  # of two that were trained, the third failed
    assert points[8]["collapse"]["high"] == pytest.approx(1.96**2 / (2 + 1.96**2), abs=1e-3)


def test_the_curve_of_a_slice_tells_asymptotes_and_width(rng):
    settings = [Setting("I", f"{eps:.3g}") for eps in 10 ** np.arange(-1, 3.1, 0.25)]
    (found,) = transition_map(make_study(settings, seeds=8, crossing=1.2, spread=0.4), rng)["slices"]
    curve = found["curve"]
    assert curve["upper"] == pytest.approx(0.9, abs=0.05)
    assert curve["lower"] == pytest.approx(0.06, abs=0.05)
    assert curve["middle"] == pytest.approx(10**1.2, rel=0.6)
    assert 0.4 < curve["width"] < 2  # thresholds of standard deviation 0.4: 10 to 90 % lie 1.0 apart
    assert curve["r2"] > 0.6
    assert found["crossing"]["units"] == 8


def test_the_papers_figures_stand_beside_the_setups_that_it_has(demo, rng):
    rows = {(r["phi"], r["eps"], r["batch_size"], r["labeling"], r["group"]): r["paper"] for r in table_one(demo, rng)}
    assert rows["BI", "1e-07", 2, "partial", "B"] == {"data": "BRATS", "setup": "BI", "dsc": 0.24, "dv_ml": -89.0}
    assert rows["I", "v_hat", 4, "partial", "A"]["dsc"] == 0.83
    assert rows["I", "0.1 v_hat", 2, "partial", "B"] is None
