"""Volumes brought to one spacing and one shape: images linearly, labels as asked."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainers.data.geometry.distances import signed_distance
from trainers.data.geometry.grid import PatchGrid, Spacing, bounding_box

TRUNCATION = 1.5
"""Signed distances of labels end at so many of the source's finest voxel sides."""

LabelMode = Literal["signed_distance", "linear", "nearest"]


def resample_image(image: NDArray[np.float32], grid: PatchGrid, fill: float) -> NDArray[np.float32]:
    """Image (*source) on the grid, ``fill`` beyond the source's field of view; shape (*grid.shape)."""
    sampled = grid.sample(image)
    sampled[~grid.in_view()] = fill
    return sampled


def resample_maps(
    maps: NDArray[np.bool_], mode: LabelMode, spacing: Spacing, grid: PatchGrid, exclusive: bool
) -> NDArray[np.uint8]:
    """Label maps (class, *source) on the grid, (class, *grid.shape) uint8 in {0, 1}, 0 beyond the field of view.

    spacing: of the source [mm]. ``nearest`` takes the nearest voxel; ``linear`` interpolates each map;
    ``signed_distance`` interpolates the depths within it. Of ``exclusive`` maps each voxel goes to the
    highest, the background among them, so that classes that touch leave no gap and never overlap; else to
    every map that is above ½ (above a depth of 0).

    Depths are truncated. Between thick slices, a wall's small depth would else meet a large distance
    to it and lose: untruncated, 4 % of ACDC's right ventricles are lost so, and up to 27 % of one.
    One and a half voxel sides leave contours within a slice, and isotropic volumes, nearly as they are.
    """
    result = np.zeros((len(maps), *grid.shape), dtype=np.uint8)
    foreground = np.asarray(maps.any(axis=0))
    box = bounding_box(foreground, margin=2)
    if box is None:
        return result
    # Only near the label does the background not win anyway; distances over the whole volume cost ten times more.
    near, corner = maps[(slice(None), *box)], [side.start for side in box]
    if exclusive:
        near = np.concatenate([~foreground[box][np.newaxis], near])
    if mode == "signed_distance":
        limit = TRUNCATION * min(spacing)
        heights = (np.clip(depth(one, spacing), -limit, limit) for one in near)
    else:
        heights = (one.astype(np.float32) for one in near)
    sampled = np.stack([grid.sample(height, corner, nearest=mode == "nearest") for height in heights])
    in_view = grid.in_view()
    if exclusive:
        highest = sampled.argmax(axis=0)
        highest[~in_view] = 0
        for index in range(len(maps)):
            result[index] = highest == index + 1
    else:
        result[...] = (sampled > (0 if mode == "signed_distance" else 0.5)) & in_view
    return result


def depth(mask: NDArray[np.bool_], spacing: Spacing) -> NDArray[np.float32]:
    """Distance to the mask's border [mm], positive inside: to the nearest voxel on the other side."""
    if mask.all() or not mask.any():
        # No border to measure to: farther than anything that has one.
        far = float(np.linalg.norm(np.multiply(mask.shape, spacing)))
        return np.full(mask.shape, far if mask.any() else -far, dtype=np.float32)
    return np.asarray(-signed_distance(mask[np.newaxis], spacing)[0], dtype=np.float32)
