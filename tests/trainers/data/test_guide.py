"""The guide to the data is about the sources as they are."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from trainers.data.sources.registry import SOURCES, AnyDataSpec
from trainers.data.sources.volumes import VolumeSpec

GUIDE = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
FIELDS = {
    (name, field.alias or key)
    for name, source in SOURCES.items()
    if issubclass(source, VolumeSpec)
    for key, field in source.model_fields.items()
}


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
def test_every_example_is_a_source(text: str) -> None:
    TypeAdapter(AnyDataSpec).validate_python(yaml.safe_load(text)["data"])


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_named(name: str) -> None:
    assert f"`{name}`" in GUIDE


@pytest.mark.parametrize(("source", "field"), sorted(FIELDS))
def test_every_field_is_explained(source: str, field: str) -> None:
    assert field == "source" or f"`{field}`" in GUIDE or f"`{field}: " in GUIDE
