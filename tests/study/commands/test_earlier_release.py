"""A study that the first release ran is continued, and answered, by this one."""

import json
import shutil
from pathlib import Path

import pytest

from study.commands.answers import best, table, transition_map
from study.commands.launch import INLINE, launch
from study.config.load import load
from study.storage.folders import Storage
from study.storage.locations import Places

EARLIER = Path(__file__).parent / "earlier"
"""The study's file, its storage without checkpoints and data, and what was answered then."""
ANSWERS = json.loads((EARLIER / "answers.json").read_text())


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """The earlier storage launched again with a new store; what the launch came to, and where."""
    folder = tmp_path_factory.mktemp("earlier")
    shutil.copytree(EARLIER / "storage", folder / "storage")
    places = Places(f"sqlite:///{folder / 'mlflow.db'}", Storage(folder / "storage"))
    return launch(load(EARLIER / "study.yaml"), places, INLINE, quiet=True), places


def test_no_trial_of_an_earlier_release_is_trained_again(continued):
    launched, places = continued
    assert (launched.trials, launched.started, launched.done) == (4, 0, 4)
    for path in sorted((EARLIER / "storage").rglob("result.json")):
        again = places.storage.root / path.relative_to(EARLIER / "storage")
        assert again.read_bytes() == path.read_bytes()


def of_then(answer, then):
    """The part of an answer that the earlier release gave: settings that were added since stand beside it."""
    if isinstance(then, dict):
        return {key: of_then(answer[key], value) for key, value in then.items()}
    if isinstance(then, list):
        assert len(answer) == len(then)
        return [of_then(entry, value) for entry, value in zip(answer, then, strict=True)]
    return answer


@pytest.mark.parametrize(("name", "ask"), [("best", best), ("table", table), ("map", transition_map)])
def test_answers_are_those_of_the_earlier_release(continued, name, ask):
    answer = json.loads(json.dumps(ask("earlier", places=continued[1])))
    assert of_then(answer, ANSWERS[name]) == ANSWERS[name]
