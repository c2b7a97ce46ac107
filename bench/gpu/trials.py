"""Whole trials: sharing a device, memory, what ``plan`` says beforehand, Ray's fractions, and real hearts."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from bench.gpu.parts import Budget
from bench.gpu.record import Row, print_row, usable_cores
from bench.training import CPU, GPU, make_spec, prepare_process
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.acdc import AcdcSpec
from trainers.memory import release
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec
from trainers.step_timing import try_out
from trainers.trial import run_trial

STUDY = """\
name: fractions
data: {source: phantom, train: 8, test: 4}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 2}
search: {space: {loss: dice, phi: [I, BI], eps: [1.0e-7, v_hat], batch_size: 2, labeling: [full, partial]}}
"""


def sharing(budget: Budget) -> Iterator[Row]:
    """Trials per hour of 1, 2, 4 and 8 processes at once on one device."""
    counts = [count for count in (1, 2, 4, 8) if budget.device == "cuda" or count <= usable_cores()]
    alone, context = 0.0, multiprocessing.get_context("spawn")
    for index, count in enumerate(counts):
        seconds = 3.0 if budget.quick else budget.left / (len(counts) - index) * 0.5
        barrier, answers = context.Barrier(count), context.SimpleQueue()
        crowd = [
            context.Process(target=_train_until, args=(budget.device, seconds, barrier, answers)) for _ in range(count)
        ]
        for process in crowd:
            process.start()
        together = sum(answers.get() for _ in crowd)
        for process in crowd:
            process.join()
        alone = alone or together
        yield {"processes": count, "trials/h": together, "times one": together / alone}
    yield {"fused in one process": "not built"}


def _train_until(device: str, seconds: float, barrier: Any, answers: Any) -> None:
    """Run short trials one after the other; each counts by the share of it that lay within the time."""
    prepare_process()
    with tempfile.TemporaryDirectory() as name:
        data = open_prepared(prepare(CPU[0].data, Path(name)))
        spec = make_spec(CPU[0], 2, "fp32", epochs=4, validate_every=4)
        run_trial(spec, data, Path(name) / "warm", device=device)
        barrier.wait()
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            done += 1
            run_trial(spec.model_copy(update={"seed": done}), data, Path(name) / str(done), device=device)
        answers.put(3600 * done / (time.perf_counter() - started))
        barrier.wait()  # nobody leaves while another still measures


def memory(budget: Budget) -> Iterator[Row]:
    """What ``plan`` expects of memory against what a trial takes; given back; too little of it, then enough."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for setting in CPU[:1] if budget.device == "cpu" else (CPU[0], GPU[0]):
            folder = prepare(setting.data, place)
            data = open_prepared(folder)
            for batch in (2,) if budget.quick else (2, 8):
                if budget.left < 10:
                    return
                spec = make_spec(setting, batch, "fp32", epochs=2, validate_every=1)
                expected = try_out(spec, folder, place, budget.device, 1.0).memory_mib
                result = run_trial(spec, data, place / f"{setting.network}-{batch}", device=budget.device)
                yield {
                    "network": setting.network,
                    "B": batch,
                    "plan [MiB]": expected,
                    "trial [MiB]": result.memory_mib,
                    "plan / trial": expected / result.memory_mib,
                }
        release(torch.device(budget.device))
        if budget.device == "cuda":
            yield {"reserved after the trials [MiB]": torch.cuda.memory_reserved() / 2**20}
        context = multiprocessing.get_context("spawn")
        for room in ("too little", "enough"):
            answers = context.SimpleQueue()
            process = context.Process(target=_run_in_room, args=(budget.device, room, name, answers))
            process.start()
            process.join(max(budget.left, 1))
            state, reason = answers.get() if not answers.empty() else ("no answer", f"exit code {process.exitcode}")
            yield {"memory": room, "state": state, "reason": reason or "–"}


def _run_in_room(device: str, room: str, place: str, answers: Any) -> None:
    """A trial with next to no memory, as beside a crowd, or with all of it, as alone."""
    prepare_process()
    setting = CPU[1]
    spec = make_spec(setting, 4, "fp32", epochs=1, validate_every=1)
    data = open_prepared(prepare(setting.data, Path(place)))
    if room == "too little":
        if device == "cuda":
            torch.cuda.set_per_process_memory_fraction(0.0005)
        else:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            # Enough for what Python and torch make at first, and less than the activations of one batch.
            limit = pages * resource.getpagesize() + 160 * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    result = run_trial(spec, data, Path(place) / f"room-{room.split()[-1]}", device=device)
    answers.put((f"{result.state}, {result.ending}", result.reason))


