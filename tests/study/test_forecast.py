"""What `plan` says of a study before it runs: hours, memory, ε, and what the study cannot answer."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from study.cli.main import main
from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.planning import forecast as module
from study.planning.forecast import forecast, forecast_text
from study.planning.plan import make_plan
from trainers import step_timing as cost
from trainers.assignment import assign_cases
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.result import load_result, save_result
from trainers.step_timing import Cost, shape_of, try_out


def test_finished_trials_tell_what_the_others_take(study_text, study, places):
    launch(parse_study(study_text.replace("[1.0e-7, v_hat]", "1.0e-7")), places, address=INLINE, quiet=True)
    specs = make_plan(study, places.storage).trials
    known = [spec for spec in specs if load_result(places.storage.trial(spec.key)) is not None]
    assert (len(known), len(specs)) == (4, 8)
    for spec in known:
        folder = places.storage.trial(spec.key)
        save_result(folder, replace(load_result(folder), seconds=100.0, scoring_seconds=20.0, memory_mib=300.0))
    found = forecast(study, places)
    left = len(specs) - len(known)
    assert [shape["from"] for shape in found["shapes"]] == ["finished trials"]
    assert found["hours"] == pytest.approx(-(-left // found["concurrent"]) * 120 / 3600)
    assert found["memory_mib"] == 300


def test_a_few_steps_are_tried_of_each_shape(study_text, places):
    study = parse_study(study_text.replace("batch_size: 2", "batch_size: [1, 2]"))
    bar = []
    found = forecast(study, places, bar=lambda *step: bar.append(step))
    assert [(shape["batch_size"], shape["from"]) for shape in found["shapes"]] == [
        (1, "steps tried here"),
        (2, "steps tried here"),
    ]
    assert all(shape["seconds_a_trial"] > shape["seconds_a_step"] > 0 for shape in found["shapes"])
    assert bar == [(0, 2), (1, 2), (2, 2)]
    assert 0 < found["hours_low"] <= found["hours"] <= found["hours_high"]
    assert found["memory_mib"] > 100
    assert (found["trials"], found["gpu_hours"], found["trials_per_gpu"]) == (16, None, None)
    assert not list(places.storage.root.glob(".cost-*"))
    assert not list((places.storage.root / "trials").iterdir())
    by_eps = {entry["eps"]: entry for entry in found["eps"]}
    assert by_eps["1e-07"]["low"] == by_eps["1e-07"]["high"] == 1e-7
    assert by_eps["v_hat"]["low"] == by_eps["v_hat"]["v_hat_low"] < by_eps["v_hat"]["v_hat_high"]
    text = forecast_text(found)
    assert "16 trials in 16 cells" in text
    assert "ms a step" in text
    assert "ε = v_hat" in text


def test_a_trial_s_seconds_are_those_of_its_parts(trial, tmp_path):
    data = open_prepared(prepare(trial.data, tmp_path))
    given = assign_cases(trial, data.table)
    protocol = trial.protocol.model_copy(update={"epochs": 7, "validate_every": 3})
    spec = trial.model_copy(update={"protocol": protocol})
    parts = Cost(start=1000, step=1, slow=2, fast=0.5, validation=0.1, scoring=10, example=5, checkpoint=0.01)
    # 8 cases by 2 are 4 steps; after epochs 3, 6 and 7 the 6 held-out cases are validated.
    rest = 1000 + 7 * 0.01 + 3 * 6 * 0.1 + 6 * 10 + 5
    assert module._range(spec, given, parts) == pytest.approx((rest + 28, rest + 14, rest + 56))
    plateau = protocol.model_copy(
        update={"schedule": protocol.schedule.model_copy(update={"name": "plateau", "stop_after": 3})}
    )
    soon = module._range(spec.model_copy(update={"protocol": plateau}), given, parts)[1]
    assert soon == pytest.approx(1000 + 6 * (4 * 0.5 + 0.01) + 2 * 6 * 0.1 + 6 * 10 + 5)


def test_trials_follow_one_another(study):
    assert module._last_end([3, 3, 3, 3, 3], 2) == 9
    assert module._last_end([10, 1, 1, 1], 2) == 10
    assert module._last_end([], 3) == 0


def test_a_shape_is_all_that_a_step_s_time_hangs_on(trial):
    def with_protocol(**changes):
        return trial.model_copy(update={"protocol": trial.protocol.model_copy(update=changes)})

    same = [with_protocol(epochs=99, lr=1.0), trial.model_copy(update={"seed": 4})]
    other = [with_protocol(threads=2), with_protocol(precision="bf16"), trial.model_copy(update={"batch_size": 4})]
    assert {shape_of(spec) for spec in same} == {shape_of(trial)}
    assert len({shape_of(spec) for spec in (trial, *other)}) == 4


def test_a_shape_that_finds_no_memory_is_told(trial, tmp_path, monkeypatch):
    class Greedy:
        def __init__(self, *_):
            raise torch.OutOfMemoryError("tried to allocate 1 TiB")

    folder = prepare(trial.data, tmp_path)
    monkeypatch.setattr(cost, "Training", Greedy)
    assert try_out(trial, folder, tmp_path).fault == "out of memory at batch size 2"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (("labeling: [full, partial]", "labeling: full"), "nothing is emptied"),
        (("labeling: [full, partial]", "labeling: partial"), "no training under full labeling"),
        (("[1.0e-7, v_hat]", "1.0e-7"), "no ε within a factor 10 of v̂"),
        (("cpus: 1", "gpus: 1"), "no GPU on this machine"),
        ((), "one seed and one fold"),
    ],
)
def test_what_a_study_cannot_answer_is_said_before(written, words, study_text, places, monkeypatch):
    monkeypatch.setattr(module, "local_gpus", lambda: 0)
    text = study_text + "resources: {cpus: 1}\n"
    found = forecast(parse_study(text.replace(*written) if written else text), places, measure=False)
    assert words in " ".join(found["warnings"])
    assert found["hours"] is None


def test_a_sound_study_gets_no_warning(study_text, places):
    assert forecast(parse_study(study_text + "seeds: 2\n"), places, measure=False)["warnings"] == []


def test_a_search_counts_what_it_has_not_asked_for(study_text, places):
    text = study_text.replace("strategy: grid", "strategy: tpe\n  trials: 20").replace("[full, partial]", "partial")
    found = forecast(parse_study(text.replace("[1.0e-7, v_hat]", "{from: 1.0e-3 v_hat, to: v_hat}")), places)
    trials = found["shapes"][0]["seconds_a_trial"]
    assert found["hours"] == pytest.approx(20 / found["concurrent"] * trials / 3600, rel=0.2)


def test_the_command_shows_it(study_text, tmp_path, places):
    (tmp_path / "s.yaml").write_text(study_text)
    given = ["plan", str(tmp_path / "s.yaml"), "--storage", str(places.storage.root), "--no-measure"]
    shown = CliRunner().invoke(main, given, catch_exceptions=False)
    assert "hours: not known" in shown.output
    assert json.loads(CliRunner().invoke(main, [*given, "--json"]).output)["trials"] == 8
