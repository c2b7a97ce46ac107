"""Saved views of MLflow's interface: what they hold, and that they fit into a tag."""

import json

import pytest

from study.config.load import parse_study
from study.config.search_space import enumerate_trials
from study.config.trial_params import trial_settings
from study.tracking.saved_views import VIEW, view_path, views_of
from study.tracking.schema import CELLS, CURVES

MANY = """
name: many
data:
  source: table
  root: {root}
  classes: {{a: 1, b: 2, c: 3, d: 4, e: 5}}
  groups: [one, two, three, four, five, six]
  spacing: [2, 2, 2]
  patch: [16, 16, 16]
labeling: {{empty: {{group: six, classes: [a, b, c, d, e]}}}}
trial: {{network: tiny, epochs: 2, lr: 5.0e-3}}
search:
  strategy: grid
  space:
    loss: [dice, iou]
    phi: [I, BI]
    eps: [1.0e-7, v_hat]
    batch_size: [2, 4]
    lr: [1.0e-3, 1.0e-2]
    labeling: [full, partial]
"""
LONGEST_TAG = 5000
"""What MLflow takes as the value of an experiment's tag."""


def views(study):
    found = views_of(study, enumerate_trials(study, lambda _: "0" * 12))
    return {key.removeprefix(VIEW): json.loads(json.loads(value)["state"]) for key, value in found.items()}


def test_cells_come_with_what_varies_and_what_came_out(study):
    cells = views(study)[CELLS]
    assert "'cell'" in cells["searchFilter"]
    assert cells["orderByKey"] == "metrics.`final.retention.tumor`"
    shown = cells["selectedColumns"]
    # What does not vary tells nothing: the batch size is 2 throughout.
    assert {"params.`phi`", "params.`eps`", "params.`labeling`"} == {
        name for name in shown if name.startswith("params")
    }
    assert {"metrics.`final.dsc.A.tumor`", "metrics.`final.dsc.B.tumor`", "metrics.`n`"} <= set(shown)
    (parallel,) = (chart for chart in cells["compareRunCharts"] if chart["type"] == "PARALLEL")
    assert parallel["selectedParams"] == ["phi", "labeling"]
    assert parallel["selectedMetrics"] == ["hp.eps_voxels", "final.retention.tumor"]


def test_learning_curves_are_drawn_by_group(study):
    curves = views(study)[CURVES]
    assert "'trial'" in curves["searchFilter"]
    drawn = [chart["metricKey"] for chart in curves["compareRunCharts"]]
    assert drawn == ["train.loss", "val.dsc.A.tumor", "val.dsc.B.tumor"]


def test_numbers_that_vary_have_an_axis_and_names_that_vary_too(tmp_path):
    study = parse_study(MANY.format(root=tmp_path / "cases.csv"))
    assert trial_settings(next(iter(enumerate_trials(study, lambda _: "0" * 12))))["lr"] == pytest.approx(1e-3)
    (parallel, *_) = views(study)[CELLS]["compareRunCharts"]
    assert parallel["selectedParams"] == ["loss", "phi", "labeling"]
    assert parallel["selectedMetrics"] == ["hp.eps_voxels", "hp.batch_size", "hp.lr", "final.retention.a"]


def test_a_view_of_many_classes_and_groups_fits_into_a_tag(tmp_path):
    study = parse_study(MANY.format(root=tmp_path / "cases.csv"))
    found = views_of(study, enumerate_trials(study, lambda _: "0" * 12))
    assert max(map(len, found.values())) <= LONGEST_TAG


def test_a_path_names_a_view_that_there_is(study):
    for key in (CELLS, CURVES):
        assert f"viewStateShareKey={key}" in view_path("7", key)
        assert VIEW + key in views_of(study, enumerate_trials(study, lambda _: "0" * 12))
