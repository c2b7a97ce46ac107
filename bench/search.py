"""How many trials it takes to place a crossing: the transition's placement against grids, TPE and a Gaussian process.

    python -m bench.search [--studies 200] [--workers 1 4 16] [--only transition grid tpe gp]

Simulated studies of one slice: the crossing is drawn evenly over 12 decades of ε; each trial switches at a place of
its own, normal about the crossing with a standard deviation of 0.15 to 0.3 decades, from a retention of 0.9 to 0.12,
within 0.2 to 0.5 decades (from 90 to 10 %), with noise of 0.04; above ten times the crossing, for two decades, one
trial in ten collapses.

A slice is placed once the 95 % interval is within ±0.25 decades. All placements are judged by the same interval, that
of ``analysis.transition.posterior``, with an even prior, so that they differ in nothing but where they put trials:
TPE (Optuna) minimises |retention − ½|; the Gaussian process (scikit-learn: a Matérn kernel and noise, refitted for
each trial) takes the place with the largest "straddle" 1.96 σ − |m − ½| (Bryan et al., 2005). ``gp_alone`` is the
same judged by what the package itself says: from the first to the last ε at which ½ lies within 1.96 σ of the mean. W
workers train side by side, each trial for 0.8 to 1.2 times as long as the mean one, and whoever is done tells and
asks again; trials that still run when the slice is placed count as well. A grid is run whole; the cheapest is looked
for whose interval is narrow enough in 90 % of the studies.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.transition.posterior import LOST, Posterior, chance_to_place, choose, code_of
from study.search.transition_sampler import MIN_CHANCE_TO_PLACE

DECADES = (-6.0, 6.0)
WIDTH = 0.5
MOST = 80
ENOUGH = 0.9
"""Share of the studies in which a grid must be narrow enough."""
FEWEST = 30
"""Trials of the smallest grid that is tried."""


@dataclass
class Slice:
    """A slice to be found."""

    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.crossing = self.rng.uniform(*DECADES)
        self.spread = self.rng.uniform(0.15, 0.3)

    def train(self, x: float) -> float:
        """Retention of one trial with a seed of its own; NaN where it collapsed."""
        if 1 <= x - self.crossing <= 3 and self.rng.random() < 0.1:
            return float("nan")
        place = self.rng.normal(self.crossing, self.spread)
        scale = self.rng.uniform(0.2, 0.5) / (2 * np.log10(9.0))
        kept = 0.12 + 0.78 / (1 + 10 ** np.clip((x - place) / scale, -300, 300))
        return float(np.clip(kept + self.rng.normal(0, 0.04), 0, 1))


Ask = Callable[[list[float]], float | None]
"""The next place, given those whose trials still run, in the order in which they were asked for; None for not now."""
Tell = Callable[[float, float], None]
"""A place asked for before, and its retention."""
Band = Callable[[], tuple[float, float]]
"""What a method itself says of the crossing."""


def transition(low: float, high: float, _: int) -> tuple[Ask, Tell, Band | None]:
    """Our own."""
    posterior = Posterior(low, high)

    def ask(pending: list[float]) -> float | None:
        if pending and chance_to_place(posterior, pending, WIDTH) >= MIN_CHANCE_TO_PLACE:
            return None
        return choose(posterior, pending)[0]

    return ask, (lambda x, y: posterior.see(x, code_of(y))), None


def tpe(low: float, high: float, seed: int) -> tuple[Ask, Tell, Band | None]:
    """Optuna's TPE on |retention − ½|; running trials are supposed to be bad, as in a search of ours."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True))
    space = {"x": optuna.distributions.FloatDistribution(low, high)}
    asked: dict[float, optuna.Trial] = {}

    def ask(_: list[float]) -> float:
        trial = study.ask(space)
        asked[trial.params["x"]] = trial
        return float(trial.params["x"])

    def tell(x: float, y: float) -> None:
        if np.isnan(y):
            study.tell(asked.pop(x), state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(asked.pop(x), abs(y - 0.5))

    return ask, tell, None


def gp(low: float, high: float, seed: int) -> tuple[Ask, Tell, Band | None]:
    """scikit-learn's Gaussian process with the straddle heuristic; pending trials are believed at their mean."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    warnings.simplefilter("ignore", ConvergenceWarning)
    grid = np.linspace(low, high, 241)
    seen: list[tuple[float, float]] = []
    start = np.random.default_rng(seed).permutation(np.linspace(low, high, 5)).tolist()
    kernel = ConstantKernel(0.15, (0.01, 1)) * Matern(2.0, (0.1, 12), nu=1.5) + WhiteKernel(0.01, (1e-3, 0.2))

    def fit(known: list[tuple[float, float]], fixed: Any = None) -> Any:
        # The kernel is fitted to what was seen; for what is only believed it stays.
        model = GaussianProcessRegressor(fixed or kernel, optimizer=None if fixed else "fmin_l_bfgs_b")
        return model.fit([[x] for x, _ in known], [y - 0.5 for _, y in known])

    def ask(pending: list[float]) -> float:
        if start:
            return float(start.pop())
        if not seen:
            return float(np.random.default_rng([seed, len(pending)]).uniform(low, high))
        model = fit(seen)
        for x in pending:
            believed = [*seen, (x, 0.5 + float(model.predict([[x]])[0]))]
            model = fit(believed, model.kernel_)
        mean, deviation = model.predict(grid[:, None], return_std=True)
        return float(grid[np.argmax(1.96 * deviation - np.abs(mean))])

    def tell(x: float, y: float) -> None:
        if not np.isnan(y):
            seen.append((x, y))

    def band() -> tuple[float, float]:
        if len(seen) < 2:
            return low, high
        model = fit(seen)
        mean, deviation = model.predict(grid[:, None], return_std=True)
        # The crossing of the mean curve over seeds: the noise of single trials is not in its band.
        latent = np.sqrt(np.maximum(deviation**2 - model.kernel_.k2.noise_level, 0))
        doubtful = grid[np.abs(mean) <= 1.96 * latent]
        return (float(doubtful[0]), float(doubtful[-1])) if len(doubtful) else (low, high)

    return ask, tell, band


METHODS = {"transition": transition, "tpe": tpe, "gp": gp, "gp_alone": gp}


def one_study(method: str, workers: int, seed: int) -> dict[str, float]:
    """Trials until the interval is narrow enough, whether it holds the truth then, and when that is."""
    found = Slice(np.random.default_rng([seed, 1]))
    clock = np.random.default_rng([seed, 2])
    ask, tell, band = METHODS[method](*DECADES, seed)
    judge = Posterior(*DECADES)
    # By the time at which each will be over; dictionaries keep the order in which they were asked for.
    running: dict[float, float] = {}
    trials, now = 0, 0.0
    while trials < MOST or running:
        while trials < MOST and len(running) < workers and (place := ask(list(running.values()))) is not None:
            running[now + clock.uniform(0.8, 1.2)] = place
            trials += 1
        now = min(running)
        x = running.pop(now)
        y = found.train(x)
        tell(x, y)
        judge.see(x, code_of(y))
        if method == "gp_alone":
            low, high = band()  # type: ignore[misc]
            if high - low <= WIDTH:
                near = abs((low + high) / 2 - found.crossing) <= WIDTH / 2
                return {
                    "trials": trials,
                    "holds": float(low <= found.crossing <= high),
                    "near": float(near),
                    "time": now,
                }
        elif judge.locate().width <= WIDTH:
            break
    return _judged(judge, found, trials) | {"time": now} | ({"trials": float("inf")} if method == "gp_alone" else {})


def _judged(judge: Posterior, found: Slice, trials: int) -> dict[str, float]:
    at = judge.locate()
    return {
        "trials": trials if at.width <= WIDTH else float("inf"),
        "holds": float(at.low <= found.crossing <= at.high),
        "near": float(abs(at.crossing - found.crossing) <= WIDTH / 2),
    }


def grids(studies: int) -> Iterator[dict[str, object]]:
    """Grids of all spacings with several seeds, cheapest first, until one is narrow enough."""
    steps = (1.0, 0.75, 0.5, 0.4, 0.3, 0.25, 0.2)
    for size, step, seeds in sorted(((round(12 / step) + 1) * n, step, n) for step in steps for n in range(1, 6)):
        if size < FEWEST:
            continue
        places = np.repeat(np.linspace(*DECADES, round(12 / step) + 1), seeds)
        judge = Posterior(*DECADES)
        told = np.log(judge.chances(places))
        prior = np.log(judge.weights)
        results = []
        for seed in range(studies):
            found = Slice(np.random.default_rng([seed, 1]))
            codes = [code_of(found.train(float(x))) for x in places]
            logs = prior + sum(told[number, code] for number, code in enumerate(codes) if code != LOST)
            judge.weights = np.exp(logs - logs.max())
            judge.weights /= judge.weights.sum()
            results.append(_judged(judge, found, size))
        enough = float(np.mean([np.isfinite(each["trials"]) for each in results]))
        yield {
            "method": "grid", "step": step, "seeds": seeds, "trials": size, "narrow": enough,
            "holds": _mean(results, "holds"), "near": _mean(results, "near"),
        }  # fmt: skip
        if enough >= ENOUGH:
            return


def _mean(results: list[dict[str, float]], name: str) -> float:
    return float(np.mean([each[name] for each in results]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--only", nargs="+", default=[*METHODS, "grid"])
    given = parser.parse_args()
    for method in given.only:
        if method == "grid":
            for entry in grids(given.studies):
                print(json.dumps(entry), flush=True)
            continue
        for workers in given.workers:
            results = [one_study(method, workers, seed) for seed in range(given.studies)]
            trials = np.array([each["trials"] for each in results])
            summary = {
                "method": method, "workers": workers, "median": float(np.median(trials)),
                "mean, at most": float(np.minimum(trials, MOST).mean()),
                "nine of ten within": float(np.quantile(trials, 0.9, method="higher")),
                "holds": _mean(results, "holds"), "near": _mean(results, "near"), "time": _mean(results, "time"),
            }  # fmt: skip
            print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
