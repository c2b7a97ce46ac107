import json

import pytest

from study.config.load import parse_study
from study.config.search_space import enumerate_trials
from study.config.splits_file import read_splits
from trainers.errors import InputError

FOLDS = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["b", "c"], "val": ["a"]}]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps(FOLDS))
    return path


def test_folds_are_read_as_nnunet_writes_them(file):
    first, second = read_splits(file, 2)
    assert (first.train, first.held_out) == (("a", "b"), ("c",))
    assert second.held_out == ("a",)


def test_too_few_folds_are_told(file):
    with pytest.raises(InputError, match="has 2 folds, and folds is 5"):
        read_splits(file, 5)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '[{"train": ["a"]}]', '[{"train": [], "val": ["a"]}]', "[" * 100_000]
)
def test_another_form_is_told(tmp_path, text):
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is not a list of folds"):
        read_splits(path, 1)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_splits(tmp_path / "none.json", 1)


def test_each_fold_of_a_study_is_the_files(file, study_text):
    study = parse_study(study_text.replace("name: small", f"name: small\nfolds: 2\nsplits: {file}"))
    trials = enumerate_trials(study, lambda data: "key")
    assert len(trials) == 16
    assert {trial.split.held_out for trial in trials} == {("c",), ("a",)}
    # Folds of one setting stay one cell, and another split is another trial.
    assert len({trial.cell for trial in trials}) == 8
    plain = enumerate_trials(
        parse_study(study_text.replace("name: small", "name: small\nfolds: 2")), lambda data: "key"
    )
    assert not {trial.key for trial in trials} & {trial.key for trial in plain}
