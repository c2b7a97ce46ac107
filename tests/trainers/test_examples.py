"""The slices that a trial keeps: the same cases for all trials, whole, without a word for the training."""

from dataclasses import replace

import numpy as np
import pytest

from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.example_slices import EXAMPLES_FILE, MOST_PIXELS, choose_cases, load_examples, save_examples
from trainers.trial import run_trial


@pytest.fixture
def data(trial, tmp_path):
    return open_prepared(prepare(trial.data, tmp_path))


def test_cases_are_the_quartiles_of_each_group_whatever_the_order(data):
    held_out = [index for index, case in enumerate(data.cases)]
    chosen = choose_cases(data, held_out, ["tumor"])
    assert chosen == choose_cases(data, held_out[::-1], ["tumor"])
    for group in "AB":
        own = sorted(data.volumes[index, 0] for index in held_out if data.cases[index].group == group)
        picked = [int(data.volumes[index, 0]) for index, _ in chosen if data.cases[index].group == group]
        assert picked == [own[round(quartile * (len(own) - 1))] for quartile in (0.25, 0.5, 0.75)]


def test_a_slice_is_the_one_with_the_largest_label_and_comes_back_whole(data, tmp_path):
    held_out = list(range(len(data.cases)))
    save_examples(tmp_path, data, held_out, ["tumor"], lambda index: np.asarray(data.labels[index]).astype(bool))
    kept = load_examples(tmp_path)
    chosen = choose_cases(data, held_out, ["tumor"])
    assert [example.case for example in kept] == [data.cases[index].case for index, _ in chosen]
    for example, (index, _) in zip(kept, chosen, strict=True):
        areas = np.asarray(data.labels[index])[0].sum(axis=(0, 1))
        assert example.truth["tumor"].sum() == areas.max()
        assert (example.found["tumor"] == example.truth["tumor"]).all()
        assert example.image.dtype == np.uint8
        assert example.image.shape == example.truth["tumor"].shape == tuple(data.patch[1::-1])
    # The same bytes again, so that a trial run twice leaves the same.
    first = (tmp_path / EXAMPLES_FILE).read_bytes()
    save_examples(tmp_path, data, held_out, ["tumor"], lambda index: np.asarray(data.labels[index]).astype(bool))
    assert (tmp_path / EXAMPLES_FILE).read_bytes() == first


def test_a_large_slice_is_cut_around_its_label(data, tmp_path):
    label = np.zeros((1, 300, 40, 3), dtype=np.uint8)
    label[0, 280:290, 5:9, 1] = 1
    count = len(data.cases)
    large = replace(
        data, labels=[label] * count, images=[label.astype(np.float32)] * count, volumes=np.full((count, 1), 40)
    )
    save_examples(tmp_path, large, range(count), ["tumor"], lambda _: label.astype(bool))
    for example in load_examples(tmp_path):
        assert example.image.shape == (40, MOST_PIXELS)
        assert example.truth["tumor"].sum() == 40


def test_groups_without_a_label_have_no_example(data, tmp_path):
    none = replace(data, volumes=np.zeros_like(data.volumes))
    save_examples(tmp_path, none, range(len(data.cases)), ["tumor"], lambda _: np.zeros(0, dtype=bool))
    assert load_examples(tmp_path) == []
    assert load_examples(tmp_path / "nowhere") == []


def test_a_trial_keeps_what_its_network_finds(trial, data, tmp_path):
    result = run_trial(trial, data, tmp_path / "t")
    kept = load_examples(tmp_path / "t")
    assert result.state == "DONE"
    assert {example.group for example in kept} == {"A", "B"}
    assert all(example.truth["tumor"].any() for example in kept)
    assert all(example.found["tumor"].shape == example.image.shape for example in kept)
