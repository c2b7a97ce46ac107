"""Whether a GPU gives the same bits: the tests that ask for one, and trials run twice, killed and resumed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.gpu.parts import Budget
from bench.gpu.record import Row
from bench.training import CPU, make_spec
from trainers.checkpoint import load_weights
from trainers.data.prepared.read import PreparedData, open_prepared
from trainers.data.prepared.write import prepare
from trainers.spec import TrialSpec
from trainers.trial import EpochRecord, run_trial

Weights = dict[str, np.ndarray]
ROOT = Path(__file__).parents[2]


class StoppedError(Exception):
    """Ends a trial as a kill between two epochs would."""


def tests(budget: Budget) -> Iterator[Row]:
    """The tests with the marker ``gpu``."""
    if importlib.util.find_spec("pytest") is None or not (ROOT / "tests").is_dir():
        yield {"skipped": "pytest or the folder tests is not here"}
        return
    # Settings of their own: the project's name plugins, and its conftest packages, that a bare machine may lack.
    options = ["-q", "-c", "tests/gpu/pytest.ini", "--confcutdir", "tests/gpu", "-p", "no:cacheprovider", "tests/gpu"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=max(budget.left, 1),
    )
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", ended.stdout)}
    last = ended.stdout.strip().splitlines()[-1:]
    yield {name: counts.get(name, 0) for name in ("passed", "failed", "skipped")} | {"last line": " ".join(last)}
    if counts.get("failed") or counts.get("error"):
        raise SystemExit(ended.stdout[-3000:])


def determinism(budget: Budget) -> Iterator[Row]:
    """Whether a trial gives the same bits twice, and when it is killed after each epoch and resumed."""
    setting = CPU[0]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        data = open_prepared(prepare(setting.data, place))
        for precision in ("fp32", "bf16"):
            spec = make_spec(setting, 2, precision, epochs=3, validate_every=3)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                first = _weights(spec, data, place / f"first-{precision}", budget.device)
            again = _weights(spec, data, place / f"again-{precision}", budget.device)
            resumed = _weights(spec, data, place / f"killed-{precision}", budget.device, kill=True)
            yield {
                "precision": precision,
                "twice the same bits": _equal(first, again),
                "killed and resumed the same bits": _equal(first, resumed),
                "operations that warn": ", ".join(sorted({_operation(str(one.message)) for one in caught} - {""}))
                or "none",
            }


def _weights(spec: TrialSpec, data: PreparedData, folder: Path, device: str, kill: bool = False) -> Weights:
    def stop(record: EpochRecord) -> None:
        # A resumed trial reports its earlier epochs again: only the newest one stops it.
        if kill and record["epoch"] not in seen:
            seen.add(record["epoch"])
            raise StoppedError

    seen: set[int] = set()
    for _ in range(spec.protocol.epochs + 1):
        try:
            run_trial(spec, data, folder, stop, device)
            break
        except StoppedError:
            continue
    return {name: tensor.numpy() for name, tensor in load_weights(folder, spec.key).items()}


def _equal(first: Weights, other: Weights) -> bool:
    return first.keys() == other.keys() and all(np.array_equal(first[name], other[name]) for name in first)


def _operation(message: str) -> str:
    """The operation that a warning of torch's names as not deterministic, or nothing."""
    found = re.match(r"(\S+) does not have a deterministic implementation", message)
    return found[1] if found else ""
