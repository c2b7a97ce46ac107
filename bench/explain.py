"""How far ``dicestudy explain`` is from measurement: crossings predicted from labels beside those of trained studies.

    python -m bench.explain STORAGE [--studies NAME ...] [--all]

Reads the storage alone (specs, results, per-case tables, prepared labels). Takes each slice of the studies' maps at
Φ = I whose trials are all over (``--all``: as far as they are). Prints per slice the measured crossing with its
interval and what ``analysis.theory.prediction`` says, then refits its constants: the push at which slices cross,
alone and with a factor (learning rate · steps)^k, each with the error of a slice that the fit did not see.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.formatting import figure
from analysis.results.transition_map import transition_map
from analysis.theory.prediction import LabelStatistics, crossing_at, predict_crossing, push_curve
from study.commands.explain import statistics_of
from study.storage.folders import Storage
from study.storage.locations import Places
from study.storage.study_record import study_folders
from study.storage.tables import build_tables, stored_members
from trainers.assignment import assign_cases
from trainers.data.prepared.read import open_prepared
from trainers.result import TrialResult
from trainers.spec import TrialSpec

SHOWN = ("batch_size", "labeling", "lr", "epochs", "precision")
Member = tuple[TrialSpec, TrialResult]


@dataclass(frozen=True)
class Slice:
    """A measured slice: its name; the labels' statistics; crossing, low, high [voxels, None where open]; the ends of
    its fall [voxels]; lr · steps of its trials.
    """  # noqa: D205

    name: str
    statistics: LabelStatistics
    batch_size: int
    crossing: float
    low: float | None
    high: float | None
    ends: tuple[float, float]
    training: float

    def push_at(self, eps: float) -> float:
        """The push at ε [voxels]."""
        return push_curve(self.statistics, "I", self.batch_size, np.array([eps]))[0]

    def decades(self, predicted: float | None) -> float:
        """How far a prediction lies above the crossing; NaN where there is none."""
        return np.nan if predicted is None else float(np.log10(predicted / self.crossing))


def read_slices(storage: Storage, names: Sequence[str], unfinished: bool) -> tuple[list[Slice], list[str]]:
    """Slices of the studies on a storage that cross, and what is said of those that are left out."""
    found: dict[str, Slice] = {}
    left_out: list[str] = []
    for name in names:
        over, waiting = stored_members(name, storage)
        if not over:
            continue
        if waiting and not unfinished:
            left_out.append(f"{name}: {waiting} trials are not over")
            continue
        mapped = transition_map(build_tables(over, storage), np.random.default_rng(0))
        by_cell = {spec.cell: (spec, result) for spec, result in over}
        for each in mapped["slices"]:
            made = _slice(storage, name, each, by_cell)
            if isinstance(made, Slice):
                found.setdefault(made.name, made)
            else:
                left_out.append(made)
    return list(found.values()), left_out


def _slice(storage: Storage, study: str, found: dict[str, Any], by_cell: dict[str, Member]) -> Slice | str:
    """A slice of a map, or why it is not compared."""
    at, crossing = found["at"], found["crossing"]
    label = ", ".join(f"{name} {at[name]}" for name in SHOWN) + f", radius {at.get('data.radius', '')}"
    if at["phi"] != "I" or at["loss"] != "dice":
        return f"{study}, {label}: not Dice at Φ = I"
    if crossing is None:
        return f"{study}, {label}: {found['reason']}"
    spec, result = by_cell[found["points"][0]["cell"]]
    data = open_prepared(storage.prepared(spec.data_key))
    in_group = [case.group == spec.empty.group for case in data.table.cases]
    statistics = statistics_of(assign_cases(spec, data.table), data.classes.index(found["class"]), in_group)
    curve = found["curve"]
    half = (curve["width"] or curve["narrower_than"]) / 2
    ends = curve["middle"] * 10**-half, curve["middle"] * 10**half
    training = spec.protocol.lr * result.counts["steps"]
    return Slice(label, statistics, spec.batch_size, crossing["eps"], crossing["low"], crossing["high"], ends, training)


@dataclass(frozen=True)
class Fit:
    """log10 of the push at the crossing = level − power · log10(lr · steps)."""

    level: float
    power: float

    def crossing(self, one: Slice) -> float | None:
        """The ε [voxels] at which a slice is expected to cross."""
        return crossing_at(
            one.statistics, "I", one.batch_size, 10 ** (self.level - self.power * np.log10(one.training))
        )


def fit(slices: Sequence[Slice], with_power: bool) -> Fit:
    """Least squares of the push at the measured crossings, in log."""
    push = np.log10([one.push_at(one.crossing) for one in slices])
    if not with_power or len({one.training for one in slices}) < 2:
        return Fit(float(push.mean()), 0.0)
    slope, level = np.polyfit(np.log10([one.training for one in slices]), push, 1)
    return Fit(float(level), float(-slope))


def left_out_errors(slices: Sequence[Slice], with_power: bool) -> np.ndarray[Any, Any]:
    """Decades of each slice's prediction by the fit of all others."""
    others = [[other for other in slices if other is not one] for one in slices]
    return np.array(
        [one.decades(fit(rest, with_power).crossing(one)) for one, rest in zip(slices, others, strict=True)]
    )


