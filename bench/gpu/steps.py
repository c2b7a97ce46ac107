"""A step: the loss alone, the step in several forms, and whole training loops, against MONAI in the same run."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from bench.gpu.parts import Budget
from bench.gpu.record import Row
from bench.training import Setting, make_monai, make_ours, make_spec
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.losses import make_loss
from trainers.networks import NetworkSpec, build_network

EPS = 1e-7
PHIS = ("I", "BI", "CI", "BCI")
PROTOCOL_SHAPES = ((2, 1, 80, 80, 48), (8, 1, 80, 80, 48), (2, 4, 192, 192, 48))
SMALL_SHAPES = ((2, 2, 24, 24, 16),)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NETWORKS = {
    "tiny": ((24, 24, 16), 2),
    "no-new-net": ((80, 80, 48), 2),
    "acdc-net": ((192, 192, 48), 1),
}
"""Networks with the patch [voxels] and the channels that they train on."""
MEDIAN_OF = 5


def losses(budget: Budget) -> Iterator[Row]:
    """Forward and backward of Dice under each Φ against MONAI's DiceLoss on the same tensors [ms]."""
    monai = importlib.util.find_spec("monai") is not None
    for shape in SMALL_SHAPES if budget.quick else PROTOCOL_SHAPES:
        for precision, dtype in DTYPES.items():
            generator = torch.Generator().manual_seed(0)
            prediction = torch.rand(shape, generator=generator).to(budget.device, dtype)
            target = (torch.rand(shape, generator=generator) < 0.05).to(budget.device, dtype)
            for phi in PHIS:
                if budget.left < 2:
                    return
                makers: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
                    "ours": make_loss({"name": "dice", "phi": phi, "eps": EPS})
                }
                if monai:
                    from monai.losses import DiceLoss

                    makers["monai"] = DiceLoss(batch=phi in ("BI", "BCI"), smooth_nr=EPS, smooth_dr=EPS)
                taken = {
                    name: 1e3 * _time(partial(_step, loss, prediction, target), budget) for name, loss in makers.items()
                }
                yield {
                    "shape": "×".join(map(str, shape)),
                    "precision": precision,
                    "Φ": phi,
                    "ours [ms]": taken["ours"],
                    "MONAI [ms]": taken.get("monai"),
                    "MONAI / ours": taken["monai"] / taken["ours"] if monai else None,
                }


def _step(loss: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, target: Tensor) -> None:
    prediction = prediction.detach().requires_grad_()
    torch.autograd.grad(loss(prediction, target), prediction)


def modes(budget: Budget) -> Iterator[Row]:
    """One step (network, loss, optimiser) on a fixed batch in each form, patches per second and peak memory."""
    for name, (shape, channels) in NETWORKS.items():
        if budget.quick and name != "tiny":
            yield {"network": name, "not run": "--quick"}
            continue
        for batch in (2,) if budget.quick else (1, 2, 4, 8):
            for precision in ("fp32", "bf16"):
                for mode in ("plain", "channels-last", "captured", "compiled"):
                    if budget.left < 5:
                        return
                    reason = _cannot(mode, budget)
                    row: Row = {"network": name, "B": batch, "precision": precision, "form": mode}
                    if reason:
                        yield row | {"not run": reason}
                        continue
                    try:
                        seconds, memory = _step_in(mode, name, shape, channels, batch, precision, budget)
                    except torch.OutOfMemoryError as error:
                        yield row | {"not run": str(error).splitlines()[0]}
                    else:
                        yield row | {"patches/s": batch / seconds, "peak [MiB]": memory}


def _cannot(mode: str, budget: Budget) -> str:
    """Why a form of the step is not measured here; nothing where it is."""
    if mode == "captured" and budget.device != "cuda":
        return "CUDA graphs need a GPU"
    if mode == "compiled" and budget.quick:
        return "--quick"
    return ""


