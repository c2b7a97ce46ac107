import json

import pytest
from pydantic import ValidationError

from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec


def changed(trial, **fields):
    return TrialSpec.model_validate({**trial.model_dump(), **fields})


def test_the_key_survives_the_way_through_json(trial):
    assert TrialSpec.model_validate_json(trial.model_dump_json()).key == trial.key


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"source": "phantom", "train": 8, "test": 6, "seed": 1}},
        {"data_key": "another"},
        {"empty": EmptySpec(group="A", classes=("tumor",))},
        {"labeling": "full"},
        {"labeling": "partial 0.5"},
        {"loss": LossSpec(name="dice", phi="BI", eps=1e-7)},
        {"loss": LossSpec(name="dice", phi="I", eps="v_hat")},
        {"loss": LossSpec(name="dice", phi="I", eps={"tumor": 1e-7})},
        {"batch_size": 4},
        {"folds": 2},
        {"folds": 2, "fold": 1},
        {"seed": 1},
        *(
            {"protocol": ProtocolSpec(**{"epochs": 3, "lr": 5e-3, "clip": 0.1, **change})}
            for change in (
                {"epochs": 4},
                {"lr": 1e-3},
                {"clip": None},
                {"schedule": "constant"},
                {"schedule": {"name": "plateau", "patience": 3}},
                {"weight_decay": 1e-5},
                {"augment": "none"},
                {"precision": "bf16"},
                {"threads": 2},
                {"validate_every": 2},
                {"sampling": {"A": 3}},
            )
        ),
    ],
)
def test_whatever_can_change_a_result_changes_the_key(trial, fields):
    assert changed(trial, **fields).key != trial.key


def test_another_version_of_monai_is_another_network_of_its_own_alone(trial, monkeypatch):
    theirs = changed(trial, protocol={"epochs": 3, "network": {"name": "VNet"}})
    before = trial.key, theirs.key, theirs.cell
    monkeypatch.setattr("trainers.spec.monai_version", lambda: "99.0")
    assert trial.key == before[0]
    assert theirs.key != before[1]
    assert theirs.cell != before[2]


def test_the_cell_is_the_setting_without_fold_and_seed(trial):
    twin = changed(trial, seed=5)
    assert (twin.cell, twin.key) != (trial.cell, trial.key)
    assert twin.cell == trial.cell
    assert changed(trial, batch_size=4).cell != trial.cell


def test_where_the_data_lies_is_not_what_it_is(trial):
    acdc = {"source": "acdc", "group": "phase"}
    specs = [
        TrialSpec.model_validate(
            {
                **json.loads(trial.model_dump_json()),
                "data": {**acdc, "root": root},
                "empty": {"group": "ES", "classes": ["MYO"]},
            }
        )
        for root in ("/here", "/there")
    ]
    assert specs[0].key == specs[1].key


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"empty": {"group": "C", "classes": ["tumor"]}}, ["'C'", "known: A, B"]),
        ({"empty": {"group": "B", "classes": ["tumour"]}}, ["'tumour'", "known: tumor"]),
        ({"loss": {"name": "dice", "phi": "I", "eps": {"LV": 1}}}, ["'LV'", "lacks tumor"]),
        ({"loss": {"name": "dise", "phi": "I", "eps": 1}}, ["'dise'", "dice"]),
        ({"loss": {"name": "dice", "phi": "I", "eps": 1, "parameters": {"alpha": 1}}}, ["'alpha'"]),
        ({"loss": {"name": "dice", "phi": "I"}}, ["needs eps"]),
        ({"loss": {"name": "ce", "phi": "I"}}, ["has no phi"]),
        ({"loss": {"name": "dice", "phi": "BCI", "eps": {"tumor": 1}}}, ["per class", "BCI"]),
        ({"fold": 1}, ["fold 1 of 1"]),
        ({"labeling": "partial 2"}, ["1"]),
        ({"labeling": "some"}, ["'some'", "full, partial"]),
        ({"batch_sise": 2}, ["batch_sise"]),
    ],
)
def test_what_does_not_go_together_is_named(trial, fields, words):
    with pytest.raises(ValidationError) as caught:
        changed(trial, **fields)
    for word in words:
        assert word in str(caught.value)


def test_specs_are_frozen(trial):
    with pytest.raises(ValidationError):
        trial.seed = 3


def test_regimes_read_what_they_write():
    for text in ("full", "partial", "partial 0.5"):
        assert str(Regime.model_validate(Regime.parse(text))) == text
