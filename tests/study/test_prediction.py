"""The command ``predict``: the network of a study's trial on files."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from study.cli.main import main
from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.config.search_space import enumerate_trials
from study.storage.folders import SPEC_FILE
from study.storage.study_record import read_members, write_study_record
from tests.trainers.data.conftest import frame_path, tree, write_nifti  # noqa: F401 tree is a fixture
from trainers.checkpoint import CHECKPOINT_FILE, Progress, save_checkpoint
from trainers.networks import build_network
from trainers.result import CASES_FILE, TrialResult, save_result

STUDY = """
name: hearts
data: {{source: acdc, root: {root}, spacing: [5, 5, 10], patch: [32, 32, 8]}}
labeling: {{empty: {{group: ES, classes: [MYO]}}}}
trial: {{network: tiny, epochs: 5, lr: 5.0e-3, augment: none}}
folds: 3
search: {{space: {{loss: dice, phi: I, eps: [1.0e-7, v_hat], batch_size: 2, labeling: [partial]}}}}
"""
DONE, FAILED, LEFT = slice(0, 4), 4, 5
"""How the six trials of the study below ended."""


def run(places, *words):
    options = ("--store", places.store, "--storage", places.storage.root)
    return CliRunner().invoke(main, [str(word) for word in (*words, *options)], catch_exceptions=False)


def predicted(places, *words):
    result = run(places, "predict", "hearts", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(places, *words, study="hearts", code=2):
    result = run(places, "predict", study, *words)
    assert result.exit_code == code
    assert result.stdout == ""
    return [line.removeprefix("error: ") for line in result.stderr.splitlines()]


@pytest.fixture
def hearts(tree, places):  # noqa: F811
    """Keys of a study's trials as if it had been run: four are done, with networks that learnt nothing."""
    study = parse_study(STUDY.format(root=tree))
    specs = enumerate_trials(study, lambda data: data.key())
    specs.sort(key=lambda spec: (spec.cell, spec.fold))
    write_study_record(study, specs, 1, places)
    for spec in specs[DONE]:
        places.storage.save_spec(spec)
        torch.manual_seed(spec.fold)
        network = build_network(spec.protocol.network, 1, 4, spec.data.patch)
        folder = places.storage.trial(spec.key)
        save_checkpoint(folder, spec.key, Progress(), network, torch.optim.Adam(network.parameters()))
        save_result(folder, TrialResult(spec.key, "DONE"))
    key = specs[FAILED].key
    save_result(places.storage.trial(key), TrialResult(key, "FAILED", "diverged", "diverged: the loss was nan"))
    return [spec.key for spec in specs]


def test_the_trials_of_a_launched_study_segment_as_they_were_scored(tree, places, tmp_path):  # noqa: F811
    study = parse_study(STUDY.format(root=tree).replace("[1.0e-7, v_hat]", "1.0e-7"))
    assert launch(study, places, address=INLINE, quiet=True).done == 3
    images = {
        f"patient00{number}-{phase}": frame_path(tree, number, phase) for number in (1, 2, 3) for phase in ("ED", "ES")
    }
    total = 0.0
    for key in read_members("hearts", places)["trials"]:
        with (places.storage.trial(key) / CASES_FILE).open() as table:
            scored = {(row["case"], row["class"]): float(row["pred_ml"]) for row in csv.DictReader(table)}
        cases = sorted({case for case, _ in scored})
        found = predicted(places, *(images[case] for case in cases), "--trial", key, "-o", tmp_path / key)
        entries = dict(zip(cases, found["written"], strict=True))
        assert {(case, name): ml for case in cases for name, ml in entries[case]["ml"].items()} == scored
        for case, entry in entries.items():
            assert entry["images"] == [str(images[case])]
            assert entry["file"] == str(tmp_path / key / images[case].name)
            written, image = nib.load(entry["file"]), nib.load(images[case])
            assert np.array_equal(written.affine, image.affine)
            # 5×5×10 mm a voxel; a class has its value of the label files.
            counts = [np.count_nonzero(np.asarray(written.dataobj) == value) for value in (1, 2, 3)]
            assert [count / 4 for count in counts] == pytest.approx(list(entry["ml"].values()))
        total += sum(scored.values())
    assert total > 0
    (cell,) = json.loads(run(places, "best", "hearts", "--json").stdout)
    chosen = [
        predicted(places, images[cases[0]], "--trial", one, "-o", tmp_path / one) for one in ("best", cell["cell"])
    ]
    assert chosen[0]["trial"] == chosen[1]["trial"]