def plan(budget: Budget) -> Iterator[Row]:
    """The seconds of a trial as ``plan`` reckons them from a few steps, against the trial itself."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for setting in CPU[:1] if budget.device == "cpu" else (CPU[0], GPU[0]):
            if budget.left < 20 and setting is not CPU[0]:
                return
            folder = prepare(setting.data, place)
            data = open_prepared(folder)
            epochs = 10 if budget.quick or setting is not CPU[0] else 60
            spec = make_spec(setting, 2, "fp32", epochs=epochs, validate_every=epochs)
            cost = try_out(spec, folder, place, budget.device, 1.0 if budget.quick else 3.0)
            steps, held_out = epochs * (setting.cases // 2), setting.data.test
            expected = (
                cost.start
                + steps * cost.step
                + held_out * (cost.validation + cost.scoring)
                + epochs * cost.checkpoint
                + 2 * cost.example
            )
            started = time.perf_counter()
            run_trial(spec, data, place / f"trial-{setting.network}", device=budget.device)
            took = time.perf_counter() - started
            yield {
                "network": setting.network,
                "steps": steps,
                "plan [s]": expected,
                "took [s]": took,
                "plan / took": expected / took,
            }


def ray_fractions(budget: Budget) -> Iterator[Row]:
    """A small study through the command line: eight trials on Ray, a quarter of a GPU each."""
    if missing := [name for name in ("ray", "mlflow", "optuna", "click") if importlib.util.find_spec(name) is None]:
        yield {"skipped": f"not installed: {', '.join(missing)}"}
        return
    gpus = 0.25 if budget.device == "cuda" else 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "study.yaml").write_text(STUDY + f"resources: {{cpus: 1, gpus: {gpus}}}\n")
        places = ["--store", f"sqlite:///{place}/mlflow.db", "--storage", str(place / "storage")]
        command = [sys.executable, "-m", "study.cli"]
        started = time.perf_counter()
        launch = [*command, "launch", str(place / "study.yaml"), *places]
        try:
            ended = subprocess.run(launch, capture_output=True, text=True, check=False, timeout=max(budget.left, 1))
        except subprocess.TimeoutExpired as error:
            yield {"skipped": f"the study had not ended after {error.timeout:.0f} s"}
            return
        took = time.perf_counter() - started
        if ended.returncode:
            raise SystemExit(ended.stderr[-2000:])
        asked = [*command, "status", "fractions", "--storage", str(place / "storage"), "--json"]
        status = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
        trials = (status[0] if isinstance(status, list) else status)["trials"]
        devices = sorted(
            {json.loads(path.read_text())["device"] for path in (place / "storage" / "trials").glob("*/result.json")}
        )
        yield {"gpus per trial": gpus, "done": trials["done"], "devices": ", ".join(devices), "seconds": took}


def acdc(budget: Budget) -> Iterator[Row]:
    """Real hearts at the paper's grid for as many epochs as fit: DSC over time."""
    root = budget.acdc
    if root is None or not root.is_dir():
        yield {"skipped": "no data: name the challenge's training folder with --acdc"}
        return
    coarse = {"spacing": (4.0, 4.0, 10.0), "patch": (64, 64, 16), "patients": 4} if budget.quick else {}
    data_spec = AcdcSpec(source="acdc", root=root, **coarse)
    network, epochs = ("tiny", 2) if budget.quick else ("acdc-net", 1000)
    spec = TrialSpec(
        data=data_spec,
        data_key=data_spec.key(),
        empty=EmptySpec(group="ES", classes=("MYO",)),
        labeling=Regime(name="full"),
        loss=LossSpec(name="dice", phi="I", eps=1e-7),
        batch_size=2,
        protocol=ProtocolSpec(network=network, epochs=epochs, lr=1e-3, precision="bf16", augment="acdc"),
        folds=4,
    )
    with tempfile.TemporaryDirectory() as name:
        data = open_prepared(prepare(data_spec, Path(name)))
        yield {
            "cases": len(data.cases),
            "grid": "×".join(map(str, data.patch)),
            "prepared after [s]": budget.seconds - budget.left,
        }
        started = time.perf_counter()
        rows: list[Row] = []

        def tell(record: dict[str, Any]) -> None:
            figures = {key: value for key, value in record["metrics"].items() if key.startswith("val.dsc.")}
            rows.append({"epoch": record["epoch"], "seconds": time.perf_counter() - started} | figures)
            print_row(rows[-1])
            if budget.left < 15:
                raise TimeoutError

        with suppress(TimeoutError):
            run_trial(spec, data, Path(name) / "trial", tell, budget.device)
        yield {"epochs": len(rows), "seconds per epoch": (rows[-1]["seconds"] / len(rows)) if rows else None}
