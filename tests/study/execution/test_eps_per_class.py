"""ε per class on Ray itself: it was lost on the way to the workers, where tests without Ray could not see it."""

import json
import subprocess
import sys

import pytest

STUDY = """
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


@pytest.mark.engine
def test_a_trial_on_ray_has_the_eps_of_each_class(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    places = ["--storage", str(tmp_path / "storage"), "--store", f"sqlite:///{tmp_path / 'mlflow.db'}"]
    command = [sys.executable, "-m", "study.cli", "launch", str(tmp_path / "study.yaml"), "--quiet", *places]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    (result,) = (json.loads(path.read_text()) for path in (tmp_path / "storage" / "trials").glob("*/result.json"))
    assert result["state"] == "DONE"
    assert result["eps_voxels"] == pytest.approx({"RV": 1e-7, "MYO": 0.1 * result["v_hat"]["MYO"], "LV": 3})
