"""Whether the analysis keeps its word on studies drawn from known curves: coverage, bias, false marks.

    python -m bench.calibrate [--studies 500]

Studies have the generated brains' noise: each trial switches as a whole, from ignoring to learning empty, where ε
passes a threshold; thresholds differ between seeds (``seeds``: a seed has one, at whatever ε; ``trials``: each trial
its own; ``both``: half the variance each), and subjects add noise to every score. The grid's phase is random. The
truth is the ε at which half of all seeds have switched. Exit code 1 if a figure leaves the bounds that stand above
its table by more than the simulation's own error, in designs whose grid is fine enough to tell: gaps no wider than
twice the thresholds' standard deviation, three seeds or more.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.results.ranking import best
from analysis.results.table_one import table_one
from analysis.results.transition_map import transition_map
from analysis.tables import CASE_COLUMNS, DONE, TRIAL_COLUMNS, Emptied, StudyTables

COVERED = (0.92, 0.98)
BIAS = 0.05
MARKED = 0.05
V_HAT = 200.0


@dataclass(frozen=True)
class Design:
    """A scan: points a decade, seeds, standard deviation of log10 thresholds, what has a threshold of its own."""

    per_decade: float
    seeds: int
    spread: float
    own: str

    @property
    def fine(self) -> bool:
        """Whether the grid can tell more than the bracket."""
        return 1 / self.per_decade <= 2 * self.spread and self.seeds > 2


DESIGNS = [
    *(Design(4, seeds, 0.3, own) for own in ("seeds", "trials", "both") for seeds in (3, 5, 10)),
    *(Design(2, seeds, 0.3, "seeds") for seeds in (2, 3, 5, 10)),
    *(Design(4, seeds, 0.15, "seeds") for seeds in (2, 3, 5)),
    *(Design(8, seeds, 0.15, "seeds") for seeds in (3, 5)),
    *(Design(1, seeds, 0.15, "seeds") for seeds in (1, 3, 5)),
]


def draw_study(
    settings: pd.DataFrame, seeds: int, learnt: np.ndarray, cases: int, rng: np.random.Generator
) -> StudyTables:
    """Draw the two tables of a study. settings: one row a cell; learnt: (cell, seed), whether it learnt empty.

    Cases of groups A and B, ``cases`` in all; a subject is harder or easier in every trial, the rest is noise.
    """
    cells, trials = len(settings), len(settings) * seeds
    table = settings.loc[settings.index.repeat(seeds)].reset_index(drop=True)
    table["cell"] = [f"{cell:012x}" for cell in np.repeat(np.arange(cells), seeds)]
    table["key"] = [f"{number:012x}" for number in range(trials)]
    table = table.assign(fold=0, seed=np.tile(np.arange(seeds), cells), state=DONE, reason="", loss="dice")
    half = cases // 2
    group = np.repeat(["A", "B"], [half, cases - half])
    true = rng.uniform(4, 9, cases)
    emptied = (group == "B")[None, :] & learnt.reshape(-1, 1)
    harder, noise = 0.03 * rng.standard_normal(cases), rng.standard_normal((2, trials, cases))
    kept = np.where(emptied, 0.06, 0.93 + harder) * (1 + 0.05 * noise[0])
    dsc = np.where(emptied, 0.11, np.where(learnt.reshape(-1, 1), 0.82, 0.9)) + harder + 0.03 * noise[1]
    names = np.array([f"{g}{number:03d}" for number, g in enumerate(group)])
    scored = pd.DataFrame(
        {
            "key": np.repeat(table["key"].to_numpy(), cases),
            "case": np.tile(names, trials),
            "subject": np.tile(names, trials),
            "group": np.tile(group, trials),
            "class": "tumor",
            "dsc": np.clip(dsc, 0, 1).ravel(),
            "dv_ml": (true * (kept - 1)).ravel(),
            "pred_ml": (true * kept).ravel(),
            "true_ml": np.tile(true, trials),
            "gt_empty": False,
            "emptied": np.repeat(table["labeling"].str.startswith("partial").to_numpy(), cases)
            & np.tile(group == "B", trials),
            "pred_empty": False,
        }
    )[list(CASE_COLUMNS)]
    others = [name for name in table.columns if name not in TRIAL_COLUMNS]
    names_of_settings = ("loss", "phi", "eps", "batch_size", "labeling", *others)
    return StudyTables(table, scored, Emptied("B", ("tumor",)), ("A", "B"), ("tumor",), names_of_settings)


def make_settings(eps: np.ndarray, **constant: object) -> pd.DataFrame:
    """One cell an ε [voxels], Φ = I, B = 2, partial labeling, unless said otherwise."""
    table = pd.DataFrame({"eps": [f"{value:.6g}" for value in eps], "eps_voxels": eps})
    return table.assign(**{"phi": "I", "v_hat": V_HAT, "batch_size": 2, "labeling": "partial", **constant})


def scan(design: Design, rng: np.random.Generator) -> tuple[StudyTables, float]:
    """Draw a study that scans ε, and the crossing of the population that its seeds come from [log10 voxels]."""
    grid = np.arange(-1.0, 4.0 + 1e-9, 1 / design.per_decade)
    truth = 1.5 + rng.uniform(-0.5, 0.5) / design.per_decade
    shape = (len(grid), design.seeds)
    of_seed = np.broadcast_to(rng.standard_normal(design.seeds), shape)
    of_trial = rng.standard_normal(shape)
    mixed = {"seeds": of_seed, "trials": of_trial, "both": (of_seed + of_trial) / np.sqrt(2)}[design.own]
    learnt = grid[:, None] > truth + design.spread * mixed
    return draw_study(make_settings(10**grid), design.seeds, learnt, 30, rng), truth


def calibrate(design: Design, studies: int, rng: np.random.Generator) -> dict[str, float]:
    """Coverage of the interval and of the bracket, bias [decades], median width, and how often there is no answer."""
    covered, bracketed, errors, widths = [], [], [], []
    for _ in range(studies):
        tables, truth = scan(design, rng)
        crossing = transition_map(tables, rng)["slices"][0]["crossing"]
        if crossing is None:
            continue
        low, high = (
            np.log10(crossing[end]) if crossing[end] else np.inf * sign for end, sign in (("low", -1), ("high", 1))
        )
        covered.append(low <= truth <= high)
        bracketed.append(np.log10(crossing["bracket"][0]) <= truth <= np.log10(crossing["bracket"][1]))
        errors.append(np.log10(crossing["eps"]) - truth)
        widths.append(high - low)
    return {
        "n": len(covered),
        "covered": float(np.mean(covered)),
        "bracketed": float(np.mean(bracketed)),
        "bias": float(np.mean(errors)),
        "width": float(np.median(widths)),
    }


def false_marks(studies: int, rng: np.random.Generator) -> tuple[float, float]:
    """Share of studies with any mark where nothing differs: in table 1, and in a ranking of five cells."""
    in_table, in_ranking = 0, 0
    for _ in range(studies):
        eps = np.array([0.1, 0.2, 0.3])
        settings = pd.concat([make_settings(eps), make_settings(eps, labeling="full")], ignore_index=True)
        tables = draw_study(settings, 2, np.zeros((len(settings), 2), dtype=bool), 20, rng)
        in_table += any(row["significant"] for row in table_one(tables, rng))
        tables = draw_study(make_settings(np.linspace(0.1, 0.5, 5)), 2, np.zeros((5, 2), dtype=bool), 20, rng)
        in_ranking += any(entry["differs_from_first"] for entry in best(tables, rng, goal="ignore"))
    return in_table / studies, in_ranking / studies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="studies a design")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    print(
        f"crossing, {given.studies} studies a design; bounds where the grid is fine (*): "
        f"{COVERED[0]:.0%} to {COVERED[1]:.0%} covered, bias under {BIAS} decades"
    )
    print("points/decade  seeds  spread  own       studies  covered  in bracket   bias  median width")
    kept = True
    for design in DESIGNS:
        found = calibrate(design, given.studies, rng)
        error = 2 * np.sqrt(found["covered"] * (1 - found["covered"]) / found["n"])
        within = COVERED[0] - error <= found["covered"] <= COVERED[1] + error and abs(found["bias"]) < BIAS
        kept &= within or not design.fine
        print(
            f"{design.per_decade:13g}  {design.seeds:5d}  {design.spread:6g}  {design.own:8s}  {found['n']:7g}  "
            f"{found['covered']:7.1%}  {found['bracketed']:10.1%}  {found['bias']:+5.3f}  {found['width']:12.2f}"
            f"{' *' if design.fine else ''}{'' if within or not design.fine else ' outside'}",
            flush=True,
        )
    table, ranking = false_marks(given.studies, rng)
    kept &= max(table, ranking) < MARKED
    print(f"\nany mark in a study where nothing differs, {given.studies} studies; bound {MARKED:.0%}")
    print(f"table 1, 6 comparisons  {table:.1%}\nbest, 4 comparisons     {ranking:.1%}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
