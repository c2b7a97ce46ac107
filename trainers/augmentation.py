"""Random changes of a batch on its device: where voxels are taken from, and how bright they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainers.augmentation_spec import AugmentSpec
from trainers.batch import Batch

CONTROL_POINTS = 4
"""Control points of an elastic shift along each axis; between them it is interpolated."""


def augment(
    batch: Batch, spec: AugmentSpec, spacing: Sequence[float] | NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Change the batch in place, each case on its own.

    spacing: sides of a voxel (axis,), or of each case's (batch, axis) [mm], so that a rotation does not shear.
    All numbers are drawn from ``rng`` on the
    host in one order, whatever the device; noise of every voxel from a generator on the device that it seeds.
    """
    if spec.flip != "none":
        batch.flip(rng, spec.flip_axes(batch.images.ndim - 2))
    if spec.moves:
        _move(batch, spec, spacing, rng)
    if spec.intensity_scale:
        batch.images *= _each(1 + spec.intensity_scale * rng.standard_normal(batch.images.shape[:2]), batch.images)
    if spec.intensity_shift:
        batch.images += _each(spec.intensity_shift * rng.standard_normal(batch.images.shape[:2]), batch.images)
    if spec.noise:
        generator = torch.Generator(batch.images.device).manual_seed(int(rng.integers(2**63)))
        batch.images += spec.noise * torch.randn(batch.images.shape, generator=generator, device=batch.images.device)


def _each(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """(batch, channel) numbers, to be broadcast over space."""
    shape = *values.shape, *[1] * (like.ndim - 2)
    return _on(values, like.device).reshape(shape)


def _on(values: NDArray[np.float64], device: torch.device | None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)


def _move(
    batch: Batch, spec: AugmentSpec, spacing: Sequence[float] | NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Sample every array where a random affine map and an elastic shift take its voxels from.

    Images and distances are interpolated linearly and labels to the nearest voxel, so that they stay labels;
    beyond the patch an image is as at its border, and a label empty.
    """
    shape = tuple(batch.images.shape[2:])
    grid = sampling_grid(spec, len(batch.images), shape, spacing, rng, batch.images.device)
    batch.images = functional.grid_sample(batch.images, grid, "bilinear", "border", align_corners=False)
    batch.labels = functional.grid_sample(batch.labels.float(), grid, "nearest", "zeros", align_corners=False).to(
        torch.uint8
    )
    if batch.distances is not None:
        batch.distances = functional.grid_sample(batch.distances, grid, "bilinear", "border", align_corners=False)


def sampling_grid(
    spec: AugmentSpec,
    cases: int,
    shape: Sequence[int],
    spacing: Sequence[float] | NDArray[np.float64],
    rng: np.random.Generator,
    device: torch.device | None = None,
) -> Tensor:
    """Where each voxel is taken from: (case, *shape, axis) in −1 … 1 from border to border, last axis of space first.

    The patch is turned about its middle within the plane of the first two axes, scaled, and shifted; an elastic
    shift is added. Every number is normal with the spec's standard deviation.
    """
    axes, sides = len(shape), np.broadcast_to(np.asarray(spacing, dtype=np.float64), (cases, len(shape)))
    affine = np.tile(np.eye(axes), (cases, 1, 1))
    angle = spec.rotate * rng.standard_normal(cases)
    affine[:, 0, 0] = affine[:, 1, 1] = np.cos(angle)
    affine[:, 0, 1], affine[:, 1, 0] = -np.sin(angle), np.sin(angle)
    affine /= np.exp(spec.scale * rng.standard_normal(cases))[:, None, None]
    # Turned in millimetres, told in voxels.
    affine = affine * sides[:, None, :] / sides[:, :, None]
    wanted = np.asarray(spec.translate or (0.0,) * axes)
    shift = wanted * rng.standard_normal((cases, axes))
    half = np.asarray(shape) / 2
    # From voxels about the middle to −1 … 1 from border to border.
    theta = affine * half[None, None, :] / half[None, :, None]
    matrix = np.concatenate([theta, (shift / half)[:, :, None]], axis=2)
    turned = matrix[:, ::-1, [*range(axes - 1, -1, -1), axes]]
    size = [cases, 1, *shape]
    # The few numbers go to the device, and every voxel's are made there.
    grid = functional.affine_grid(_on(turned, device), size, align_corners=False)
    if spec.elastic:
        points = rng.standard_normal((cases, axes, *[CONTROL_POINTS] * axes)) * spec.elastic
        points = points / half[None, :, *[None] * axes]
        mode = {2: "bilinear", 3: "trilinear"}[axes]
        field = functional.interpolate(_on(points, device), size[2:], mode=mode, align_corners=True)
        grid = grid + field.flip(1).movedim(1, -1)
    return grid
