"""Terminals that are not UTF-8, floods of messages, paths as a shell leaves them."""

import json
import os
import subprocess
import sys

import pytest

from study.cli.options import MAX_MESSAGES_PER_KIND, echo_messages
from study.config.presets import preset_text
from study.storage.locations import Places


def run(tmp_path, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "study.cli", *arguments],
        env=os.environ | environment,
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_terminal_that_lacks_characters_gets_others_and_a_file_is_utf8(tmp_path, encoding):
    for arguments in (("losses",), ("init", "-o", "-"), ("--help",)):
        done = run(tmp_path, *arguments, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        # click takes an ASCII terminal for one that is not set up, and gives it UTF-8.
        assert done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    found = json.loads(run(tmp_path, "losses", "--json", PYTHONIOENCODING=encoding).stdout)
    assert any("ε" in entry["formula"] for entry in found)
    done = run(tmp_path, "init", "--quiet", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "study.yaml").read_text("utf-8") == preset_text("phantom")


def test_output_that_goes_to_a_file_is_utf8_whatever_the_terminal_is(tmp_path):
    with (tmp_path / "losses.txt").open("wb") as file:
        command = [sys.executable, "-m", "study.cli", "losses"]
        subprocess.run(command, stdout=file, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=True)
    assert "ε" in (tmp_path / "losses.txt").read_text("utf-8")


def test_of_many_messages_of_a_kind_some_are_shown_with_the_count_of_all(capsys):
    rows = [f"error: table.csv:{row}: 'image{row}.nii' is missing; give it" for row in range(1000)]
    echo_messages([*rows, "error: study.yaml: another; mend it"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MAX_MESSAGES_PER_KIND + 2
    assert "980 more of 1,000" in lines[-1]
    assert any("another" in line for line in lines)


def test_a_home_that_the_shell_did_not_expand_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    places = Places.find("sqlite:///~/m.db", "~/x")
    assert places.storage.root == tmp_path / "x"
    assert places.store == f"sqlite:///{tmp_path}/m.db"


def test_records_go_to_the_storage_where_the_working_directory_takes_none(tmp_path, monkeypatch):
    (tmp_path / "dicestudy-data").write_text("a file where the folder would be")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DICESTUDY_STORE", raising=False)
    assert Places.find(None, tmp_path / "there").store == f"sqlite:///{tmp_path}/there/mlflow.db"
