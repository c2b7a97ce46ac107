"""Intensities of one channel brought to one scale."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainers.errors import Fault, InputError

PERCENTILES = (1, 99)
TOO_LARGE = "values too large to be normalised"

Intensity = Literal["zscore", "zscore_nonzero", "clip_zscore", "none"]


def normalise(voxels: NDArray[Any], how: Intensity, path: Path) -> NDArray[np.float32]:
    """One channel's intensities as ``VolumeSpec.intensity`` says.

    Raises: InputError if all voxels that count have one value, or values are beyond what can be squared.
    """
    # Beyond what float32 holds, or can square, values become infinite; that is told below, with the file.
    with np.errstate(over="ignore"):
        image = voxels.astype(np.float32)
    if not np.isfinite(image).all():
        raise InputError(Fault(str(path), TOO_LARGE, "mend the scale in its header"))
    if how == "none":
        return image
    counted = image != 0 if how == "zscore_nonzero" else None
    if how == "clip_zscore":
        image = np.clip(image, *np.percentile(image, PERCENTILES)).astype(np.float32)
    part = image if counted is None else image[counted]
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(part.std()) if part.size else 0.0
    if not math.isfinite(deviation):
        raise InputError(Fault(str(path), TOO_LARGE, "mend the scale in its header"))
    if deviation == 0:
        which = "voxels" if counted is None else "voxels that are not 0"
        value = float(part.flat[0]) if part.size else 0.0
        fault = f"all {which} have the same value, {value:g}" if part.size else "all voxels have the same value, 0"
        raise InputError(Fault(str(path), fault, "replace the channel, or leave the case out: it shows nothing"))
    scaled = (image - part.mean()) / deviation
    if counted is not None:
        scaled[~counted] = 0
    return np.asarray(scaled, dtype=np.float32)
