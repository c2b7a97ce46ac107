"""The README's commands and links are real."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from study.cli.main import main
from study.config.load import parse_study
from trainers.data.sources.registry import AnyDataSpec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"^\s*(dicestudy .*)$", README, re.MULTILINE))
def test_every_command_of_the_readme_is_one(line):
    words = shlex.split(line, comments=True)[1:]
    command = main.commands[words[0]]
    options = {name for parameter in command.params for name in parameter.opts}
    for word in words[1:]:
        assert not word.startswith("-") or word in options


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!http)[^)#]+)\)", README))
def test_every_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_the_study_file_of_the_readme_is_one():
    text, data = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert TypeAdapter(AnyDataSpec).validate_python(yaml.safe_load(data)["data"]).classes == ("tumor",)
    assert parse_study(text).name == "my-study"


@pytest.mark.parametrize("target", re.findall(r"`make (\w+)`", README))
def test_every_make_target_of_the_readme_is_one(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
