"""Dice for each Φ against MONAI's DiceLoss, forward and backward: time ratio and peak extra memory.

    python bench/losses.py [--threads 1] [--pairs 15] [--device cpu|cuda] [--json]

Time: one thread unless said otherwise; the two losses take turns on the same tensors, the order changes from
pair to pair, and the ratio is the median over pairs of theirs / ours (above 1: ours is faster).
Memory: the peak of what torch's allocators hold beyond the inputs during one call, which on the CPU is the running
sum of the profiler's allocation records, and on a GPU the allocator's own peak. It includes the gradient that the
call returns, so that one map of float32 is the floor.
MONAI's ``batch`` is set where Φ spans the batch; it cannot span classes, so CI and BCI are compared with the
setting that spans the same batch.
``plain`` is our formula with its sums left to autograd: what the hand-written backward has to beat by 10 %.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from trainers.losses import make_loss

SHAPES = ((2, 1, 80, 80, 48), (8, 1, 80, 80, 48), (2, 4, 192, 192, 48))
PHIS = ("I", "BI", "CI", "BCI")
EPS = 1e-7
POOLED = {"I": (), "CI": (1,), "BI": (0,), "BCI": (0, 1)}
Dice = Callable[[Tensor, Tensor], Tensor]


def ours(phi: str) -> Dice:
    return make_loss({"name": "dice", "phi": phi, "eps": EPS})


def plain(phi: str) -> Dice:
    space = (2, 3, 4)

    def dice(prediction: Tensor, target: Tensor) -> Tensor:
        sums = [part.sum(space) for part in (prediction * target, prediction, target)]
        if POOLED[phi]:
            sums = [part.sum(POOLED[phi]) for part in sums]
        both, predicted, true = sums
        return (1 - (2 * both + EPS) / (predicted + true + EPS)).mean()

    return dice


def monai(phi: str) -> Dice:
    from monai.losses import DiceLoss

    return DiceLoss(batch=phi in ("BI", "BCI"), smooth_nr=EPS, smooth_dr=EPS)


LOSSES: dict[str, Callable[[str], Dice]] = {"ours": ours, "plain": plain, "monai": monai}


def make_maps(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(shape, generator=generator).to(device)
    target = (torch.rand(shape, generator=generator) < 0.05).float().to(device)
    return prediction, target


def step(loss: Dice, prediction: Tensor, target: Tensor) -> None:
    prediction.requires_grad_()
    torch.autograd.grad(loss(prediction, target), prediction)


def seconds(loss: Dice, prediction: Tensor, target: Tensor) -> float:
    start = time.perf_counter()
    step(loss, prediction, target)
    if prediction.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def time_pairs(first: Dice, second: Dice, maps: tuple[Tensor, Tensor], pairs: int) -> tuple[float, float, float]:
    """Median seconds of either, and the median over pairs of second / first."""
    for loss in (first, second, first, second):
        seconds(loss, *maps)
    taken = []
    for number in range(pairs):
        if number % 2:
            late, early = seconds(second, *maps), seconds(first, *maps)
        else:
            early, late = seconds(first, *maps), seconds(second, *maps)
        taken.append((early, late))
    one, two = (statistics.median(column) for column in zip(*taken, strict=True))
    return one, two, statistics.median(late / early for early, late in taken)


def peak(loss: Dice, prediction: Tensor, target: Tensor) -> float:
    """Peak extra memory of one call [MB]."""
    step(loss, prediction, target)
    if prediction.is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(loss, prediction, target)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(loss, prediction, target)
    records = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    records.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in records)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the CPU, and a GPU where there is one")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    devices = [wanted.device] if wanted.device else ["cpu"] + ["cuda"] * torch.cuda.is_available()
    rows = []
    for device in devices:
        for shape in SHAPES:
            maps = make_maps(shape, device)
            # Of a short step more pairs, for the same rest of noise.
            pairs = wanted.pairs * max(1, 4_000_000 // math.prod(shape))
            for phi in PHIS:
                row: dict[str, object] = {"device": device, "shape": "×".join(map(str, shape)), "phi": phi}
                for other in ("monai", "plain"):
                    one, two, ratio = time_pairs(ours(phi), LOSSES[other](phi), maps, pairs)
                    row |= {"ours_ms": one * 1e3, f"{other}_ms": two * 1e3, f"{other}_ratio": ratio}
                row |= {f"{name}_mb": peak(make(phi), *maps) for name, make in LOSSES.items()}
                rows.append(row)
                if not wanted.json:
                    show(row, header=len(rows) == 1)
    if wanted.json:
        print(json.dumps({"torch": torch.__version__, "threads": wanted.threads, "rows": rows}, indent=1))


def show(row: dict[str, object], *, header: bool) -> None:
    columns = ("ours_ms", "monai_ms", "monai_ratio", "plain_ms", "plain_ratio", "ours_mb", "monai_mb", "plain_mb")
    if header:
        print(f"{'device':7}{'shape':>16}{'phi':>5}" + "".join(f"{name:>13}" for name in columns))
    print(f"{row['device']:7}{row['shape']:>16}{row['phi']:>5}" + "".join(f"{row[name]:13.2f}" for name in columns))


if __name__ == "__main__":
    main()
