"""Fields that reach a worker as text, on Ray itself: where trials run in one process nothing is lost on the way."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.engine

EPS_PER_CLASS = """
name: per-class
data: {source: phantom-cardiac, train: 8, test: 4}
labeling: {empty: {group: ES, classes: [MYO]}}
trial: {network: tiny, epochs: 1}
search:
  space:
    loss: dice
    phi: [I]
    eps: [{RV: 1.0e-7, MYO: 0.1 v_hat, LV: 3}]
    batch_size: 2
    labeling: [partial]
"""
EMPTY_SLICES = """
name: empty-slices
data: {source: phantom-2d, train: 8, test: 6, healthy: 0.5, tumors: [1, 3], slices: 4}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 1, tolerance_ml: 0.5}
search: {space: {loss: dice, phi: [I], eps: [v_hat], batch_size: 2, labeling: [partial]}}
"""
LACKING_CLASS = """
name: lacking-class
data: {source: phantom-cardiac, train: 8, test: 6, lacks: {ES: [RV]}}
labeling: {empty: {group: ES, classes: [MYO]}}
trial: {network: tiny, epochs: 1}
search: {space: {loss: dice, phi: [BI], eps: [1.0e-7], batch_size: 2, labeling: [partial]}}
"""


def launch(text, folder):
    """The result of the study's one trial, run on Ray by the command line."""
    (folder / "study.yaml").write_text(text)
    places = ["--storage", str(folder / "storage"), "--store", f"sqlite:///{folder / 'mlflow.db'}"]
    command = [sys.executable, "-m", "study.cli", "launch", str(folder / "study.yaml"), "--quiet", *places]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    (result,) = (json.loads(path.read_text()) for path in (folder / "storage" / "trials").glob("*/result.json"))
    assert result["state"] == "DONE"
    return result


def test_a_trial_has_the_eps_of_each_class(tmp_path):
    result = launch(EPS_PER_CLASS, tmp_path)
    assert result["eps_voxels"] == pytest.approx({"RV": 1e-7, "MYO": 0.1 * result["v_hat"]["MYO"], "LV": 3})


def test_slices_without_a_tumor_have_a_specificity_and_no_dsc(tmp_path):
    metrics = launch(EMPTY_SLICES, tmp_path)["metrics"]
    assert 0 <= metrics["specificity.healthy.tumor"] <= 1
    assert "dsc.healthy.tumor" not in metrics
    assert "dsc.A.tumor" in metrics


def test_a_class_that_a_group_lacks_has_no_dsc_there(tmp_path):
    metrics = launch(LACKING_CLASS, tmp_path)["metrics"]
    assert "dsc.ES.RV" not in metrics
    assert {"dsc.ED.RV", "specificity.ES.RV", "fp_ml.ES.RV"} <= set(metrics)
