"""MONAI's networks and the arguments they take, read from its source: to import it takes seconds."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SUPPLIED = ("spatial_dims", "in_channels", "out_channels", "img_size")
"""Arguments that follow from the data: number of axes, channels, maps, and the patch's shape."""


@dataclass(frozen=True)
class Signature:
    """Names of the arguments that a class is made with, and of those without a default."""

    known: tuple[str, ...]
    required: frozenset[str]

    @property
    def fits_data(self) -> bool:
        """Whether it can be told the channels of the images and the number of maps."""
        return {"in_channels", "out_channels"} <= set(self.known)


def find_network(name: str) -> Signature | None:
    """How MONAI's network class ``name`` is made; None if there is no such class."""
    definition = _classes(_modules()[name]).get(name) if name in _modules() else None
    if definition is None:
        return None
    parent = next((found for base in definition.bases if (found := find_network(ast.unparse(base)))), None)
    made = next(
        (part for part in definition.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None
    )
    if made is None:
        return parent
    arguments = made.args
    plain = arguments.args[1:]
    bare = plain[: len(plain) - len(arguments.defaults)]
    bare += [part for part, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    own = [part.arg for part in plain + arguments.kwonlyargs]
    passed_on = parent.known if arguments.kwarg and parent else ()
    return Signature(tuple(dict.fromkeys((*own, *passed_on))), frozenset(part.arg for part in bare))


@cache
def monai_version() -> str:
    """Of the package that is installed."""
    return importlib.metadata.version("monai")


def network_names() -> list[str]:
    """Every class that can be told the channels of the images and the number of maps."""
    return [name for name in _modules() if (found := find_network(name)) and found.fits_data]


def _folder() -> Path:
    found = importlib.util.find_spec("monai")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("MONAI is not installed")
    return Path(found.submodule_search_locations[0]) / "networks" / "nets"


@cache
def _modules() -> dict[str, str]:
    """The file that holds each public name."""
    tree = ast.parse((_folder() / "__init__.py").read_text("utf-8"))
    imports = (part for part in tree.body if isinstance(part, ast.ImportFrom) and part.level == 1)
    return {alias.name: str(part.module) for part in imports for alias in part.names}


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse((_folder() / f"{module}.py").read_text("utf-8"))
    return {part.name: part for part in tree.body if isinstance(part, ast.ClassDef)}
