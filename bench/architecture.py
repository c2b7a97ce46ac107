"""Figures of the architecture of a checkout, read from its source alone: ``python -m bench.architecture [CHECKOUT]``.

Arrows: pairs of folders of ``study`` (in a flat tree, of modules) of which one imports the other. Branches on a
strategy's name: comparisons, ``match`` cases and tests of membership with such a name beside an expression that is
called strategy. A repeated name: a public class or function at the top level of two modules of any package.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("trainers", "analysis", "study")
STRATEGIES = {"grid", "random", "tpe", "nsga2", "transition"}
LAYERS = ("config", "storage", "search", "execution", "tracking", "planning", "commands", "service", "cli")
"""Folders of ``study``; each may import those to its left."""


def sources(root: Path) -> dict[str, ast.Module]:
    """The syntax tree of every module by its dotted name."""
    trees = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            trees[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return trees


def arrows(trees: dict[str, ast.Module]) -> set[tuple[str, str]]:
    """Folders of ``study`` that import another, as (importing, imported); modules count as folders of a flat tree."""
    found = set()
    for name, tree in trees.items():
        if not name.startswith("study."):
            continue
        folder = name.split(".")[1]
        for target in _imported(tree):
            parts = target.split(".")
            if parts[0] == "study" and len(parts) > 1 and parts[1] != folder:
                found.add((folder, parts[1]))
    return found


def upwards(pairs: set[tuple[str, str]]) -> list[str]:
    """Arrows that leave a layer for one to its right."""
    rank = {name: number for number, name in enumerate(LAYERS)}
    return [
        f"{one} -> {other}" for one, other in sorted(pairs) if one in rank and other in rank and rank[one] < rank[other]
    ]


def circles(pairs: set[tuple[str, str]]) -> list[str]:
    """Folders that reach themselves along the arrows."""
    targets = defaultdict(set)
    for one, other in pairs:
        targets[one].add(other)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in targets.get(waiting.pop(), set()) - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    return sorted(folder for folder in targets if folder in reached(folder))


def untyped_signatures(trees: dict[str, ast.Module]) -> int:
    """Parameters and returns whose annotation holds ``dict[str, Any]``."""
    count = 0
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                notes = [*(argument.annotation for argument in arguments), node.returns]
                count += sum("dict[str, Any]" in ast.unparse(note) for note in notes if note is not None)
    return count


def strategy_branches(trees: dict[str, ast.Module]) -> list[str]:
    """Places that branch on a strategy's name outside its class, as ``module:line``."""
    return [f"{name}:{line}" for name, tree in trees.items() for line in sorted(_branches(tree))]


def repeated_names(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Public classes and functions that the top level of more than one module defines, with those modules."""
    homes = defaultdict(list)
    for name, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    return {name: modules for name, modules in sorted(homes.items()) if len(modules) > 1}


def figures(root: Path) -> dict[str, object]:
    """All figures of a checkout."""
    trees = sources(root)
    pairs = arrows(trees)
    return {
        "arrows": len(pairs),
        "upwards": upwards(pairs),
        "circles": circles(pairs),
        "untyped signatures": untyped_signatures(trees),
        "strategy branches": strategy_branches(trees),
        "repeated names": repeated_names(trees),
    }


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"study.{alias.name}" for alias in node.names) if node.module == "study" else (node.module,)


def _branches(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                parts = [node.left, *node.comparators]
                if any("strategy" in ast.unparse(part) for part in parts) and any(map(_names_strategy, parts)):
                    yield node.lineno
            case ast.Match() if "strategy" in ast.unparse(node.subject):
                for case in node.cases:
                    if any(
                        _names_strategy(part) for part in ast.walk(case.pattern) if isinstance(part, ast.MatchValue)
                    ):
                        yield case.pattern.lineno


def _names_strategy(part: ast.AST) -> bool:
    return any(isinstance(node, ast.Constant) and node.value in STRATEGIES for node in ast.walk(part))


if __name__ == "__main__":
    print(json.dumps(figures(Path(sys.argv[1] if len(sys.argv) > 1 else ".")), indent=1))
