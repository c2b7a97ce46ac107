"""The trial itself: what it learns from, what it leaves, and that a kill changes nothing."""

import ast
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainers.checkpoint import CHECKPOINT_FILE, CheckpointError
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.result import CASES_FILE, RESULT_FILE, load_result
from trainers.spec import TrialSpec
from trainers.trial import run_trial


@pytest.fixture
def data_folder(trial, tmp_path):
    return prepare(trial.data, tmp_path)


@pytest.fixture
def data(data_folder):
    return open_prepared(data_folder)


def changed(trial, **fields):
    return TrialSpec.model_validate({**trial.model_dump(), **fields})


def weights(folder):
    return torch.load(folder / CHECKPOINT_FILE, weights_only=True)["network"]


def same_bits(one, other):
    """Weights, per-case table and figures of two folders are equal to the bit; times may differ."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (one / CASES_FILE).read_bytes() == (other / CASES_FILE).read_bytes()
    results = [json.loads((folder / RESULT_FILE).read_text()) for folder in (one, other)]
    for result in results:
        del result["seconds"], result["scoring_seconds"], result["memory_mib"]
    assert results[0] == results[1]
    histories = [
        torch.load(folder / CHECKPOINT_FILE, weights_only=True)["progress"]["history"] for folder in (one, other)
    ]
    assert [record["metrics"] for record in histories[0]] == [record["metrics"] for record in histories[1]]


def test_a_trial_leaves_its_ending_and_tells_every_epoch(trial, data, tmp_path):
    told = []
    result = run_trial(trial, data, tmp_path / "t", told.append)
    assert result.state == "DONE"
    assert [record["epoch"] for record in told] == [1, 2, 3]
    assert {"train.loss", "val.loss", "val.dsc.A.tumor", "val.dsc.B.tumor"} <= told[-1]["metrics"].keys()
    assert {"dsc.A.tumor", "dv_ml.B.tumor", "retention.tumor", "auc.tumor"} <= result.metrics.keys()
    assert result.counts["steps"] == 3 * 8 // 2
    assert load_result(tmp_path / "t") == result
    # One row a held-out case, with its header.
    assert len((tmp_path / "t" / CASES_FILE).read_text().splitlines()) == 1 + 6


def test_the_same_spec_gives_the_same_bits_and_another_seed_others(trial, data, tmp_path):
    for name in ("one", "two"):
        run_trial(trial, data, tmp_path / name)
    same_bits(tmp_path / "one", tmp_path / "two")
    run_trial(changed(trial, seed=1), data, tmp_path / "other")
    assert not torch.equal(*(weights(tmp_path / name)["head.weight"] for name in ("one", "other")))


def test_a_trial_with_an_ending_is_not_run_again(trial, data, tmp_path):
    first = run_trial(trial, data, tmp_path / "t")
    before = (tmp_path / "t" / CHECKPOINT_FILE).stat().st_mtime_ns
    assert run_trial(trial, data, tmp_path / "t") == first
    assert (tmp_path / "t" / CHECKPOINT_FILE).stat().st_mtime_ns == before


def test_emptied_maps_are_hidden_from_training_and_not_from_scoring(trial, data, tmp_path):
    """Other voxels in the emptied training maps change nothing; other voxels in any scored map do."""
    labels = np.stack(data.labels)
    emptied = [i for i, case in enumerate(data.cases) if case.group == "B" and case.split == "train"]
    labels[emptied] = 1 - labels[emptied]
    first = run_trial(trial, data, tmp_path / "one")
    run_trial(trial, replace(data, labels=labels), tmp_path / "two")
    same_bits(tmp_path / "one", tmp_path / "two")

    scored = [i for i, case in enumerate(data.cases) if case.group == "B" and case.split == "test"]
    labels[scored] = 1 - labels[scored]
    run_trial(trial, replace(data, labels=labels), tmp_path / "three")
    assert (tmp_path / "one" / CASES_FILE).read_bytes() != (tmp_path / "three" / CASES_FILE).read_bytes()
    assert load_result(tmp_path / "three").targets["scoring"] != first.targets["scoring"]


def test_the_record_shows_what_was_trained_on_and_scored_against(trial, data, tmp_path):
    partial, full = (
        run_trial(changed(trial, labeling=labeling), data, tmp_path / labeling).targets
        for labeling in ("partial", "full")
    )
    assert partial["training"] != full["training"]
    assert partial["scoring"] == full["scoring"]


def test_prepared_data_is_never_written_to(trial, data, tmp_path):
    before = np.stack(data.images), np.stack(data.labels)
    run_trial(trial, data, tmp_path / "t")
    assert np.array_equal(np.stack(data.images), before[0])
    assert np.array_equal(np.stack(data.labels), before[1])


@pytest.mark.parametrize("fields", [{"batch_size": 1}, {"loss": {"name": "dice", "phi": "BI", "eps": "v_hat"}}])
def test_other_settings_run(trial, data, tmp_path, fields):
    assert run_trial(changed(trial, **fields), data, tmp_path / "t").state == "DONE"


def test_a_batch_of_one_with_its_dropped_twin_is_the_same_loss(trial, data, tmp_path):
    """Φ = BI at B = 1 is Φ = I, twin or not."""
    folders = []
    for phi in ("I", "BI"):
        folders.append(tmp_path / phi)
        run_trial(changed(trial, batch_size=1, loss={"name": "dice", "phi": phi, "eps": 1.0}), data, folders[-1])
    first, second = map(weights, folders)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_divergence_is_an_ending_with_its_reason(trial, data, tmp_path):
    broken = replace(data, images=np.full_like(np.stack(data.images), np.nan))
    result = run_trial(trial, broken, tmp_path / "t")
    assert result.state == "FAILED"
    assert "diverged: the loss was nan at epoch 1, step 1" in result.reason
    assert load_result(tmp_path / "t") == result


def test_no_memory_is_an_ending_that_names_the_batch_size(trial, data, tmp_path):
    # Weights of 864 GB: the allocator refuses them at once.
    huge = changed(trial, protocol={"epochs": 1, "network": {"name": "tiny", "features": [8, 10**9]}})
    result = run_trial(huge, data, tmp_path / "t")
    assert (result.state, result.ending) == ("FAILED", "out_of_memory")
    assert result.reason.startswith("out of memory at batch size 2")
    assert load_result(tmp_path / "t") == result


def test_a_trial_that_finds_nothing_anywhere_has_collapsed(trial, data, tmp_path):
    # A rate that throws the weights far away in the first step leaves a network that says no to everything.
    blind = changed(trial, protocol={"epochs": 1, "lr": 1e-3}, loss={"name": "dice", "phi": "I", "eps": 1e-7})
    dark = replace(data, images=np.zeros_like(np.stack(data.images)))
    result = run_trial(blind, dark, tmp_path / "t")
    assert result.state == "DONE"
    assert (result.ending == "all_empty") == all(
        line.endswith("True") for line in (tmp_path / "t" / CASES_FILE).read_text().splitlines()[1:]
    )


def test_the_record_counts_what_training_saw(trial, data, tmp_path):
    counts = run_trial(changed(trial, batch_size=3), data, tmp_path / "t").counts
    # Eight cases, four of them emptied: two batches of three an epoch, two cases over.
    assert (counts["cases_per_epoch"], counts["cases_dropped_per_epoch"], counts["steps"]) == (8, 2, 6)
    assert counts["batches_all_emptied"] == counts["batches_without_foreground"] <= 6
    assert 3 <= counts["emptied_maps_seen"] <= 12


def test_whats_taken_of_memory_is_in_the_record(trial, data, tmp_path):
    assert 50 < run_trial(trial, data, tmp_path / "t").memory_mib < 4000


def test_a_plateau_lowers_the_rate_and_ends_the_training(trial, data, tmp_path):
    # No improvement is ever enough, so every epoch but the first is a bad one.
    schedule = {"name": "plateau", "patience": 1, "stop_after": 2, "factor": 0.5, "min_delta": 10.0}
    told = []
    run_trial(
        changed(trial, protocol={"epochs": 9, "lr": 1e-3, "schedule": schedule}), data, tmp_path / "t", told.append
    )
    assert [round(record["metrics"]["lr"], 6) for record in told] == [1e-3, 1e-3, 5e-4]


def test_the_linear_schedule_falls_over_the_last_quarter(trial, data, tmp_path):
    told = []
    run_trial(changed(trial, protocol={"epochs": 8, "lr": 1e-3}), data, tmp_path / "t", told.append)
    rates = [record["metrics"]["lr"] for record in told]
    assert rates[:6] == [1e-3] * 6
    # Two epochs of four steps are left; the last step of each has 5 and 1 of 8 quarters of the rate.
    assert rates[6:] == pytest.approx([1e-3 * 5 / 8, 1e-3 * 1 / 8])


def test_a_checkpoint_of_another_trial_is_refused(trial, data, tmp_path):
    run_trial(trial, data, tmp_path / "t")
    (tmp_path / "t" / RESULT_FILE).unlink()
    with pytest.raises(CheckpointError, match=f"belongs to trial {trial.key}"):
        run_trial(changed(trial, seed=1), data, tmp_path / "t")


@pytest.mark.parametrize("left", [0, 1000, -1])
def test_a_damaged_checkpoint_is_laid_aside_and_the_trial_begins_anew_to_the_same_bits(trial, data, tmp_path, left):
    before = run_trial(trial, data, tmp_path / "t")
    (tmp_path / "t" / RESULT_FILE).unlink()
    path = tmp_path / "t" / CHECKPOINT_FILE
    damaged = path.read_bytes()[:left]
    path.write_bytes(damaged)
    again = run_trial(trial, data, tmp_path / "t")
    assert (again.metrics, again.counts) == (before.metrics, before.counts)
    assert path.with_name("checkpoint.pt.damaged").read_bytes() == damaged


def test_a_full_disk_is_the_machines_fault_and_leaves_the_checkpoint_before_it(trial, data, tmp_path):
    folder, before = tmp_path / "t", []

    def fill(record):
        before.append((folder / CHECKPOINT_FILE).read_bytes())
        # No file of this process may grow beyond this from now on.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OSError, match="File too large"):
            run_trial(trial, data, folder, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder / CHECKPOINT_FILE).read_bytes() == before[-1]
    assert not list(folder.glob(".*"))
    assert run_trial(trial, data, folder).metrics == run_trial(trial, data, tmp_path / "undisturbed").metrics


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
import trainers.atomic_files, trainers.training, trainers.trial
from trainers.data.prepared.read import open_prepared
from trainers.spec import TrialSpec
torch.set_num_threads(1)
spec, data, folder, length = sys.argv[1:]
spec, data, folder = TrialSpec.model_validate_json(spec), open_prepared(Path(data)), Path(folder)
rng, kills = random.Random(0), {"anywhere": 0, "checkpoint": 0, "validation": 0}

def die_at(module, name, call):
    inner, calls = getattr(module, name), [0]
    def counted(*args, **options):
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*args, **options)
    setattr(module, name, counted)

def life(way):
    # From a warm process: to import torch anew takes longer than the trial.
    child = os.fork()
    if not child:
        if way == "checkpoint":
            die_at(trainers.atomic_files.os, "fsync", rng.randint(1, 3))
        if way == "validation":
            die_at(trainers.training, "evaluate", rng.randint(1, 2))
        trainers.trial.run_trial(spec, data, folder)
        os._exit(0)
    rng.random()
    if way == "anywhere":
        time.sleep(rng.uniform(0, float(length) / 3))
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

while sum(kills.values()) < 30 and not (folder / "result.json").exists():
    way = rng.choice(list(kills))
    kills[way] += life(way) == -signal.SIGKILL
while not (folder / "result.json").exists():
    life("none")
print(kills)
"""


@pytest.mark.long
def test_killed_thirty_times_and_resumed_the_bits_are_the_same(trial, data_folder, data, tmp_path):
    """Anywhere, while the checkpoint is written, and during validation; on whole cases with every augmentation."""
    spec = changed(trial, protocol={"epochs": 90, "lr": 5e-3, "clip": 0.1, "augment": "brats"})
    started = time.perf_counter()
    run_trial(spec, data, tmp_path / "undisturbed")
    length = (time.perf_counter() - started) / 9
    command = [
        sys.executable,
        "-c",
        KILLER,
        spec.model_dump_json(),
        str(data_folder),
        str(tmp_path / "killed"),
        str(length),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    kills = ast.literal_eval(done.stdout)
    assert sum(kills.values()) == 30
    assert all(count >= 3 for count in kills.values()), kills
    same_bits(tmp_path / "undisturbed", tmp_path / "killed")
