"""The service from Python, and the commands that ask it."""

import json

import pytest
from click.testing import CliRunner

import study
from study.cli.main import main
from study.client import Client
from study.commands.answers import best, table, transition_map, trials
from study.commands.launch import INLINE
from tests.conftest import READER, WRITER
from tests.services import dicestudy_service
from trainers.errors import DicestudyError, InputError


@pytest.fixture
def client(served):
    return Client(served.address, WRITER)


def test_calls_give_what_the_local_functions_give(client, finished, study):
    assert client.best(study, goal="dice", top=None) == best(study, "dice", top=None, places=finished)
    assert client.table("small") == table("small", finished)
    assert client.transition_map("small") == transition_map("small", finished)
    assert client.trials("small", where="eps>1") == trials("small", where="eps>1", places=finished)
    assert client.status("small")["state"] == "done"
    assert client.studies() == [client.status("small")]
    assert [event["state"] for event in client.events("small")] == ["done"]


def test_a_study_goes_over_the_line_as_loaded_and_as_a_file(client, study, study_text, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(study_text)
    assert client.launch(study, check=True) == client.launch(file, check=True)
    assert client.launch(study, check=True)["done"] == 8
    file.write_text(study_text.replace("tiny", "tyni"))
    with pytest.raises(InputError, match=r"mine.yaml:5: trial.network: unknown network 'tyni'"):
        client.launch(file, check=True)
    with pytest.raises(InputError, match="cannot be read"):
        client.launch(tmp_path / "none.yaml")


def test_errors_are_those_of_the_local_functions(client, served, finished, monkeypatch):
    for call, local in (
        (lambda: client.best("small", goal="x"), lambda: best("small", "x", places=finished)),
        (lambda: client.best("none"), lambda: best("none", places=finished)),
        (lambda: client.best("small", where="eps>"), lambda: best("small", where="eps>", places=finished)),
        (lambda: client.status("none"), lambda: study_status("none", finished)),
    ):
        with pytest.raises(InputError) as ours:
            call()
        with pytest.raises(InputError) as theirs:
            local()
        assert ours.value.faults == theirs.value.faults
    with pytest.raises(DicestudyError, match="study small is not running on this storage"):
        client.stop("small")
    monkeypatch.delenv("DICESTUDY_TOKEN", raising=False)
    with pytest.raises(InputError, match="a token is needed"):
        Client(served.address).status("small")
    monkeypatch.setenv("DICESTUDY_TOKEN", READER)
    assert Client(served.address).status("small")["state"] == "done"
    with pytest.raises(InputError, match="may read only"):
        Client(served.address).stop("small")


def study_status(name, places):
    return study.status(name, places)


def test_an_address_that_is_none_is_told():
    for url in ("127.0.0.1:8000", "ftp://x", "http://"):
        with pytest.raises(InputError, match="no address of a service"):
            Client(url)
    with pytest.raises(InputError, match="credentials"):
        Client("http://me:secret@127.0.0.1")
    with pytest.raises(DicestudyError, match=r"no service answers at http://127\.0\.0\.1:1"):
        Client("http://127.0.0.1:1").status("small")


@pytest.fixture
def call(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICESTUDY_TOKEN", READER)
    monkeypatch.setenv("DICESTUDY_SERVER", served.address)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_commands_print_the_same_from_a_server(call, finished, monkeypatch):
    here = ("--store", finished.store, "--storage", finished.storage.root)
    for words in (("best", "small", "--goal", "dice", "--top", "2"), ("table", "small"), ("map", "small")):
        there, local = call(*words, "--json"), call(*words, "--json", *here)
        assert there.exit_code == local.exit_code == 0
        assert json.loads(there.stdout) == json.loads(local.stdout)
    assert call("status").stdout == call("status", *here).stdout
    assert call("best", "small", "--goal", "dice").stdout == call("best", "small", "--goal", "dice", *here).stdout


def test_commands_end_as_the_local_ones_do(call, served):
    assert call("best", "none").exit_code == 2
    assert "no such study" in call("best", "none").stderr
    refused = call("stop", "small")
    assert refused.exit_code == 2
    assert "may read only" in refused.stderr
    both = call("best", "small", "--server", served.address, "--store", "sqlite:///x.db")
    assert both.exit_code == 2
    assert "has its own" in both.stderr


@pytest.mark.engine
def test_a_study_is_launched_followed_continued_and_read_through_a_server(study_text, tmp_path, monkeypatch):
    """A real launch: a process of its own, with Ray, that outlives the worker that began it."""
    file = tmp_path / "mine.yaml"
    file.write_text(study_text.replace("phi: [I, BI]", "phi: I").replace("[1.0e-7, v_hat]", "1.0e-7"))
    monkeypatch.setenv("DICESTUDY_TOKEN", WRITER)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with dicestudy_service(
        store, tmp_path / "storage", tmp_path / "log", "--address", INLINE or "", DICESTUDY_TOKEN=WRITER
    ) as service:
        monkeypatch.setenv("DICESTUDY_SERVER", service.address)
        launched = CliRunner().invoke(main, ["launch", str(file)], catch_exceptions=False)
        assert launched.exit_code == 0, launched.stderr
        assert "small: done · done 2" in launched.stdout
        states = [line.split(" · ")[0] for line in launched.stderr.splitlines()[1:]]
        assert states[-1] == "small: done"
        client = Client(service.address)
        assert len(client.table("small")) == 4
        again = client.launch(file)
        assert (again["done"], again["to_run"]) == (2, 0)
        assert [event["state"] for event in client.events("small")][-1] == "done"
        assert (tmp_path / "storage" / "studies" / "small" / "posted.yaml").read_text() == file.read_text()
