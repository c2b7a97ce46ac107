"""What a posted text must be before it is read as a study: small in every sense, its paths inside the roots.

Quick and light, so that the service itself does it; nothing is opened, and no link is followed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from study.config.strategies import RULES
from study.service.settings import MOST_TRIALS
from trainers.errors import Fault, InputError

NAME = "study.yaml"
"""What errors call the posted file."""
MOST_NODES = 20_000
MOST_DEPTH = 20
MOST_ALIASES = 20
RANGE = {"from", "to", "points"}
"""The words of a range, of which ``points`` says how many values it stands for."""
PATHS = ("root", "grades", "cases")
"""Fields of the sources of data that are paths."""
# Ten times as quick where PyYAML was built with it; either builds plain values only.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_upload(text: str, roots: tuple[str, ...]) -> None:
    """Refuse a text that grows or sinks while it is read, has too many trials, or names a path out of ``roots``.

    What is wrong with it as YAML or as a study is told, with its line, by who reads it.
    Raises: InputError.
    """
    _require_plain(text)
    try:
        value = yaml.load(text, Loader=_LOADER)
    except Exception:
        return
    if not isinstance(value, dict):
        return
    if (count := count_trials(value)) > MOST_TRIALS:
        raise InputError(
            Fault(NAME, f"{count:,} trials, expected at most {MOST_TRIALS:,}", "make several studies of it")
        )
    faults = [path_outside_roots(name, path, roots) for name, path in _paths(value) if not _seems_inside(path, roots)]
    if faults:
        raise InputError(faults)


def path_outside_roots(name: str, path: str | Path, roots: tuple[str, ...]) -> Fault:
    """The fault of a path that the service may not open."""
    known = ", ".join(roots) or "none, generated sources only"
    fault = f"{str(path)[:200]!r} is not below a folder that this service reads, known: {known}"
    return Fault(f"{NAME}: {name}", fault, "ask its operator for --data-root")


def _require_plain(text: str) -> None:
    """Only the events are looked at, nothing is built."""
    depth = nodes = aliases = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            nodes += isinstance(event, yaml.NodeEvent)
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            for came, most, what in (
                (nodes, MOST_NODES, "values"),
                (depth, MOST_DEPTH, "levels"),
                (aliases, MOST_ALIASES, "aliases"),
            ):
                if came > most:
                    where = f"{NAME}:{event.start_mark.line + 1}" if event.start_mark else NAME
                    raise InputError(Fault(where, f"more than {most:,} {what}, which no study has", "write it shorter"))
    except yaml.YAMLError:
        return


def count_trials(value: dict[str, Any]) -> int:
    """Trials of a study file's value: a search's own number, a grid's with repeats; 0 where it is no study."""
    if not isinstance(search := value.get("search"), dict):
        return 0
    rules = RULES.get(str(search.get("strategy", "grid")))
    if rules is None or rules.is_search:
        return sum(number for name in ("trials", "references") if isinstance(number := search.get(name), int))
    given = search.get("space")
    spaces = given if isinstance(given, list) else [given]
    cells = sum(
        math.prod(_count_values(values) for values in space.values()) for space in spaces if isinstance(space, dict)
    )
    times = [number for name in ("folds", "seeds") if isinstance(number := value.get(name), int) and number > 0]
    return cells * math.prod(times)


def _count_values(values: Any) -> int:
    if isinstance(values, list):
        return max(1, sum(_count_values(value) if isinstance(value, dict) else 1 for value in values))
    if isinstance(values, dict) and set(map(str, values)) & RANGE:
        try:
            return max(1, int(values.get("points", 1)))
        except (TypeError, ValueError, OverflowError):
            return 1
    return 1


def _paths(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every path that a study file's value names, the values of its search space too."""
    search = value.get("search")
    given = search.get("space") if isinstance(search, dict) else None
    named = [("", value, ("splits",)), ("data.", value.get("data"), PATHS)]
    axes = tuple(f"data.{name}" for name in PATHS)
    named += [("search.space.", space, axes) for space in (given if isinstance(given, list) else [given])]
    for place, fields, names in named:
        if not isinstance(fields, dict):
            continue
        for name in names:
            entries = fields.get(name)
            for path in entries if isinstance(entries, list) else [entries]:
                if isinstance(path, str):
                    yield f"{place}{name}", path


def _seems_inside(path: str, roots: tuple[str, ...]) -> bool:
    if "\0" in path:
        return False
    plain = Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - ``..`` goes, links stay
    return any(plain.is_relative_to(place) for root in roots for place in _both(root))


def _both(root: str) -> tuple[Path, Path]:
    """A folder as it is written, and where it truly is."""
    written = Path(root).expanduser().absolute()
    return written, written.resolve()
