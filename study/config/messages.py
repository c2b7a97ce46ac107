"""Reading YAML so that an error can name its line, and pydantic's findings in the users' words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from pydantic import BaseModel, ValidationError

from trainers.errors import Fault

Path = tuple[str | int, ...]


def field_names(model: type[BaseModel]) -> dict[str, str]:
    """Names of a model's fields as a file writes them, with those of its attributes."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def dotted(path: Path) -> str:
    """``("search", "space", "phi", 1)`` as ``search.space.phi[1]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(value: object, known: Iterable[str]) -> str:
    """The known word that ``value`` was probably meant to be, or nothing."""
    return next(iter(difflib.get_close_matches(str(value), list(known), n=1)), "")


def unknown(kind: str, value: object, known: Iterable[str]) -> tuple[str, str]:
    """Fault and remedy for a word that is not among the known ones."""
    known = list(known)
    near = nearest(value, known)
    remedy = f"did you mean {near!r}?" if near else "choose one of these"
    return f"unknown {kind} {value!r}, known: {', '.join(known)}", remedy


def faults_of(
    error: ValidationError, where: Callable[[Path], str], known_fields: Callable[[Path], Iterable[str]], tags: set[str]
) -> list[Fault]:
    """Every finding of pydantic as what came, what was expected and what to do.

    ``known_fields`` names the fields at a path; ``tags`` are the words that pydantic puts into its paths
    for the branch of a union, which the file does not have.
    """
    entries = [(tuple(part for part in entry["loc"] if part not in tags), entry) for entry in error.errors()]
    # A misspelt field is one fault, not an unknown and a missing one.
    meant = {
        (*path[:-1], nearest(path[-1], known_fields(path[:-1])))
        for path, entry in entries
        if entry["type"] == "extra_forbidden"
    }
    faults = []
    for path, entry in entries:
        came = entry["input"]
        match entry["type"]:
            case "missing" if path in meant:
                continue
            case "extra_forbidden":
                fault, remedy = unknown("field", path[-1], known_fields(path[:-1]))
            case "missing":
                fault, remedy = "is missing", "add it"
            case "literal_error":
                words = [word.strip("'") for word in entry["ctx"]["expected"].replace(" or ", ", ").split(", ")]
                fault, remedy = unknown("value", came, words)
            case "union_tag_invalid":
                words = [word.strip("'") for word in entry["ctx"]["expected_tags"].split(", ")]
                path, (fault, remedy) = (*path, "source"), unknown("source", entry["ctx"]["tag"], words)
            case "union_tag_not_found":
                path, fault, remedy = (*path, "source"), "is missing", "name the source of the data"
            case "value_error":
                fault, remedy = str(entry["ctx"]["error"]), ""
            case _:
                fault = f"{lower_first(entry['msg'])}, got {came!r}"
                remedy = ""
        faults.append(Fault(where(path), fault, remedy))
    return faults


def lower_first(message: str) -> str:
    """The message as a part of a sentence."""
    return message[:1].lower() + message[1:]
