"""How long the answers of a large study take, and how much memory: 10,000 trials with 30 cases each.

python -m bench.analysis [--trials 10000] [--cases 30]
"""

from __future__ import annotations

import argparse
import resource
import time
from itertools import product

import numpy as np
import pandas as pd

from analysis.outcomes import trial_scores
from analysis.report.html import render_report
from analysis.results.cells import cell_metrics
from analysis.results.score_matrix import study_scores
from analysis.results.table_one import table_one
from analysis.results.transition_map import transition_map
from bench.calibrate import draw_study, make_settings

SEEDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--cases", type=int, default=30)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    eps = 10 ** np.arange(-1.0, 4.0, 0.5)
    parts = [
        make_settings(eps, phi=phi, batch_size=batch_size, labeling=labeling, lr=lr)
        for lr in 1e-3 * np.arange(1, 1 + given.trials // (len(eps) * SEEDS * 20))
        for phi, batch_size, labeling in product(("I", "BI"), (1, 2, 4, 8, 16), ("full", "partial"))
    ]
    settings = pd.concat(parts, ignore_index=True)
    switched = np.log10(settings["eps_voxels"].to_numpy(dtype=float))[:, None] > 1.5 + 0.2 * rng.standard_normal(SEEDS)
    batchwise = (settings["phi"] == "BI") & (settings["batch_size"] > 1)
    learnt = (switched | batchwise.to_numpy()[:, None]) & (settings["labeling"] == "partial").to_numpy()[:, None]
    started = time.perf_counter()
    tables = draw_study(settings, SEEDS, learnt, given.cases, rng)
    print(f"{len(tables.trials)} trials, {len(tables.cases)} rows of cases, {len(settings)} cells")
    print(f"{'drawn and checked':24s}{time.perf_counter() - started:7.2f} s, not counted")
    spent = 0.0
    for name, call in (
        ("trial scores", lambda: trial_scores(tables)),
        ("matrices", lambda: study_scores(tables)),
        ("cells", lambda: cell_metrics(tables, rng)),
        ("table 1", lambda: table_one(tables, rng)),
        ("map", lambda: transition_map(tables, rng)),
        ("report, all of these", lambda: render_report(tables, {"name": "large"}, rng)),
    ):
        started = time.perf_counter()
        found = call()
        took = time.perf_counter() - started
        spent = took
        print(
            f"{name:24s}{took:7.2f} s" + (f", {len(found) / 1e6:.1f} MB" if isinstance(found, str) else ""), flush=True
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"map, table, cells and report: {spent:.1f} s, at most {peak:.2f} GiB")


if __name__ == "__main__":
    main()
