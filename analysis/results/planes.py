"""The map over two factors: ε against any other setting, and any two settings at one ε. Numbers only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from analysis.stats.bootstrap import FloatArray
from analysis.tables import PARTIAL, PHIS
from analysis.theory.gradients import eps_roots

FIGURES = ("retention", "dsc_labelled", "collapse")
"""What a plane shows of each cell, a heat map each."""
OVERLAPS = (0.5, 0.25)
"""a of eq. 5, the overlap of a labelled map in units of v̂, for which its roots are given (b = 2): half a map hit, in
the middle of training, has the double root v̂; a quarter, earlier, has two."""
WIDEST_GAP = 1.0
"""Decades to which a gap between neighbouring ε is drawn: 1e-7 beside 0.1 would leave no room for the rest."""


def planes_of(slices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Arrange the slices of a map by two factors: planes of ε first, then those of two settings at one ε.

    A plane: ``class``, ``at`` (all other settings), ``x`` and ``y``, the factors' names; ``rows``: one a value of y,
    with ``value``, and in planes of ε ``slice``, its index, ``v_hat`` [voxels], ``roots`` of eq. 5 (``a`` and
    ``eps`` [voxels]), ``crossing`` and ``reason`` of the slice; ``cells``: ``x``, ``y``, ``cell``, ``retention``,
    ``dsc_labelled``, ``dsc_emptied``, ``collapse`` (a share), ``n``, ``outcomes``, ``eps`` and ``eps_in_v_hat``.
    Factors need two values, and a plane of two settings more cells than one row and one column share out.
    """
    return [*_eps_planes(slices), *_setting_planes(slices)]


