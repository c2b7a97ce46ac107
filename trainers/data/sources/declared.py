"""Classes and groups that a study file declares, so that it can be read where its data is not at hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from trainers.data.base import Head
from trainers.data.sources.volumes import VolumeSpec

MOST_CLASSES = 64
"""Original labels are kept with a bit a class (``volumes.encode``)."""
NAME = re.compile(r"\w(?:[\w -]*\w)?")
"""Names become parts of metric names: ``dsc.<group>.<class>``."""
GROUP_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?")
"""Groups may hold any printable character: the names of metrics spell them as ``trainers.metric_names`` does."""
GROUP_RULE = "expected text in one line without blanks at its ends"
NAME_RULE = "expected letters, digits, _, - and spaces"


def _read_classes(written: object) -> tuple[tuple[object, tuple[int, ...]], ...]:
    if not isinstance(written, Mapping) or not written:
        raise ValueError(f"is {written!r}, expected each class with its label values, such as {{tumor: [1, 2]}}")
    problems = []
    if len(written) > MOST_CLASSES:
        problems.append(f"{len(written)} classes, expected at most {MOST_CLASSES}")
    read = []
    for name, given in written.items():
        values = tuple(given) if isinstance(given, list | tuple) else (given,)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            problems.append(f"class {name!r}, {NAME_RULE}")
        if not values or not all(type(value) is int and value > 0 for value in values):
            problems.append(f"class {name!r} has the values {given!r}, expected whole numbers above 0")
        else:
            # In one order, so that specs that mean the same have one key.
            read.append((name, tuple(sorted(set(values)))))
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(read)


def _check_groups(names: tuple[str, ...]) -> tuple[str, ...]:
    problems = [f"group {name!r}, {GROUP_RULE}" for name in names if not GROUP_NAME.fullmatch(name)]
    problems += [f"group {name!r} is given {count} times" for name, count in Counter(names).items() if count > 1]
    if problems:
        raise ValueError("; ".join(problems))
    return names


ClassValues = Annotated[
    tuple[tuple[str, tuple[int, ...]], ...], BeforeValidator(_read_classes), PlainSerializer(dict, dict[str, Any])
]
"""Written ``{anterior: 1, posterior: [2, 3]}``; each class with its values of the label files, ascending."""
GroupNames = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_check_groups)]


class ClassSpec(VolumeSpec):
    """A source whose classes the study file declares, each by the values that it has in the label files."""

    # The interface takes the names that study files use: ``classes``, ``groups``, ``background``.
    model_config = ConfigDict(populate_by_name=True)

    class_values: ClassValues = Field(alias="classes")
    """Values of the label files that make each class."""

    @property
    def values(self) -> Mapping[str, tuple[int, ...]]:
        """As declared."""
        return dict(self.class_values)

    @model_validator(mode="after")
    def _classes_exclude_each_other(self) -> ClassSpec:
        uses = Counter(value for _, values in self.class_values for value in values)
        twice = sorted(value for value, count in uses.items() if count > 1)
        if twice and self.head == "softmax":
            shown = ", ".join(map(str, twice))
            raise ValueError(
                f"label values {shown} belong to several classes; give each to one, or set overlapping: true"
            )
        return self


class GroupedSpec(ClassSpec):
    """A source whose groups the study file declares, too."""

    overlapping: bool = False
    """Whether classes may share voxels: each has a map of its own then, and the network a sigmoid."""
    group_names: GroupNames = Field(default=("all",), alias="groups")
    """Groups that the cases belong to."""
    subjects_span_groups: bool = False
    """Whether a subject may have cases in several groups, as a heart has in its phases."""

    @property
    def head(self) -> Head:
        """Classes exclude each other where there are several, unless they may overlap."""
        return "sigmoid" if self.overlapping or len(self.class_values) == 1 else "softmax"

    @property
    def groups(self) -> tuple[str, ...]:
        """As declared."""
        return self.group_names

    @property
    def paired(self) -> bool:
        """As declared."""
        return self.subjects_span_groups
