"""Keys of studies, searches and trials are those of the first release: by them results are found again."""

import hashlib
import json
from pathlib import Path

import pytest

from study.config.load import parse_study
from study.config.presets import preset_text
from study.config.search_space import enumerate_trials

KEYS = json.loads((Path(__file__).parent / "keys.json").read_text())


def data_key(data):
    """A key by what the file says, so that a preset's data need not be at hand."""
    return hashlib.sha256(data.model_dump_json(exclude=set(data.unkeyed)).encode()).hexdigest()[:12]


@pytest.mark.parametrize("preset", KEYS)
def test_a_preset_s_keys_are_what_they_were(preset):
    study = parse_study(preset_text(preset))
    trials = [spec.key for spec in enumerate_trials(study, data_key)]
    assert {"study": study.key, "search": study.search_key, "trials": trials} == KEYS[preset]
