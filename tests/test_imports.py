"""Who may know whom: one trial knows no study, the analysis knows neither, and each engine has its place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [path for package in ("trainers", "analysis", "study") for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


FORBIDDEN = {
    "trainers": {"study", "analysis", "ray", "mlflow", "optuna", "fastapi", "click"},
    "analysis": {"study", "trainers", "torch", "ray", "mlflow", "monai", "click"},
    "study": {"torch", "monai"},
}
SERVICE = {str(path.relative_to(ROOT)) for path in FILES if path.parent.name == "service"}
PLACES = {
    "optuna": {f"study/search/{name}.py" for name in ("choices", "memory", "supply", "transition")},
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "limits"), SERVICE),
    "ray": {"study/engine/tune.py", "study/engine/cluster.py", "study/engine/jobs.py"},
    "mlflow": {"study/store.py", "study/tracking.py", "study/query.py", "study/delivery.py"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_way_through_the_house(path):
    place = str(path.relative_to(ROOT))
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & FORBIDDEN[path.relative_to(ROOT).parts[0]]
    for package, places in PLACES.items():
        assert package not in roots or place in places


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short_enough_to_read(path):
    assert len(path.read_text().splitlines()) <= 400