def tell(name: str, decades: Sequence[float]) -> str:
    """Median and largest error, and bias [decades]."""
    known = np.array([value for value in decades if np.isfinite(value)])
    size = np.abs(known)
    return (
        f"{name:44s} median {np.median(size):.2f}, largest {size.max():.2f}, bias {known.mean():+.2f} decades "
        f"({len(known)} slices)"
    )


def print_constants(slices: Sequence[Slice]) -> None:
    """The lines for ``analysis/explain.py``: thresholds where 10 % and 90 % of the fall are behind, median."""
    ends = [[one.push_at(eps) for eps in one.ends] for one in slices]
    begun, over = np.median(np.array(ends), axis=0).tolist()
    # Their geometric mean is where slices cross.
    scale = 10 ** fit(slices, with_power=False).level / np.sqrt(begun * over)
    print("\nfor analysis/explain.py")
    print(f"IGNORED_BELOW, LEARNT_ABOVE = {begun * scale:.3f}, {over * scale:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", type=Path)
    parser.add_argument("--studies", nargs="+", help="names; all of the storage, unless given")
    parser.add_argument("--all", action="store_true", help="studies that are not over as well")
    given = parser.parse_args()
    storage = Storage(given.storage)
    names = given.studies or study_folders(Places("", storage))
    slices, left_out = read_slices(storage, names, given.all)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    if len(slices) < 3:
        print(f"{len(slices)} slices cross: too few to fit anything", file=sys.stderr)
        return 1
    predicted = [predict_crossing(one.statistics, "I", one.batch_size) for one in slices]
    print("measured ε [v̂]      [voxels]  interval            predicted  decades  push there  lr·steps  slice")
    for one, eps in zip(slices, predicted, strict=True):
        interval = ", ".join(figure(end) if end is not None else "open" for end in (one.low, one.high))
        print(
            f"{one.crossing / one.statistics.v_hat:14.3f}  {one.crossing:12.3g}  {f'[{interval}]':18s}  "
            f"{figure(eps):>9s}  {one.decades(eps):+7.2f}  {one.push_at(one.crossing):10.3f}  {one.training:8.3g}  "
            f"{one.name}"
        )
    print()
    print(tell("as analysis.explain stands", [one.decades(eps) for one, eps in zip(slices, predicted, strict=True)]))
    for with_power, name in ((False, "one push for all"), (True, "times (lr·steps)^k")):
        fitted = fit(slices, with_power)
        print(tell(f"{name}, fitted on all", [one.decades(fitted.crossing(one)) for one in slices]))
        print(tell(f"{name}, slice left out", left_out_errors(slices, with_power).tolist()))
        print(f"    push at the crossing = {10**fitted.level:.3g} · (lr·steps)^−{fitted.power:.2f}")
    print_constants(slices)
    return 0


if __name__ == "__main__":
    sys.exit(main())
