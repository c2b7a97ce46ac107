"""The study file: what users write, frozen and closed, with errors that name file, line and field."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator

from study.locate import Document, faults_of
from study.locate import Path as FieldPath
from study.space import Space, read_space
from trainers.data.base import FrozenSpec
from trainers.data.sources import SOURCES, AnyDataSpec
from trainers.errors import Fault, InputError
from trainers.spec import EmptySpec, ProtocolSpec

Strategy = Literal["grid"]


class LabelingSpec(FrozenSpec):
    """What ``partial`` labeling empties."""

    empty: EmptySpec


class SearchSpec(FrozenSpec):
    """The strategy, and the space: one mapping, or a list of mappings whose grids are joined."""

    strategy: Strategy = "grid"
    space: Space | tuple[Space, ...]

    @field_validator("space", mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The space as a tuple of mappings, also where the file has but one."""
        return self.space if isinstance(self.space, tuple) else (self.space,)


class ResourceSpec(FrozenSpec):
    """What one trial needs of a machine, and how many may run at once; no part of a trial's key."""

    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    concurrent: int | None = Field(default=None, ge=1)


class StudySpec(FrozenSpec):
    """A whole study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    data: AnyDataSpec
    labeling: LabelingSpec
    trial: ProtocolSpec
    folds: int = Field(default=1, ge=1)
    seeds: int = Field(default=1, ge=1)
    search: SearchSpec
    resources: ResourceSpec = ResourceSpec()

    @property
    def key(self) -> str:
        """Content hash [12 hex digits] of the file's meaning: the study's version."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def parse_study(text: str, name: str = "study.yaml") -> StudySpec:
    """Read a study file's text; ``name`` is what errors call it.

    Raises: InputError with every fault: file, line, path of the field, what came, what is known.
    """
    document = Document(text, name)
    if not isinstance(document.value, dict):
        raise InputError(
            Fault(name, f"holds {type(document.value).__name__}, expected the fields of a study", "see dicestudy init")
        )
    try:
        study = StudySpec.model_validate(document.value)
    except ValidationError as error:
        tags = set(SOURCES) | {"function-before[_read(), ]"}
        raise InputError(faults_of(error, document.where, lambda path: _known(document.value, path), tags)) from None
    faults = [
        Fault(document.where(("search", "space", *path)), fault, remedy)
        for path, fault, remedy in read_space(study).faults
    ]
    if faults:
        raise InputError(faults)
    return study


def load(path: str | Path) -> StudySpec:
    """Read a study file.

    Raises: InputError if it cannot be read, or with every fault in it.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(
            Fault(str(path), f"cannot be read: {error.strerror}", "write one with dicestudy init")
        ) from None
    except UnicodeDecodeError:
        raise InputError(Fault(str(path), "is not UTF-8 text", "save it as UTF-8")) from None
    return parse_study(text, str(path))


def _known(value: Any, path: FieldPath) -> Iterable[str]:
    """Names of the fields at ``path`` of a study file."""
    model: Any = StudySpec
    for part in path:
        value = value.get(part, {}) if isinstance(value, dict) else {}
        model = _model_of(model.model_fields[part].annotation, value)
    return model.model_fields if model is not None else ()


def _model_of(annotation: Any, value: Any) -> type[BaseModel] | None:
    """The model that a field's annotation stands for; of a union of sources, the one that the file names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(value, dict) and value.get("source") in SOURCES:
        return SOURCES[value["source"]]
    models = [_model_of(argument, value) for argument in get_args(annotation)]
    return next((model for model in models if model is not None), None)
