"""Training steps: ours against a plain MONAI loop on the same volumes, in one run; memory; where the time goes.

    python -m bench.training [--quick] [--device cpu|cuda] [--compile]

Ours is the trial's own code, an epoch at a time without its validation. The peer is what MONAI's documentation
shows: ``CacheDataset``, its loader without workers, ``RandAffined`` and friends, a ``DynUNet`` of the same features
(MONAI's nearest to ours in form and parameters), its ``DiceLoss``, Adam, fp32. Both change every case by flips, an
affine map, brightness and noise of the same spread, on one thread. They take turns block by block; a figure is the
median over blocks, and a ratio the median over pairs of neighbours (above 1: ours is faster). ``same net``: ours
training that very ``DynUNet``. Memory: the most of a whole trial. On a GPU, ``no-new-net``; see docs/gpu.md.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from trainers import training as training_module
from trainers.checkpoint import Progress
from trainers.data.prepared.read import PreparedData, open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.forward import Runtime, use_device
from trainers.memory import MMAP_MAX, TRIM_THRESHOLD, keep_freed, release
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec
from trainers.training import Training
from trainers.trial import run_trial

ROTATE, SCALE, SHIFT, NOISE = math.pi / 12, 0.05, (2.0, 2.0, 1.0), 0.1
AUGMENT = {
    "flip": "all",
    "rotate": ROTATE,
    "scale": SCALE,
    "translate": SHIFT,
    "intensity_scale": SCALE,
    "intensity_shift": SCALE,
    "noise": NOISE,
}
FOREVER = 10**6  # epochs, so that no validation is ever due
LR = 1e-3
Epoch = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """One network on patches of one shape; radius: of the phantoms' tumours [voxels]."""

    network: str
    features: tuple[int, ...]
    shape: tuple[int, int, int]
    radius: tuple[float, float]
    batches: tuple[int, ...]
    cases: int = 8

    @property
    def data(self) -> PhantomSpec:
        """What is prepared once and read by both."""
        return PhantomSpec(shape=self.shape, train=self.cases, test=2, radius=self.radius)

    @property
    def dyn_unet(self) -> dict[str, Any]:
        """Arguments of MONAI's DynUNet with these features, pooling every axis."""
        levels = len(self.features)
        return {
            "kernel_size": [3] * levels,
            "strides": [1] + [2] * (levels - 1),
            "upsample_kernel_size": [2] * (levels - 1),
            "filters": list(self.features),
        }

    def __str__(self) -> str:
        return f"{'/'.join(map(str, self.features))} at {'×'.join(map(str, self.shape))}"


CPU = (
    Setting("tiny", (8, 16, 32), (24, 24, 16), (3.4, 5.4), (1, 2, 4)),
    Setting("tiny", (16, 32, 64), (64, 64, 32), (6.0, 10.0), (1, 2, 4), cases=4),
)
GPU = (Setting("no-new-net", (30, 60, 120, 240, 480), (80, 80, 48), (6.0, 10.0), (1, 2, 4, 8), cases=32),)


def make_spec(setting: Setting, batch: int, precision: str, *, dyn: bool = False, **protocol: Any) -> TrialSpec:
    network = (
        {"name": "DynUNet", **setting.dyn_unet} if dyn else {"name": setting.network, "features": setting.features}
    )
    ends = {"epochs": FOREVER, "validate_every": FOREVER} | protocol
    return TrialSpec(
        data=setting.data,
        data_key=setting.data.key(),
        empty=EmptySpec(group="B", classes=("tumor",)),
        labeling=Regime(name="partial"),
        loss=LossSpec(name="dice", phi="I", eps=1e-5),
        batch_size=batch,
        protocol=ProtocolSpec(network=network, lr=LR, precision=precision, augment=AUGMENT, **ends),
    )


