"""From a study file's text to its spec, or to every fault in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from study.config.goals import unknown_goals
from study.config.messages import Path as FieldPath
from study.config.messages import faults_of, field_names, unknown
from study.config.search_space import read_space
from study.config.spec import StudySpec
from study.config.yaml_document import Document
from trainers.data.sources.registry import SOURCES
from trainers.errors import Fault, InputError


def parse_study(text: str, name: str = "study.yaml") -> StudySpec:
    """Read a study file's text; ``name`` is what errors call it.

    Raises: InputError with every fault: file, line, path of the field, what came, what is known.
    """
    document = Document(text, name)
    if not isinstance(document.value, dict):
        came = "is empty" if document.value is None else f"holds {str(document.value)[:40]!r}"
        raise InputError(Fault(name, f"{came}, expected the fields of a study", "see dicestudy init"))
    try:
        study = StudySpec.model_validate(document.value)
    except ValidationError as error:
        tags = set(SOURCES) | {"function-before[_read(), ]"}
        raise InputError(faults_of(error, document.where, lambda path: _known(document.value, path), tags)) from None
    faults = [Fault(document.where(path), fault, remedy) for path, fault, remedy in _unknown_names(study)]
    # What is wrong by itself would clash in every trial as well.
    faults = faults or [
        Fault(document.where(("search", "space", *path)), fault, remedy)
        for path, fault, remedy in read_space(study).faults
    ]
    if faults:
        raise InputError(faults)
    return study


def _unknown_names(study: StudySpec) -> Iterator[tuple[FieldPath, str, str]]:
    """Groups and classes that the data does not have."""
    empty, data = study.labeling.empty, study.data
    if empty.group not in data.groups:
        yield ("labeling", "empty", "group"), *unknown("group", empty.group, data.groups)
    for number, name in enumerate(empty.classes):
        if name not in data.classes:
            yield ("labeling", "empty", "classes", number), *unknown("class", name, data.classes)
    yield from unknown_goals(study)
    for group in study.trial.sampling:
        if group not in data.groups:
            yield ("trial", "sampling", group), *unknown("group", group, data.groups)


def load(path: str | Path) -> StudySpec:
    """Read a study file.

    Raises: InputError if it cannot be read, or with every fault in it.
    """
    return parse_study(read_text(path), str(path))


def read_text(path: str | Path) -> str:
    """The text of a study file. Raises: InputError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            Fault(str(path), f"cannot be read: {error.strerror}", "write one with dicestudy init")
        ) from None
    except UnicodeDecodeError:
        raise InputError(Fault(str(path), "is not UTF-8 text", "save it as UTF-8")) from None


def _known(value: Any, path: FieldPath) -> Iterable[str]:
    """Names of the fields at ``path`` of a study file."""
    model: Any = StudySpec
    for part in path:
        value = value.get(part, {}) if isinstance(value, dict) else {}
        model = _model_of(model.model_fields[field_names(model)[str(part)]].annotation, value)
    return field_names(model) if model is not None else ()


def _model_of(annotation: Any, value: Any) -> type[BaseModel] | None:
    """The model that a field's annotation stands for; of a union of sources, the one that the file names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(value, dict) and value.get("source") in SOURCES:
        return SOURCES[value["source"]]
    models = [_model_of(argument, value) for argument in get_args(annotation)]
    return next((model for model in models if model is not None), None)