def plane_rows(mapped: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flatten a map's planes for a CSV file: one row a cell, with its plane's number, factors and other settings."""
    return [
        {"plane": number, "class": plane["class"], "x_name": plane["x"], "y_name": plane["y"]}
        | {name: value for name, value in cell.items() if name != "outcomes"}
        | {name: value for name, value in plane["at"].items() if name not in cell}
        for number, plane in enumerate(mapped["planes"])
        for cell in plane["cells"]
    ]


def in_order(values: Iterable[Any]) -> list[Any]:
    """Sort the values of a factor: numbers, Φ from I to BCI, shares of partial labeling, else as text."""

    def rank(value: Any) -> tuple[int, float, str]:
        if isinstance(value, int | float):
            return 0, float(value), ""
        if value in PHIS:
            return 1, PHIS.index(value), ""
        share = str(value).removeprefix(PARTIAL).strip()
        if str(value).startswith(PARTIAL):
            return 2, float(share) if share.replace(".", "", 1).isdigit() else 1.0, str(value)
        return 3, 0.0, str(value)

    return sorted(set(values), key=rank)


class EpsAxis:
    """Where ε stands on a drawn axis: log10 ε, with wide gaps between the ε scanned drawn as ``WIDEST_GAP``."""

    def __init__(self, eps: Iterable[float]) -> None:
        self.log10_eps: FloatArray = np.unique(np.log10(np.array(sorted(set(eps)), dtype=np.float64)).round(6))
        gaps = np.diff(self.log10_eps)
        self.places: FloatArray = np.concatenate([[0.0], np.cumsum(np.minimum(gaps, WIDEST_GAP))])
        self.cut = bool((gaps > WIDEST_GAP).any())
        """Whether any gap is drawn shorter than it is."""

    def place(self, eps: float) -> float:
        """Place of an ε; beyond the scan at the true distance, half a ``WIDEST_GAP`` at most."""
        log10_eps = float(np.log10(eps))
        inside = float(np.interp(log10_eps, self.log10_eps, self.places))
        beyond = min(0.0, log10_eps - self.log10_eps[0]) + max(0.0, log10_eps - self.log10_eps[-1])
        return inside + float(np.clip(beyond, -WIDEST_GAP / 2, WIDEST_GAP / 2))

    def edges(self, eps: Sequence[float]) -> list[tuple[float, float]]:
        """Left and right edge of each of a row's cells: half way to its neighbours."""
        at = [self.place(value) for value in eps]
        if len(at) == 1:
            return [(at[0] - WIDEST_GAP / 4, at[0] + WIDEST_GAP / 4)]
        middles = [(a + b) / 2 for a, b in pairwise(at)]
        first, last = at[0] - (middles[0] - at[0]), at[-1] + (at[-1] - middles[-1])
        return list(zip([first, *middles], [*middles, last], strict=True))


def spans_of(plane: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Left and right edge of each cell of a plane as drawn: along ``EpsAxis``, or whole numbers for other factors."""
    cells = plane["cells"]
    if plane["x"] != "eps":
        columns = in_order(cell["x"] for cell in cells)
        return [(float(columns.index(cell["x"])), columns.index(cell["x"]) + 1.0) for cell in cells]
    axis, spans = EpsAxis(cell["x"] for cell in cells), [(0.0, 0.0)] * len(cells)
    for row in plane["rows"]:
        own = [number for number, cell in enumerate(cells) if cell["y"] == row["value"]]
        for number, edges in zip(own, axis.edges([cells[number]["x"] for number in own]), strict=True):
            spans[number] = edges
    return spans


def _eps_planes(slices: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    with_points = [{**each, "slice": number} for number, each in enumerate(slices) if each["points"]]
    for factor in _varying(with_points):
        groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for each in with_points:
            groups.setdefault(_rest(each, {factor}), []).append(each)
        for group in groups.values():
            if len(group) < 2 or max(len(each["points"]) for each in group) < 2:
                continue
            by_value = {each["at"][factor]: each for each in group}
            rows = [_row(value, by_value[value]) for value in in_order(by_value)]
            cells = [
                _cell(point["eps"], value, point) for value in in_order(by_value) for point in by_value[value]["points"]
            ]
            yield _plane(group[0], "eps", factor, rows, cells)


def _setting_planes(slices: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for x, y in combinations(_varying(slices), 2):
        groups: dict[tuple[str, ...], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
        for each in slices:
            for point in each["points"]:
                groups.setdefault((*_rest(each, {x, y}), str(point["eps_written"])), []).append((each, point))
        for group in groups.values():
            across = {each["at"][x] for each, _ in group}
            up = {each["at"][y] for each, _ in group}
            if min(len(across), len(up)) < 2 or len(group) < len(across) + len(up):
                continue
            first, point = group[0]
            cells = [_cell(each["at"][x], each["at"][y], point) for each, point in group]
            plane = _plane(first, x, y, [{"value": value} for value in in_order(up)], cells)
            plane["at"]["eps"] = point["eps_written"]
            yield plane


def _varying(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    names = slices[0]["at"] if slices else ()
    return [name for name in names if len({str(each["at"][name]) for each in slices}) > 1]


def _rest(found: Mapping[str, Any], factors: set[str]) -> tuple[str, ...]:
    return (found["class"], *(str(value) for name, value in found["at"].items() if name not in factors))


def _plane(
    first: Mapping[str, Any], x: str, y: str, rows: list[dict[str, Any]], cells: list[dict[str, Any]]
) -> dict[str, Any]:
    at = {name: value for name, value in first["at"].items() if name not in (x, y)}
    return {"class": first["class"], "at": at, "x": x, "y": y, "rows": rows, "cells": cells}


def _row(value: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    v_hat = found["v_hat"]
    known = v_hat is not None and v_hat > 0
    roots = [{"a": a, "eps": list(eps_roots(a, 2.0, v_hat))} for a in OVERLAPS] if known else []
    return {
        "value": value,
        "slice": found["slice"],
        "v_hat": v_hat,
        "roots": roots,
        "crossing": found["crossing"],
        "reason": found["reason"],
    }


def _cell(x: Any, y: Any, point: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("cell", "retention", "dsc_labelled", "dsc_emptied", "n", "outcomes", "eps", "eps_in_v_hat")
    return {"x": x, "y": y, **{name: point[name] for name in kept}, "collapse": point["collapse"]["share"]}