def _step_in(
    mode: str, name: str, shape: tuple[int, ...], channels: int, batch: int, precision: str, budget: Budget
) -> tuple[float, float | None]:
    """Seconds per step, and the peak of allocated memory on a GPU [MiB]."""
    device = torch.device(budget.device)
    torch.manual_seed(0)
    network: nn.Module = build_network(NetworkSpec(name=name), channels, 1, shape).to(device)
    images = torch.rand(batch, channels, *shape, device=device)
    target = (torch.rand(batch, 1, *shape, device=device) < 0.05).float()
    if mode == "channels-last":
        network = network.to(memory_format=torch.channels_last_3d)
        images = images.to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True, capturable=mode == "captured")
    loss = make_loss({"name": "dice", "phi": "I", "eps": EPS})
    if mode == "compiled":
        network.compile()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        loss(logits.float().sigmoid(), target).backward()
        optimizer.step()

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    run = _capture(step) if mode == "captured" else step
    seconds = _time(run, budget)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    return seconds, memory


def _capture(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph, after the warm-up on a side stream that torch's documentation asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _time(work: Callable[[], Any], budget: Budget) -> float:
    """Median seconds of one call, the device settled before and after; at most a twentieth of what is left."""
    calls, repeats = 1, 2 if budget.quick else MEDIAN_OF
    work()
    once = _seconds(work, 1, budget.device)
    allowed = max(budget.left / 20, 0.05)
    calls = max(1, min(50, int(allowed / repeats / max(once, 1e-6))))
    return statistics.median(_seconds(work, calls, budget.device) for _ in range(repeats))


def _seconds(work: Callable[[], Any], calls: int, device: str) -> float:
    _settle(device)
    started = time.perf_counter()
    for _ in range(calls):
        work()
    _settle(device)
    return (time.perf_counter() - started) / calls


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


LOOPS = (
    Setting("tiny", (8, 16, 32), (24, 24, 16), (3.4, 5.4), (1, 2, 4, 8)),
    Setting("no-new-net", (30, 60, 120, 240, 480), (80, 80, 48), (6.0, 10.0), (1, 2, 4, 8), cases=16),
    Setting("acdc-net", (16, 32, 64, 128, 256), (192, 192, 48), (10.0, 20.0), (1, 2, 4, 8), cases=8),
)


def loops(budget: Budget) -> Iterator[Row]:
    """Whole epochs with data and augmentation: the trial's own loop against MONAI's tutorial, in turns."""
    if importlib.util.find_spec("monai") is None:
        yield {"skipped": "MONAI is not installed, so there is no peer"}
        return
    for setting in LOOPS[:1] if budget.quick else LOOPS:
        with tempfile.TemporaryDirectory() as name:
            data = open_prepared(prepare(setting.data, Path(name)))
            for batch in (2,) if budget.quick else setting.batches:
                if budget.left < 10:
                    return
                epochs: dict[str, Callable[[], object]] = {}
                for precision in ("fp32", "bf16"):
                    _, epochs[precision] = make_ours(make_spec(setting, batch, precision), data, budget.device)
                _, epochs["monai"] = make_monai(setting, batch, data, budget.device)
                rates: dict[str, list[float]] = {kind: [] for kind in epochs}
                for block in range(3 if budget.quick else 4):
                    for kind, epoch in epochs.items():
                        seconds = _seconds(epoch, 1, budget.device)
                        if block:  # the first fills caches
                            rates[kind].append(setting.cases / seconds)
                found = {kind: statistics.median(column) for kind, column in rates.items()}
                yield {
                    "network": setting.network,
                    "patch": "×".join(map(str, setting.shape)),
                    "B": batch,
                    "ours fp32 [patches/s]": found["fp32"],
                    "ours bf16 [patches/s]": found["bf16"],
                    "MONAI fp32 [patches/s]": found["monai"],
                    "fp32 / MONAI": found["fp32"] / found["monai"],
                    "bf16 / MONAI": found["bf16"] / found["monai"],
                }
                if budget.device == "cuda":
                    yield {"network": setting.network, "B": batch} | _host_and_device(epochs["bf16"])


def _host_and_device(epoch: Callable[[], object]) -> Row:
    """Share of an epoch in which the GPU computes, and the calls in which the host waits for it."""
    seconds = _seconds(epoch, 1, "cuda")
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        epoch()
        torch.cuda.synchronize()
    events = profiler.key_averages()
    busy = sum(event.self_device_time_total for event in events) / 1e6 / seconds
    waits = {
        event.key: event.count
        for event in events
        if "Synchronize" in event.key or event.key in ("aten::item", "aten::_local_scalar_dense")
    }
    return {"GPU busy": busy, "host waits per epoch": ", ".join(f"{k} {n}" for k, n in waits.items()) or "none"}
