"""Limits of the architecture's figures, and what the script that counts them sees."""

import ast
from pathlib import Path

from bench.architecture import (
    arrows,
    circles,
    figures,
    repeated_names,
    sources,
    strategy_branches,
    untyped_signatures,
    upwards,
)

ROOT = Path(__file__).parent.parent
VERBS = {
    "best",
    "explain",
    "launch",
    "main",
    "predict",
    "report",
    "serve",
    "status",
    "stop",
    "sync",
    "table",
    "transition_map",
}
"""A command of the command line and the function that it calls bear the name of the verb."""
KNOWN_TWICE = {"choose", "encode", "machine", "try_out"}
"""Names that still mean two things; none is added."""


def test_the_house_keeps_its_limits():
    found = figures(ROOT)
    assert found["arrows"] <= 40
    assert not found["upwards"]
    assert not found["circles"]
    assert not found["strategy branches"]
    assert not set(found["repeated names"]) - VERBS - KNOWN_TWICE
    assert found["untyped signatures"] <= 195  # as before the tree was made


def trees(**modules):
    return {name.replace("__", "."): ast.parse(text) for name, text in modules.items()}


def test_branches_on_a_strategy_s_name_are_seen():
    text = """
if study.search.strategy == "grid": pass
if strategy in ("tpe", "random"): pass
match search.strategy:
    case "nsga2" | "tpe": pass
    case other: pass
if other == "grid": pass
"""
    assert strategy_branches(trees(study__x=text)) == ["study.x:2", "study.x:3", "study.x:5"]


def test_arrows_circles_and_repeats_are_seen():
    pair = trees(
        study__config__a="from study.storage.b import f\ndef g(x: dict[str, Any]) -> dict[str, Any]: ...",
        study__storage__b="import study.config.a\ndef g(): ...",
    )
    assert arrows(pair) == {("config", "storage"), ("storage", "config")}
    assert upwards(arrows(pair)) == ["config -> storage"]
    assert circles(arrows(pair)) == ["config", "storage"]
    assert repeated_names(pair) == {"g": ["study.config.a", "study.storage.b"]}
    assert untyped_signatures(pair) == 2


def test_the_sources_of_a_checkout_are_all_read():
    assert {"study", "study.config.spec", "trainers.spec", "analysis.tables"} <= sources(ROOT).keys()
