"""Layers: which package, and which folder of ``study``, may import which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [path for package in ("trainers", "analysis", "study") for path in sorted((ROOT / package).rglob("*.py"))]
FORBIDDEN = {
    "trainers": {"study", "analysis", "ray", "mlflow", "optuna", "fastapi", "click"},
    "analysis": {"study", "trainers", "torch", "ray", "mlflow", "monai", "click"},
    "study": {"torch", "monai"},
}
LAYERS = {
    "config": set(),
    "storage": {"config"},
    "search": {"config", "storage"},
    "execution": {"config", "storage"},
    "tracking": {"config", "storage"},
    "planning": {"config", "storage", "search", "execution"},
    "commands": {"config", "storage", "search", "execution", "tracking", "planning"},
    "cli": {"config", "storage", "search", "execution", "tracking", "planning", "commands", "service"},
    "service": {"config", "storage", "search", "execution", "tracking", "planning", "commands"},
}
"""Folders of ``study`` and the folders that each may import, beside itself."""
ONLY_IN = {
    "ray": "execution",
    "mlflow": "tracking",
    "optuna": "search",
    "fastapi": "service",
    "starlette": "service",
    "uvicorn": "service",
    "limits": "service",
}
"""Packages that one folder of ``study`` alone imports."""


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path):
    package, *inside = path.relative_to(ROOT).parts
    folder = inside[0] if len(inside) > 1 else ""
    names = list(imported(path))
    roots = {name.split(".")[0] for name in names}
    assert not roots & FORBIDDEN[package]
    for outside, home in ONLY_IN.items():
        assert outside not in roots or (package, folder) == ("study", home)
    if package == "study" and folder:
        layers = {name.split(".")[1] for name in names if name.startswith("study.") and name != "study.client"}
        assert layers <= LAYERS[folder] | {folder}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short_enough_to_read(path):
    assert len(path.read_text().splitlines()) <= 400
