"""The command line as a user has it: a process, its output, its exit code."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from study.cli.main import main
from study.config.load import parse_study
from study.config.presets import preset_text
from study.config.search_space import enumerate_trials


@pytest.fixture
def call(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICESTUDY_STORE", finished.store)
    monkeypatch.setenv("DICESTUDY_STORAGE", str(finished.storage.root))

    def run(*words):
        return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)

    return run


def answer(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_best_has_the_keys_that_scripts_rely_on(call):
    found = answer(call("best", "small", "--goal", "dice", "--top", 3, "--json"))
    assert len(found) == 3
    for entry in found:
        assert {"cell", "params", "n", "metrics", "differs_from_first"} <= entry.keys()
        assert {"loss", "phi", "eps", "eps_voxels", "batch_size", "labeling"} <= entry["params"].keys()
        assert {"mean", "low", "high", "n"} <= entry["metrics"]["dsc.A.tumor"].keys()
    filtered = answer(call("best", "small", "--goal", "dice", "--where", "eps>1 and phi=='I'", "--json"))
    assert {entry["params"]["phi"] for entry in filtered} == {"I"}
    assert all(entry["params"]["eps_voxels"] > 1 for entry in filtered)


def test_table_has_the_keys_that_scripts_rely_on(call):
    keys = {"phi", "eps", "batch_size", "labeling", "group", "class", "emptied", "dsc", "dv_ml", "auc", "n", "p"}
    found = answer(call("table", "small", "--json"))
    assert len(found) == 8 * 2
    assert all(keys <= row.keys() for row in found)


def test_map_has_the_keys_that_scripts_rely_on(call, tmp_path):
    found = answer(call("map", "small", "--json", "-o", tmp_path / "maps"))
    for part in found["slices"]:
        assert {"at", "v_hat", "crossing", "reason", "points"} <= part.keys()
        for point in part["points"]:
            assert {"eps", "retention", "dsc_labelled", "dsc_emptied", "outcomes"} <= point.keys()
    assert {"map.json", "map.csv", "map-0.png"} <= {path.name for path in (tmp_path / "maps").iterdir()}


def test_status_and_plan_have_the_keys_that_scripts_rely_on(call, study_text, tmp_path):
    (tmp_path / "study.yaml").write_text(study_text)
    found = answer(call("status", "small", "--json"))
    assert found["study"] == "small"
    assert found["state"] == "done"
    assert found["trials"] == {"done": 8, "failed": 0, "running": 0, "waiting": 0}
    assert "eta_s" in found
    planned = answer(call("plan", "study.yaml", "--json"))
    assert (planned["trials"], planned["cells"], planned["done"], planned["to_run"]) == (8, 8, 8, 0)
    assert {"hours", "concurrent", "limited_by"} <= planned.keys()


def test_losses_has_the_keys_that_scripts_rely_on(call):
    found = answer(call("losses", "--json"))
    assert all({"name", "category", "formula", "source", "phi_eps", "parameters"} <= entry.keys() for entry in found)


def test_a_file_stands_for_its_study(call, study_text, tmp_path):
    (tmp_path / "study.yaml").write_text(study_text)
    for command in ("best", "table", "map", "status"):
        by_file = call(command, "study.yaml")
        assert by_file.exit_code == 0, by_file.output
        assert by_file.stdout == call(command, "small").stdout


def test_the_report_is_one_file_without_network(call, tmp_path):
    assert call("report", "small", "-o", tmp_path / "r.html", "--quiet").output == ""
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    for loads in ("<script", "<link", "@import", 'src="http', "url(http"):
        assert loads not in page


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["best", "nothing"], "no such study in this store, known: small"),
        (["status", "nothing"], "known: small"),
        (["best", "small", "--goal", "win"], "unknown goal 'win', known: ignore, empty, dice"),
        (["best", "small", "--where", "__import__('os')"], ""),
        (["best", "small", "--where", "epsilon > 1"], "epsilon"),
        (["best", "small", "--metric", "dsc"], "dsc"),
        (["launch", "none.yaml"], "none.yaml: cannot be read"),
        (["check", "none.yaml"], "none.yaml: cannot be read"),
        (["init", "fantom"], "unknown preset 'fantom'"),
    ],
)
def test_wrong_input_is_one_clear_message_and_exit_code_2(call, words, expected):
    result = call(*words)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output


def test_init_writes_a_study_and_never_over_one(call, tmp_path):
    assert call("init", "phantom", "-o", "mine.yaml").exit_code == 0
    assert parse_study((tmp_path / "mine.yaml").read_text()).name == "phantom"
    again = call("init", "phantom", "-o", "mine.yaml")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_check_names_every_fault(call, study_text, tmp_path):
    (tmp_path / "bad.yaml").write_text(study_text.replace("I, BI", "X").replace("batch_size: 2", "batch_size: 0"))
    result = call("check", "bad.yaml", "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert not found["ok"]
    assert [set(fault) for fault in found["faults"]] == [{"file", "fault", "remedy"}] * 2
    (tmp_path / "good.yaml").write_text(study_text)
    assert answer(call("check", "good.yaml", "--json"))["statistics"]["groups"] == {"A": 7, "B": 7}


def test_every_command_has_help_and_is_quiet_when_asked(call):
    for name, command in main.commands.items():
        assert call(name, "--help").exit_code == 0
        assert "--quiet" in {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", ["phantom", "phantom-cardiac", "acdc", "losses"])
def test_every_preset_is_a_study(name):
    text = preset_text(name)
    study = parse_study(text, name)
    assert study.name == name
    trials = enumerate_trials(study, lambda data: data.model_dump_json())
    assert {str(trial.labeling) for trial in trials} >= {"full", "partial"}


def test_the_presets_are_all_looked_at():
    result = CliRunner().invoke(main, ["init", "none"])
    assert "known: acdc, acdc-small, brats, decathlon, losses, phantom, phantom-cardiac" in result.stderr


@pytest.mark.parametrize("words", [["--help"], ["losses"], ["init", "-o", "-"], ["--version"]])
def test_what_needs_no_engine_waits_for_none(words):
    code = (
        "import sys; from study.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as e: assert not e.code\n"
        "heavy = {'torch', 'ray', 'mlflow', 'scipy', 'pandas', 'matplotlib', 'monai'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
