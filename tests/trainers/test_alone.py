"""``python -m trainers``: one trial with no study around it."""

import subprocess
import sys

import pytest
import torch


def call(*words):
    return subprocess.run(
        [sys.executable, "-m", "trainers", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_one_trial_alone(trial, tmp_path):
    (tmp_path / "spec.json").write_text(trial.model_dump_json())
    ended = call(tmp_path / "spec.json", "--storage", tmp_path / "storage")
    assert ended.returncode == 0, ended.stderr
    assert f"trial {trial.key}: DONE" in ended.stdout
    assert "dsc.A.tumor" in ended.stdout
    assert (tmp_path / "storage" / "trials" / trial.key / "result.json").exists()


def test_written_by_hand_and_wrong(trial, tmp_path):
    (tmp_path / "spec.yaml").write_text("data: {source: phantom}\nbatch_size: 0\n")
    ended = call(tmp_path / "spec.yaml")
    assert ended.returncode == 2
    assert "batch_size" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert call(tmp_path / "none.yaml").returncode == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has the device")
def test_a_device_that_is_not_there_is_told_before_anything_is_made(trial, tmp_path):
    (tmp_path / "spec.json").write_text(trial.model_dump_json())
    ended = call(tmp_path / "spec.json", "--storage", tmp_path / "storage", "--device", "cuda")
    assert ended.returncode == 2
    assert ended.stderr == "error: --device cuda: no such device on this machine; give --device cpu\n"
    assert not (tmp_path / "storage").exists()
