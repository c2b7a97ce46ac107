"""How near ``dicestudy plan`` comes: hours that it says before any training, against those that the launch takes.

    python -m bench.plan STUDY.yaml …

Each study is planned and then launched on this machine, on a storage of its own. Trials: from the first one's start
to the last one's end; launch: with the data, Ray, the records and the report, which plan leaves out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from study.commands.launch import launch
from study.config.load import load
from study.planning.forecast import forecast
from study.storage.folders import SPEC_FILE, Storage
from study.storage.locations import Places
from trainers.result import RESULT_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path)
    given = parser.parse_args()
    print("| study | trials | planned, s | between | planning, s | trials took, s | planned / took | launch, s |")
    print("|---|---|---|---|---|---|---|---|")
    for path in given.studies:
        with TemporaryDirectory(prefix="dicestudy-plan-") as name:
            compare(path, Path(name))


def compare(path: Path, folder: Path) -> None:
    """One row."""
    study, places = load(path), Places(f"sqlite:///{folder / 'mlflow.db'}", Storage(folder / "storage"))
    begun = time.monotonic()
    found = forecast(study, places)
    planning = time.monotonic() - begun
    begun = time.monotonic()
    ended = launch(study, places, quiet=True)
    launched = time.monotonic() - begun
    assert ended.done == ended.trials, ended
    trials = places.storage.root.glob("trials/*")
    times = [((each / SPEC_FILE).stat().st_mtime, (each / RESULT_FILE).stat().st_mtime) for each in trials]
    took = max(end for _, end in times) - min(start for start, _ in times)
    planned, low, high = (3600 * found[name] for name in ("hours", "hours_low", "hours_high"))
    print(
        f"| {study.name} | {ended.trials} | {planned:.0f} | {low:.0f} to {high:.0f} | {planning:.0f} | {took:.0f} "
        f"| {planned / took:.2f} | {launched:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
