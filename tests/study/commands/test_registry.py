"""Every answer of the registry, with every option, gives the same on every face of the real service."""

import inspect
import json

import pytest
import requests
from click.testing import CliRunner

import study
from study.cli.main import main
from study.client import Client
from study.commands.registry import ANSWERS
from tests.conftest import READER
from trainers.errors import InputError

VALUES = {
    "goal": "dice",
    "metric": "dsc.A.tumor",
    "where": "eps>1",
    "family": "region",
    "pareto": "dsc.A.tumor,-retention.tumor",
    "top": 2,
    "state": "DONE",
}
"""A value of each option that changes the answer of the small study, or leaves it as it is on all faces alike."""
CASES = [(row, {}) for row in ANSWERS.values()] + [
    (row, {option.name: VALUES[option.name]}) for row in ANSWERS.values() for option in row.options
]


def name_of(case):
    return "-".join([case.name] if hasattr(case, "name") else case)


@pytest.fixture
def run(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICESTUDY_TOKEN", READER)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize(("row", "options"), CASES, ids=name_of)
def test_an_answer_is_the_same_on_every_face(row, options, run, served, finished):
    here = getattr(study, row.function)("small", places=finished, **options)
    assert getattr(Client(served.address, READER), row.function)("small", **options) == here
    headers = {"Authorization": f"Bearer {READER}"}
    url = f"{served.address}/studies/small/{row.name}"
    assert requests.get(url, params=options, headers=headers, timeout=60).json() == here
    if row.is_command:
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        local = run(row.name, "small", *words, "--json", "--store", finished.store, "--storage", finished.storage.root)
        there = run(row.name, "small", *words, "--json", "--server", served.address)
        assert local.exit_code == there.exit_code == 0, local.stderr + there.stderr
        assert json.loads(local.stdout) == json.loads(there.stdout) == here
        plain = run(row.name, "small", *words, "--server", served.address)
        assert plain.stdout


@pytest.mark.parametrize("row", ANSWERS.values(), ids=lambda row: row.name)
def test_faces_take_the_options_of_the_registry_with_its_defaults(row):
    wanted = {option.name: option.default for option in row.options}
    for function, own in (
        (getattr(study, row.function), {"study", "places"}),
        (getattr(Client, row.function), {"self", "study"}),
    ):
        parameters = inspect.signature(function).parameters
        assert {name: entry.default for name, entry in parameters.items() if name not in own} == wanted
    if row.is_command:
        options = {parameter.name for parameter in main.commands[row.name].params}
        assert set(wanted) | {"study", "store", "storage", "as_json", "server"} <= options


def test_a_ranking_from_a_service_is_exported_and_a_study_file_is_refused(run, served, tmp_path):
    done = run("best", "small", "--goal", "dice", "--server", served.address, "--export", "best.csv")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "best.csv").read_text().startswith("rank,cell,")
    refused = run("best", "small", "--server", served.address, "--export", "best.yaml")
    assert refused.exit_code == 2
    assert "--export: a study file is made from the study's storage" in refused.stderr
    assert not (tmp_path / "best.yaml").exists()


@pytest.mark.parametrize("name", ["report", "explain", "plan", "sync", "logs", "dashboard", "predict"])
def test_a_command_that_a_service_does_not_answer_says_so(name, run, served, monkeypatch):
    monkeypatch.setenv("DICESTUDY_SERVER", served.address)
    words = {"dashboard": [], "predict": ["small", "image.nii.gz", "-o", "maps"]}.get(name, ["small"])
    refused = run(name, *words)
    assert refused.exit_code == 2
    assert f"{name} cannot be asked of the service at {served.address}" in refused.stderr


def test_what_the_faces_of_python_share_is_there(places):
    for name in study.__all__:
        assert getattr(study, name) is not None
    with pytest.raises(InputError, match="no such study"):
        study.sync("none", places)