def test_a_key_may_be_shortened_and_a_cell_stands_for_its_first_trial(hearts, places, tree, tmp_path):  # noqa: F811
    image = frame_path(tree, 1, "ED")
    found = predicted(places, image, "--trial", hearts[1][:6], "-o", tmp_path / "one")
    assert found["trial"] == hearts[1]
    found = predicted(places, image, "--trial", found["cell"][:8], "-o", tmp_path / "two")
    assert found["trial"] == hearts[0]
    result = run(places, "predict", "hearts", image, "--trial", hearts[0], "-o", tmp_path / "text")
    assert result.stdout.startswith(f"wrote {tmp_path / 'text' / image.name}: RV ")
    assert run(places, "predict", "hearts", image, "--trial", hearts[0], "-o", tmp_path / "q", "--quiet").output == ""


def test_a_trial_must_be_one_that_is_done(hearts, places, tmp_path, monkeypatch):
    def told(*words, **more):
        (line,) = refused(places, "x.nii.gz", "-o", tmp_path, *words, **more)
        return line

    missing = told()
    assert missing.startswith(
        "--trial: is missing; give best, a cell's key as dicestudy best hearts --json shows it, or"
    )
    assert f"{hearts[0]} (I ε=" in missing
    assert missing.endswith(" and 1 more")
    assert told("--trial", hearts[0][:3]) == f"--trial {hearts[0][:3]}: too short, expected 4 characters or more"
    assert told("--trial", "0000").startswith("--trial 0000: no trial or cell of hearts begins so; give best,")
    failed, left = hearts[FAILED], hearts[LEFT]
    assert told("--trial", failed) == f"trial {failed}: failed: diverged: the loss was nan; choose one that is done"
    assert told("--trial", left) == f"trial {left}: has not ended; choose one that is done"
    assert told("--trial", "0000", study="nothing").startswith("nothing: no such study on this storage, known: hearts")
    with monkeypatch.context() as patch:
        # Keys are hashes: none of six begin alike, unless nothing of them must be given.
        patch.setattr("study.commands.predict.SHORTEST", 0)
        assert told("--trial", "").startswith("--trial : could be any of ")
    path = places.storage.trial(hearts[0]) / SPEC_FILE
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert "expected " + hearts[0] in told("--trial", hearts[0])
    path.write_text("{}")
    assert told("--trial", hearts[0]).startswith(f"{path}: not readable as a trial's spec")


def test_every_fault_of_all_images_is_told_before_anything_is_written(hearts, places, tree, tmp_path):  # noqa: F811
    first, second = frame_path(tree, 1, "ED"), frame_path(tree, 2, "ED")
    twin = tmp_path / "twin" / first.name
    write_nifti(twin, np.ones((8, 8, 8), np.float32))
    folder = tmp_path / "maps"
    write_nifti(folder / second.name, np.zeros((8, 8, 8), np.uint8))
    before = (folder / second.name).read_bytes()
    third = frame_path(tree, 3, "ES")
    third.write_bytes(third.read_bytes()[:300])
    lines = refused(
        places, first, twin, second, f"{second},{first}", "no.nii", third, "--trial", hearts[0], "-o", folder
    )
    expected = [
        f"{twin}: its map would be named {twin.name}, as that of {first}; predict one of the two into another folder",
        f"{folder / second.name}: exists already; remove it, or choose another with -o",
        f"{second},{first}: channels: 2, expected 1 as in training; join the files of one case by commas",
        f"{second}: its map would be named {second.name}, as that of {second}",
        "no.nii: no such file; correct the path",
        f"{third}: unreadable NIfTI file",
    ]
    assert len(lines) == len(expected)
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith(text)
    assert [path.name for path in folder.iterdir()] == [second.name]
    assert (folder / second.name).read_bytes() == before


def test_what_only_voxels_tell_spoils_no_other_image(hearts, places, tree, tmp_path):  # noqa: F811
    flat = tmp_path / "flat.nii.gz"
    write_nifti(flat, np.ones((32, 32, 8), np.float32))
    image = frame_path(tree, 1, "ED")
    (line,) = refused(places, flat, image, "--trial", hearts[0], "-o", tmp_path / "maps")
    assert line.startswith(f"{flat}: all voxels have the same value")
    assert [path.name for path in (tmp_path / "maps").iterdir()] == [image.name]


def test_a_checkpoint_that_was_removed_is_told(hearts, places, tree, tmp_path):  # noqa: F811
    (places.storage.trial(hearts[0]) / CHECKPOINT_FILE).unlink()
    (line,) = refused(places, frame_path(tree, 1, "ED"), "--trial", hearts[0], "-o", tmp_path, code=1)
    assert "checkpoint.pt: missing" in line