def make_ours(spec: TrialSpec, data: PreparedData, device: str) -> tuple[Training, Epoch]:
    training, progress = Training(spec, data, use_device(device)), Progress()
    return training, lambda: training.run_epoch(progress)


def make_monai(setting: Setting, batch: int, data: PreparedData, device: str) -> tuple[nn.Module, Epoch]:
    """The loop of MONAI's tutorials; ``half`` makes a uniform number's range of a standard deviation."""
    from monai import transforms
    from monai.data import CacheDataset, DataLoader
    from monai.losses import DiceLoss
    from monai.networks.nets import DynUNet

    keys, half = ["image", "label"], math.sqrt(3)
    change = transforms.Compose(
        [
            transforms.EnsureTyped(keys, dtype=torch.float32),
            *(transforms.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
            transforms.RandAffined(
                keys,
                prob=1.0,
                rotate_range=(0, 0, half * ROTATE),
                scale_range=(half * SCALE,) * 3,
                translate_range=tuple(half * side for side in SHIFT),
                mode=("bilinear", "nearest"),
                padding_mode=("border", "zeros"),
            ),
            transforms.RandScaleIntensityd("image", factors=half * SCALE, prob=1.0),
            transforms.RandShiftIntensityd("image", offsets=half * SCALE, prob=1.0),
            transforms.RandGaussianNoised("image", prob=1.0, std=NOISE, sample_std=False),
        ]
    )
    items = [
        {"image": np.array(data.images[case]), "label": np.array(data.labels[case])} for case in range(setting.cases)
    ]
    loader = DataLoader(CacheDataset(items, change, progress=False), batch_size=batch, shuffle=True, num_workers=0)
    network = DynUNet(3, data.channels, len(data.classes), **setting.dyn_unet).to(device)
    optimizer, loss_function = torch.optim.Adam(network.parameters(), LR), DiceLoss(sigmoid=True)

    def epoch() -> float:
        network.train()
        total = 0.0
        for found in loader:
            images, labels = found["image"].to(device), found["label"].to(device)
            optimizer.zero_grad()
            loss = loss_function(network(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return network, epoch


def take_turns(epochs: dict[str, Epoch], blocks: int, cases: int) -> dict[str, list[float]]:
    """Patches a second of each block. The peer runs with the allocator as the system has it, as it would."""
    found: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(blocks + 1):
        for name, epoch in epochs.items():
            settle = default_allocator if name == "monai" else keep_freed
            settle()
            epoch()  # fills caches, and the memory that ours keeps
            started = time.perf_counter()
            epoch()
            if number:
                found[name].append(cases / (time.perf_counter() - started))
    return found


def default_allocator() -> None:
    """Undo ``keep_freed``, for a peer in the same process: glibc's own numbers."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(MMAP_MAX, 65536)
        mallopt(TRIM_THRESHOLD, 128 * 1024)
    release(torch.device("cpu"))


def compare(
    setting: Setting, batch: int, data: PreparedData, device: str, blocks: int, *, header: bool
) -> dict[str, Training]:
    makers = {"fp32": ("fp32", False), "bf16": ("bf16", False), "same net": ("fp32", True)}
    trainings, epochs = {}, {}
    for name, (precision, dyn) in makers.items():
        trainings[name], epochs[name] = make_ours(make_spec(setting, batch, precision, dyn=dyn), data, device)
    peer, epochs["monai"] = make_monai(setting, batch, data, device)
    if header:
        ours, theirs = (sum(part.numel() for part in one.parameters()) for one in (trainings["fp32"].network, peer))
        print(f"\n{setting}: {ours:,} parameters, MONAI's DynUNet {theirs:,}")
        columns = [*epochs, *(f"{name}/MONAI" for name in makers), "MiB fp32", "MiB bf16"]
        print(f"{'B':>2}" + "".join(f"{name:>15}" for name in columns) + "   [patches a second; ratios; peak]")
    found = take_turns(epochs, blocks, setting.cases)
    figures = [statistics.median(column) for column in found.values()]
    figures += [statistics.median(map(lambda a, b: a / b, found[name], found["monai"])) for name in makers]
    figures += [in_a_process(peak_of, setting, batch, precision, device) for precision in ("fp32", "bf16")]
    print(f"{batch:>2}" + "".join(f"{figure:>15.2f}" for figure in figures), flush=True)
    if device == "cuda":
        print(f"   GPU busy: ours {busy(epochs['bf16']):.0%} (bf16), MONAI {busy(epochs['monai']):.0%}")
    return trainings


def busy(epoch: Epoch) -> float:
    """Share of the time that a GPU computes: kernels' time, from the profiler, of an epoch's without it."""
    started = time.perf_counter()
    epoch()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        epoch()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / seconds


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_of(setting: Setting, batch: int, precision: str, device: str) -> float:
    """The most memory that a trial takes [MiB], as its result says."""
    with tempfile.TemporaryDirectory() as name:
        data = open_prepared(prepare(setting.data, Path(name)))
        spec = make_spec(setting, batch, precision, epochs=2, validate_every=1)
        return run_trial(spec, data, Path(name) / "trial", device=device).memory_mib


def show_parts(training: Training, label: str) -> None:
    """Shares of an epoch by part, and of its convolutions alone."""
    progress = Progress()
    training.run_epoch(progress)
    spent: Counter[str] = Counter()
    parts = [
        (training.source, "batch", "data"),
        (training_module, "augment", "augmentation"),
        (Runtime, "logits", "forward"),
        (training, "loss", "loss"),
        (torch.Tensor, "backward", "backward"),
        (training.optimizer, "step", "optimiser"),
    ]
    with ExitStack() as stack:
        for owner, attribute, part in parts:
            stack.enter_context(timed(owner, attribute, part, spent))
        started = time.perf_counter()
        for _ in range(2):
            training.run_epoch(progress)
        total = time.perf_counter() - started
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with profile(activities=activities) as profiler:
        started = time.perf_counter()
        training.run_epoch(progress)
        profiled = time.perf_counter() - started
    clock = "device_time_total" if training.computing.device.type == "cuda" else "cpu_time_total"
    events = [e for e in profiler.key_averages() if e.key in ("aten::convolution", "aten::convolution_backward")]
    alone = sum(getattr(event, clock) for event in events) / 1e6 / profiled
    shares = ", ".join(f"{part} {spent[part] / total:.0%}" for _, _, part in parts)
    print(f"   {label}: {shares}, rest {1 - sum(spent.values()) / total:.0%}")
    print(
        f"   {label}: convolutions alone {alone:.0%} of a step, which takes {1 / alone:.2f} times as long", flush=True
    )


@contextmanager
def timed(owner: object, attribute: str, part: str, spent: Counter[str]) -> Iterator[None]:
    """Add the time of every call to ``spent``."""
    call = getattr(owner, attribute)

    def run(*arguments: Any, **named: Any) -> Any:
        started = settled()
        answer = call(*arguments, **named)
        spent[part] += settled() - started
        return answer

    with patch.object(owner, attribute, run):
        yield


def settled() -> float:
    """The time, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def share_device(setting: Setting, batch: int, precision: str, device: str, seconds: float) -> None:
    """Patches a second of 1, 2 and 4 trials at once, all together; on the CPU as many as it has cores."""
    alone, context = 0.0, multiprocessing.get_context("spawn")
    for count in [count for count in (1, 2, 4) if device == "cuda" or count <= (os.cpu_count() or 1)]:
        barrier, answers = context.Barrier(count), context.SimpleQueue()
        arguments = (setting, batch, precision, device, seconds, barrier, answers)
        crowd = [context.Process(target=one_of_many, args=arguments) for _ in range(count)]
        for one in crowd:
            one.start()
        together = sum(answers.get() for _ in crowd)
        alone = alone or together
        print(
            f"   {count} at once (B {batch}, {precision}): {together:.1f} patches/s, {together / alone:.2f} times one"
        )


def one_of_many(
    setting: Setting, batch: int, precision: str, device: str, seconds: float, barrier: Any, answers: Any
) -> None:
    prepare_process()
    keep_freed()
    with tempfile.TemporaryDirectory() as name:
        data = open_prepared(prepare(setting.data, Path(name)))
        _, epoch = make_ours(make_spec(setting, batch, precision), data, device)
        epoch()
        barrier.wait()
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            epoch()
            done += setting.cases
        answers.put(done / (time.perf_counter() - started))
        barrier.wait()  # nobody leaves while another still measures


def growth(trials: int, device: str) -> list[tuple[int, float]]:
    """Memory of one worker after some of its trials: (trials, resident MiB, or reserved on a GPU)."""
    from study.execution.trial_worker import work
    from study.storage.folders import Storage

    setting, found = CPU[0], []
    with tempfile.TemporaryDirectory() as name:
        storage = Storage(Path(name))
        storage.make()
        prepare(setting.data, storage.root)
        for number in range(1, trials + 1):
            spec = make_spec(setting, 4, "fp32", epochs=2, validate_every=1).model_copy(update={"seed": number})
            assert work(spec, storage, device).state == "DONE"
            if number in (trials // 5, trials):
                gc.collect()
                found.append((number, torch.cuda.memory_reserved() / 2**20 if device == "cuda" else resident()))
    return found


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def show_compiled(setting: Setting, data: PreparedData, steps: int) -> None:
    """torch.compile of the network: what it costs before the first step, and what a step gains."""
    plain, compiled = (make_ours(make_spec(setting, 4, "fp32"), data, "cpu") for _ in range(2))
    compiled[0].network.compile()
    keep_freed()
    started = time.perf_counter()
    compiled[1]()
    first = time.perf_counter() - started
    epochs = {"plain": plain[1], "compiled": compiled[1]}
    rates = {name: statistics.median(found) for name, found in take_turns(epochs, 7, setting.cases).items()}
    one, other = (4 / rate for rate in rates.values())
    print(f"   torch.compile, B 4: first epoch {first:.1f} s; a step {other * 1e3:.1f} ms, plain {one * 1e3:.1f} ms")
    print(f"   a trial of {steps} steps: {first + steps * other:.1f} s, plain {steps * one:.1f} s")


def prepare_process() -> None:
    warnings.filterwarnings("ignore", module="monai")
    torch.set_num_threads(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few blocks, B 2 alone, 10 trials")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the CPU, and a GPU where there is one")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    wanted = parser.parse_args()
    prepare_process()
    for device in [wanted.device] if wanted.device else ["cpu"] + ["cuda"] * torch.cuda.is_available():
        for setting in GPU if device == "cuda" else CPU:
            with tempfile.TemporaryDirectory() as name:
                data = open_prepared(prepare(setting.data, Path(name)))
                for batch in (batches := (2,) if wanted.quick else setting.batches):
                    blocks = 2 if wanted.quick else max(3, 13 * 9216 // math.prod(setting.shape))
                    trainings = compare(setting, batch, data, device, blocks, header=batch == batches[0])
                    if batch == 2:
                        show_parts(trainings["fp32"], "fp32")
                        show_parts(trainings["bf16"], "bf16")
                share_device(setting, 2, "bf16" if device == "cuda" else "fp32", device, 3 if wanted.quick else 10)
                if wanted.compile and device == "cpu" and setting is CPU[0]:
                    show_compiled(setting, data, 600)
        found = in_a_process(growth, 10 if wanted.quick else 50, device)
        print(f"\none worker ({device}): " + ", ".join(f"{mib:.0f} MiB after {count} trials" for count, mib in found))


if __name__ == "__main__":
    main()
