"""A metric of cells: what it measures, its unit, and which direction is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from analysis.tables import spelled_name


class Direction(StrEnum):
    """Which means are better."""

    HIGHEST = "highest"
    LOWEST = "lowest"
    CLOSEST_TO_ZERO = "closest to 0"


UNITS: Mapping[str, str] = {"dv_ml": "ml"}
"""Unit of each kind of metric that has one."""


@dataclass(frozen=True)
class Metric:
    """A metric and the direction in which cells are ranked by it.

    name: under which cells, MLflow (behind ``final.``) and answers have it; kind: dsc, dv_ml, retention or auc;
    group: None where the metric has none; class_: name of the class, both as the study writes them.
    """

    name: str
    kind: str
    group: str | None
    class_: str
    direction: Direction

    @classmethod
    def parse(cls, text: str, known: Mapping[str, Metric]) -> Metric:
        """Read a metric as a user writes it, such as ``-retention.tumor`` or ``final.dsc.B.tumor``.

        A leading ``-`` ranks the lowest first. ``known``: of ``metrics_of``, those that a cell has.
        Raises: ValueError if the name is not among ``known``.
        """
        name = text.removeprefix("-").removeprefix("final.")
        if name not in known:
            listed = ", ".join(sorted(known)) or "none, for no trial is done"
            raise ValueError(f"unknown metric {name!r}, known: {listed}")
        return replace(known[name], direction=Direction.LOWEST) if text.startswith("-") else known[name]

    @property
    def unit(self) -> str:
        """Unit of its values; empty where they are shares."""
        return UNITS.get(self.kind, "")

    def score(self, mean: float | None) -> float:
        """Turn a mean into a score of which the highest is best; NaN where there is no mean."""
        if mean is None:
            return math.nan
        if self.direction is Direction.CLOSEST_TO_ZERO:
            return -abs(mean)
        return -float(mean) if self.direction is Direction.LOWEST else float(mean)


def metrics_of(groups: Sequence[str], classes: Sequence[str], spelling: Mapping[str, str]) -> dict[str, Metric]:
    """Every metric that cells of a study with these groups and classes may have, by its name."""
    described = [(kind, group, class_) for kind in ("dsc", "dv_ml") for group in groups for class_ in classes] + [
        (kind, None, class_) for kind in ("retention", "auc") for class_ in classes
    ]
    metrics = {}
    for kind, group, class_ in described:
        name = spelled_name(kind, [class_] if group is None else [group, class_], spelling)
        direction = Direction.CLOSEST_TO_ZERO if kind == "dv_ml" else Direction.HIGHEST
        metrics[name] = Metric(name, kind, group, class_, direction)
    return metrics
