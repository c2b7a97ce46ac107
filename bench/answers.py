"""How long a question about a study of 10,000 trials takes, against MLflow's own way to ask it.

python -m bench.answers [--trials 10000] [--sqlite-only]

``best`` and ``map`` are asked of the store and the storage as a launch leaves them, and once more after one trial has
ended. The peer is ``mlflow.search_runs`` into a DataFrame, grouped by cell, which gives means without intervals.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow

from bench.large_store import STUDY_NAME, end_one, fill
from study.commands.answers import best, transition_map
from study.storage.folders import Storage
from study.storage.locations import Places
from tests.services import postgres

ASKED = 5
"""Times that a question is asked; the median counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--sqlite-only", action="store_true")
    given = parser.parse_args()
    print("| store | trials | question | s | search_runs takes |\n|---|---|---|---|---|")
    for kind, store in (("SQLite", _sqlite), ("PostgreSQL", _postgres)):
        if kind == "SQLite" or not given.sqlite_only:
            with TemporaryDirectory(prefix="dicestudy-bench-") as name, store(Path(name)) as uri:
                measure(kind, Places(uri, Storage(Path(name) / "storage")), given.trials)


def measure(kind: str, places: Places, trials: int) -> None:
    """One store's rows."""
    waiting = fill(places, trials)
    peer = _median(lambda: _ask_mlflow(places), 1)

    def row(question: str, seconds: float) -> None:
        print(f"| {kind} | {trials} | {question} | {seconds:.2f} | {peer / seconds:.1f} times as long |", flush=True)

    row("mlflow.search_runs and groupby", peer)
    row("best, for the first time ever", _median(lambda: best(STUDY_NAME, places=places), 1))
    row("best, again", _median(lambda: best(STUDY_NAME, places=places)))
    row("best --where, other goal", _median(lambda: best(STUDY_NAME, "empty", where="eps>1", top=20, places=places)))
    row("map, for the first time", _median(lambda: transition_map(STUDY_NAME, places), 1))
    row("map, again", _median(lambda: transition_map(STUDY_NAME, places)))

    def after_an_ending() -> None:
        end_one(places, waiting.pop())
        best(STUDY_NAME, places=places)

    row("best, after another trial ended", _median(after_an_ending))


def _ask_mlflow(places: Places) -> None:
    mlflow.set_tracking_uri(places.store)
    runs = mlflow.search_runs(
        experiment_names=[STUDY_NAME], filter_string="tags.`dicestudy.kind` = 'trial'", max_results=50_000
    )
    means = runs.groupby("tags.dicestudy.cell")[["metrics.final.dsc.A.tumor", "metrics.final.dsc.B.tumor"]].mean()
    means.sort_values("metrics.final.dsc.B.tumor").tail(5)


def _median(ask: Callable[[], object], times: int = ASKED) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        took.append(time.perf_counter() - begun)
    return sorted(took)[len(took) // 2]


@contextmanager
def _sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'mlflow.db'}"


@contextmanager
def _postgres(_: Path) -> Iterator[str]:
    with postgres() as server:
        yield server.new_database("large")


if __name__ == "__main__":
    main()
