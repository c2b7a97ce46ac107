"""Searches replayed on trials that have run: the regret of TPE and NSGA-II, and the transition on real curves.

    python -m bench.recorded STORAGE STUDY... [--repeats 20] [--trials 30]

Each search asks for a setting (or for ε), and is told what the nearest recorded trial did, by log10 ε within the same
batch size; a random seed of those there are. Nothing is trained. Regret: the best mean value of any recorded setting
minus that of the best setting that the search has come to.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import optuna
import pandas as pd

from analysis.outcomes import trial_scores
from analysis.transition.posterior import Posterior, choose, code_of
from study.storage.folders import Storage
from study.storage.tables import build_tables, stored_members

LOST = ("collapsed", "diverged", "failed", "unscored")


def read(storage: Path, studies: list[str]) -> pd.DataFrame:
    """The recorded trials under partial labeling with Φ = I, a row each."""
    members = [member for name in studies for member in stored_members(name, Storage(storage))[0]]
    members = list({spec.key: (spec, result) for spec, result in members}.values())
    scores = trial_scores(build_tables(members, Storage(storage)))
    scores = scores[(scores["labeling"] == "partial") & (scores["phi"] == "I") & scores["eps_voxels"].notna()].copy()
    scores["x"] = np.log10(scores["eps_voxels"].astype(float))
    scores["value"] = np.where(
        scores["outcome"].isin(LOST), 0.0, scores[["dsc_emptied", "dsc_labelled"]].min(axis=1).fillna(0.0)
    )
    return scores


def transition(scores: pd.DataFrame, repeats: int) -> None:
    """Each slice (batch size): trials until the interval is within ±0.25 decades, against all recorded trials."""
    for batch_size, part in scores.groupby("batch_size"):
        places = np.sort(part["x"].round(3).unique())
        whole = Posterior(places[0], places[-1])
        for x, kept, outcome in zip(part["x"], part["retention"], part["outcome"], strict=True):
            whole.see(x, code_of(kept, lost=outcome in LOST))
        counts, inside = [], []
        for repeat in range(repeats):
            rng = np.random.default_rng([repeat, int(batch_size)])
            posterior = Posterior(places[0], places[-1])
            trials = 0
            while posterior.locate().width > 0.5 and trials < 60:
                asked = choose(posterior)[0]
                near = places[np.argmin(np.abs(places - asked))]
                row = part[part["x"].round(3) == near].sample(1, random_state=rng).iloc[0]
                posterior.see(row["x"], code_of(row["retention"], lost=row["outcome"] in LOST))
                trials += 1
            at = posterior.locate()
            counts.append(trials)
            inside.append(abs(at.crossing - whole.locate().crossing) <= 0.25)
        told = whole.locate()
        print(json.dumps({
            "slice": f"B={batch_size}", "recorded": len(part), "eps": len(places),
            "crossing of all": round(10**told.crossing, 2), "low": round(10**told.low, 2),
            "high": round(10**told.high, 2), "trials, median": float(np.median(counts)), "most": max(counts),
            "within 0.25 decades": float(np.mean(inside)),
        }), flush=True)  # fmt: skip


def regret(scores: pd.DataFrame, repeats: int, trials: int) -> None:
    """Median regret of each sampler on ε and batch size, after so many trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    scores = scores.assign(x3=scores["x"].round(3))
    means = scores.groupby(["batch_size", "x3"])["value"].mean()
    low, high = float(scores["x"].min()), float(scores["x"].max())
    sizes = [int(size) for size in scores["batch_size"].unique()]
    for name in ("random", "tpe", "nsga2"):
        regrets = []
        for repeat in range(repeats):
            rng = np.random.default_rng(repeat)
            sampler = {
                "random": optuna.samplers.RandomSampler(seed=repeat),
                "tpe": optuna.samplers.TPESampler(seed=repeat),
                "nsga2": optuna.samplers.NSGAIISampler(seed=repeat, population_size=10),
            }[name]
            several = name == "nsga2"
            search = optuna.create_study(sampler=sampler, directions=["maximize"] * (2 if several else 1))
            best, seen = -math.inf, -math.inf
            for _ in range(trials):
                trial = search.ask()
                size = trial.suggest_categorical("batch_size", sizes)
                x = trial.suggest_float("x", low, high)
                there = means[size].index.to_numpy()
                near = there[np.argmin(np.abs(there - x))]
                part = scores[(scores["batch_size"] == size) & (scores["x3"] == near)]
                row = part.sample(1, random_state=rng).iloc[0]
                value = float(row["value"])
                told = [float(np.nan_to_num(row["dsc_emptied"])), float(np.nan_to_num(row["dsc_labelled"]))]
                search.tell(trial, told if several else value)
                if value > seen:  # what the search itself would recommend
                    seen, best = value, float(means[size][near])
            regrets.append(float(means.max()) - best)
        quartiles = np.quantile(regrets, [0.25, 0.5, 0.75]).round(4).tolist()
        print(json.dumps({"search": name, "trials": trials, "regret, quartiles": quartiles}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", type=Path)
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--trials", type=int, default=30)
    given = parser.parse_args()
    scores = read(given.storage, given.studies)
    transition(scores, given.repeats)
    regret(scores, given.repeats, given.trials)


if __name__ == "__main__":
    main()
