"""A study file's faults: where, what came, what is known; all at once."""

import pytest

from study.config.load import load, parse_study
from trainers.errors import InputError


def faults(text):
    with pytest.raises(InputError) as caught:
        parse_study(text, "study.yaml")
    return [str(fault) for fault in caught.value.faults]


def test_a_whole_file_is_read(study):
    assert study.name == "small"
    assert study.data.train == 8
    assert study.search.spaces[0]["phi"] == ["I", "BI"]


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("epochs: 2", "epoch: 2", "study.yaml:5: trial.epoch", ["unknown field 'epoch'", "did you mean 'epochs'"]),
        ("epochs: 2, ", "", "study.yaml:5: trial.epochs", ["is missing"]),
        ("phi: [I, BI]", "phi: [I, IB]", "study.yaml:10: search.space.phi[1]", ["'IB'", "known: I, CI, BI, BCI"]),
        ("1.0e-7, v_hat", "-1, v_hat", "study.yaml:11: search.space.eps[0]", ["ε is -1", "above 0"]),
        ("1.0e-7, v_hat", "1.0e-7, v_hut", "study.yaml:11: search.space.eps[1]", ["'v_hut'", "0.1 v_hat"]),
        ("loss: dice", "loss: dise", "study.yaml:9: search.space.loss", ["'dise'", "did you mean 'dice'"]),
        ("batch_size: 2", "batch_size: 0", "search.space.batch_size", ["batch size is 0"]),
        ("batch_size: 2", "batchsize: 2", "search.space.batchsize", ["unknown axis", "'batch_size'"]),
        ("[full, partial]", "[full, partly]", "search.space.labeling[1]", ["'partly'", "full, partial"]),
        ("[full, partial]", "[]", "search.space.labeling", ["has no values"]),
        ("source: phantom", "source: fantom", "study.yaml:3: data.source", ["'fantom'", "phantom"]),
        ("train: 8", "trian: 8", "study.yaml:3: data.trian", ["unknown field 'trian'", "did you mean 'train'"]),
        ("train: 8", "train: eight", "study.yaml:3: data.train", ["'eight'"]),
        ("strategy: grid", "strategy: gird", "search.strategy", ["'gird'", "known: grid"]),
        ("group: B", "group: C", "study.yaml:4: labeling.empty.group", ["unknown group 'C'", "known: A, B"]),
        (
            "classes: [tumor]",
            "classes: [tumour]",
            "study.yaml:4: labeling.empty.classes[0]",
            ["unknown class 'tumour'", "known: tumor"],
        ),
        ("name: small", "name: ../etc", "study.yaml:2: name", ["'../etc'"]),
        ("network: tiny", "network: unett", "trial.network", ["'unett'", "known: tiny"]),
        ("name: small", "name: small\nname: large", "study.yaml:3: name", ["given twice"]),
    ],
)
def test_each_fault_says_where_and_what_is_known(study_text, old, new, where, words):
    assert old in study_text
    (found,) = faults(study_text.replace(old, new))
    assert where in found
    for word in words:
        assert word in found


def test_all_faults_at_once(study_text):
    text = study_text.replace("epochs: 2", "epochs: 0").replace("train: 8", "train: x").replace("name: small", "nam: s")
    assert len(faults(text)) == 3  # a misspelt name counts once
    text = study_text.replace("[I, BI]", "[X, Y]").replace("batch_size: 2", "batch_size: two")
    assert len(faults(text)) == 3


def test_values_that_clash_are_named(study_text):
    text = study_text.replace("phi: [I, BI]", "phi: [I, BCI]").replace("[1.0e-7, v_hat]", "[{tumor: 1}]")
    (found,) = faults(text)
    assert "needs Φ = I or BI; Φ = BCI" in found


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "\t- x", "- 1\n- 2", "", "just words", "a: !!python/object:os.x {}"]
)
def test_what_is_no_study_at_all(text):
    assert "study.yaml" in faults(text)[0]


def test_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load(tmp_path / "binary.yaml")


def test_the_study_key_is_that_of_its_meaning(study_text, study):
    assert parse_study(study_text + "\n# a comment\n").key == study.key
    assert parse_study(study_text.replace("epochs: 2", "epochs: 3")).key != study.key
