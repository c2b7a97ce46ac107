"""Slices of a few held-out cases with their labels and what a network found in them, kept for pictures.

numpy only, so that a report reads the file without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainers.atomic_files import write_whole
from trainers.data.prepared.read import PreparedData

EXAMPLES_FILE = "examples.npz"
"""Beside the trial's result; a trial of an earlier version has none."""
QUARTILES = (0.25, 0.5, 0.75)
"""Where in a group's true volumes its cases are taken: small, middle and large."""
MOST_PIXELS = 128
"""Side to which a slice is cut around its label."""

Kind = TypeVar("Kind", bound=np.generic)
Find = Callable[[int], NDArray[np.bool_]]
"""From a case's number to the maps (class, *space) that the network finds in it, in the prepared space."""


@dataclass(frozen=True, eq=False)
class Example:
    """One slice. image: (row, column) uint8; truth, found: {class: (row, column) bool}; aspect: height of a pixel
    over its width; quartile: where the case stands among its group's volumes.
    """  # noqa: D205

    case: str
    group: str
    quartile: float
    aspect: float
    image: NDArray[np.uint8]
    truth: dict[str, NDArray[np.bool_]]
    found: dict[str, NDArray[np.bool_]]


def choose_cases(data: PreparedData, held_out: Sequence[int], classes: Sequence[str]) -> list[tuple[int, float]]:
    """Numbers of the cases to keep and their quartiles: of each group those at ``QUARTILES`` of the true volume.

    The same for all trials of a fold: asked are the labels alone. Cases without any of ``classes`` are left out.
    """
    columns = [data.classes.index(name) for name in classes]
    volumes = data.volumes[:, columns].sum(axis=1)
    chosen: dict[int, float] = {}
    for group in data.groups:
        own = [index for index in held_out if data.cases[index].group == group and volumes[index] > 0]
        own.sort(key=lambda index: (int(volumes[index]), data.cases[index].case))
        for quartile in QUARTILES if own else ():
            chosen.setdefault(own[round(quartile * (len(own) - 1))], quartile)
    return list(chosen.items())


def save_examples(
    folder: Path, data: PreparedData, held_out: Sequence[int], classes: Sequence[str], find: Find
) -> None:
    """Keep the slice of each chosen case in which the label of ``classes`` is largest, and what ``find`` sees there."""
    kept = choose_cases(data, held_out, classes)
    columns = [data.classes.index(name) for name in classes]
    arrays: dict[str, NDArray[np.generic]] = {
        "cases": np.array([data.cases[index].case for index, _ in kept], dtype=str),
        "groups": np.array([data.cases[index].group for index, _ in kept], dtype=str),
        "classes": np.array(classes, dtype=str),
        "quartiles": np.array([quartile for _, quartile in kept]),
        "aspects": np.array([data.spacing[index][1] / data.spacing[index][0] for index, _ in kept]),
    }
    for number, (index, _) in enumerate(kept):
        truth = np.asarray(data.labels[index])[columns].astype(bool)
        cut = _cut(truth)
        arrays[f"image{number}"] = _grey(_upright(np.asarray(data.images[index])[:1][cut])[0])
        arrays[f"truth{number}"] = _upright(truth[cut])
        arrays[f"found{number}"] = _upright(find(index)[columns][cut])
    write_whole(folder / EXAMPLES_FILE, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def load_examples(folder: Path) -> list[Example]:
    """The slices that a trial kept; none where it has no such file."""
    path = folder / EXAMPLES_FILE
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as stored:
        classes = stored["classes"].tolist()
        return [
            Example(
                case,
                group,
                float(stored["quartiles"][number]),
                float(stored["aspects"][number]),
                stored[f"image{number}"],
                dict(zip(classes, stored[f"truth{number}"], strict=True)),
                dict(zip(classes, stored[f"found{number}"], strict=True)),
            )
            for number, (case, group) in enumerate(
                zip(stored["cases"].tolist(), stored["groups"].tolist(), strict=True)
            )
        ]


def _cut(truth: NDArray[np.bool_]) -> tuple[slice | int, ...]:
    """Where to cut arrays (class, *space): the slice of the last axis with the largest label, around the label."""
    drawn: NDArray[np.bool_] = truth.max(axis=0)
    last: tuple[int, ...] = ()
    if drawn.ndim == 3:
        last = (int(drawn.sum(axis=(0, 1)).argmax()),)
        drawn = drawn[..., last[0]]
    windows = [_window(np.flatnonzero(drawn.max(axis=1 - axis)), drawn.shape[axis]) for axis in (0, 1)]
    return (slice(None), *windows, *last)


def _window(occupied: NDArray[np.intp], size: int) -> slice:
    """A window of ``MOST_PIXELS`` at most around the occupied places of an axis."""
    side = min(size, MOST_PIXELS)
    middle = int(occupied[0] + occupied[-1]) // 2 if len(occupied) else size // 2
    start = min(max(middle - side // 2, 0), size - side)
    return slice(start, start + side)


def _upright(maps: NDArray[Kind]) -> NDArray[Kind]:
    """Maps (map, x, y) as they are looked at, (map, row, column): y upwards."""
    return np.ascontiguousarray(np.rot90(maps, axes=(1, 2)))


def _grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Brightness from 0 to 255, the outermost hundredths cut off."""
    low, high = np.percentile(image, [1, 99])
    scaled: NDArray[np.float64] = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return np.round(255 * scaled).astype(np.uint8)
