"""Brain-like volumes made from a seed: one tumour each, in two groups that differ in look.

A case needs no file and depends on the seed, its split and its number alone, so a data set can grow
without changing the cases it already had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from scipy import ndimage

from trainers.data.base import CaseArrays, CaseInfo, DataSpec, Head
from trainers.data.geometry.grid import Shape

RECIPE = 2
"""Number of the recipe; raise it with every change that makes other voxels from the same spec."""
VOXEL_MM = 7.0
"""Side of a voxel [mm]: makes the brain of the default shape 1.3 l and its tumours 40 to 290 ml."""
SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")

BRAIN_SEMI_AXES = (0.43, 0.49)  # of the side
TEXTURE_SIGMA, TEXTURE_AMPLITUDE = 1.5, 0.2
BIAS_SIGMA, BIAS_AMPLITUDE = 6.0, 0.15
NOISE_AMPLITUDE = 0.1
IRREGULARITY = 0.3
CORE = 0.6  # of the way from the tumour's centre to its border
BLUR_SIGMA = 0.6  # a voxel shows its neighbours too, so that borders are not read off single voxels
MOST_TUMORS = 8
TUMORS_STREAM = 2  # of the random numbers that say how many tumours a case has
OTHER_LOOK_EVERY = 10  # one in so many cases of a group looks like the other group

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]) -> Volume:
    """Gaussian-filtered white noise of mean 0 and standard deviation 1; ``sigma`` in voxels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma)
    # By the volume's own moments: the filter leaves little variance, and how little depends on the shape.
    noise -= noise.mean()
    noise /= noise.std()
    return np.asarray(noise, dtype=np.float32)


def case_name(split: str, index: int) -> str:
    """Name a generated case or subject so that ``parse_case_name`` can read it back."""
    return f"{split}-{index:04d}"


def parse_case_name(name: str) -> tuple[int, int]:
    """Read the number of the split, and the number within it, off the name of a generated case.

    Raises: ValueError for a name that ``case_name`` does not make.
    """
    split, _, index = name.partition("-")
    if split not in SPLITS or not index.isdecimal():
        raise ValueError(f"no generated case is called {name!r}, known: {case_name(SPLITS[0], 0)} and so on")
    return SPLITS.index(split), int(index)


@dataclass(frozen=True)
class _Space:
    """The voxel grid: its shape and its open coordinate arrays [voxels]."""

    shape: tuple[int, int, int]

    @property
    def axes(self) -> tuple[Volume, Volume, Volume]:
        x, y, z = np.ogrid[tuple(slice(side) for side in self.shape)]
        return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)

    @property
    def centre(self) -> NDArray[np.float64]:
        return (np.asarray(self.shape) - 1) / 2

    def distance(self, centre: NDArray[np.float64], semi_axes: NDArray[np.float64] | float) -> Volume:
        """Distance from ``centre`` in units of the semi-axes: an ellipsoid is where it is at most 1."""
        parts = zip(self.axes, centre, np.broadcast_to(semi_axes, 3), strict=True)
        squares = [np.square((axis - middle) / semi) for axis, middle, semi in parts]
        return np.asarray(np.sqrt(squares[0] + squares[1] + squares[2]), dtype=np.float32)


def _unit_vectors(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Random directions, shape (count, 3)."""
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _tumour(
    rng: np.random.Generator, space: _Space, brain_semi_axes: NDArray[np.float64], radius: tuple[float, float]
) -> Volume:
    """Distance from the tumour's centre in units of its border's distance that way: the tumour is where it is < 1.

    The border's distance varies with direction only, so that the tumour is in one piece.
    """
    size = rng.uniform(*radius)
    # Uniform in what is left of the brain when the tumour may stick out by no more than a third of its radius.
    room = np.maximum(brain_semi_axes - 0.7 * size, 0)
    centre = space.centre + _unit_vectors(rng, 1)[0] * np.cbrt(rng.random()) * room
    stretch = np.exp(rng.uniform(-0.15, 0.15, size=3))
    stretch /= np.cbrt(stretch.prod())
    distance = space.distance(centre, size * stretch)

    x, y, z = (axis - middle for axis, middle in zip(space.axes, centre, strict=True))
    length = np.maximum(np.sqrt(x**2 + y**2 + z**2), 1e-3)
    waves = np.zeros(space.shape, dtype=np.float32)
    for way in _unit_vectors(rng, 4):
        along = (x * way[0] + y * way[1] + z * way[2]) / length
        waves += np.sin(rng.uniform(2, 4) * along + rng.uniform(0, 2 * np.pi)) / 2
    border = 1 + IRREGULARITY * np.clip(waves, -1, 1)
    return np.asarray(distance / border, dtype=np.float32)


def _add_blobs(
    rng: np.random.Generator, space: _Space, channel: Volume, room: Mask, count: int, radius: tuple[float, float]
) -> None:
    """Add small bright balls with centres in ``room``: bright as a tumour, and no part of the label."""
    places = np.flatnonzero(room)
    for _ in range(count if places.size else 0):
        centre = np.asarray(np.unravel_index(rng.choice(places), space.shape), dtype=np.float64)
        channel[space.distance(centre, rng.uniform(*radius)) <= 1] += rng.uniform(1.0, 1.8)


def _looks_like_the_other(seed: int, split: int, group: int, rank: int) -> bool:
    """Whether case number ``rank`` of its group has the other group's look.

    One of every ten in turn, at a random place: a share left to chance would decide, in a test set of
    32, how well the groups can be told apart.
    """
    block, place = divmod(rank, OTHER_LOOK_EVERY)
    # The 1 sets these numbers apart from those of the cases: a seed sequence takes trailing zeros for nothing.
    rng = np.random.default_rng([seed, split, group, block, 1])
    return bool(rng.integers(OTHER_LOOK_EVERY) == place)


def generate(
    rng: np.random.Generator, shape: tuple[int, int, int], radius: tuple[float, float], ringed: bool, count: int = 1
) -> tuple[Volume, Mask]:
    """One image (2, *shape), z-scored inside the brain, and its tumours (*shape), which may touch; none at 0."""
    space = _Space(shape)
    brain_semi_axes = rng.uniform(*BRAIN_SEMI_AXES, size=3) * shape
    brain = space.distance(space.centre, brain_semi_axes) <= 1
    depths = [_tumour(rng, space, brain_semi_axes, radius) for _ in range(count)]
    depth = np.minimum.reduce([*depths, np.full(shape, np.inf, dtype=np.float32)])
    tumour = (depth < 1) & brain

    shared, *own = (smooth_noise(rng, shape, TEXTURE_SIGMA) for _ in range(3))
    texture = TEXTURE_AMPLITUDE * np.sqrt(0.5)
    # Up to the z-score at the end, in units where brain tissue is 1.
    image = np.stack([1 + texture * (shared + single) for single in own])

    sides = np.asarray(shape)
    for way in (-1, 1):
        centre = space.centre + sides * (way * rng.uniform(0.10, 0.14), rng.uniform(-0.04, 0.04), 0)
        ventricle = space.distance(centre, sides * (0.06, 0.16, 0.13)) <= 1
        image[:, ventricle & ~tumour] -= 0.7

    image[0][tumour] += rng.uniform(1.2, 1.8)
    if ringed:
        core = tumour & (depth < CORE)
        image[1][tumour & ~core] += rng.uniform(1.5, 2.5)
        image[1][core] -= rng.uniform(0.4, 0.7)
    else:
        image[1][tumour] -= rng.uniform(0.2, 0.4)

    # A voxel more than a blob's largest radius away, so that none touches the tumour and hides its border.
    room = brain & (ndimage.distance_transform_edt(~tumour) > 3) if count else brain
    _add_blobs(rng, space, image[0], room, int(rng.integers(1, 4)), (1.0, 1.8))
    _add_blobs(rng, space, image[1], room, int(rng.integers(2, 5)), (1.0, 2.0))

    image = np.stack([ndimage.gaussian_filter(channel, BLUR_SIGMA) for channel in image])
    image *= 1 + BIAS_AMPLITUDE * smooth_noise(rng, shape, BIAS_SIGMA)
    image += NOISE_AMPLITUDE * rng.standard_normal(image.shape, dtype=np.float32)
    for channel in image:
        inside = channel[brain]
        channel -= inside.mean()
        channel /= inside.std()
        channel[~brain] = 0
    return np.asarray(image, dtype=np.float32), tumour


class BrainSpec(DataSpec):
    """Generated brains of two channels: with the default settings one tumour each, half in group A, half in B.

    A tumour is bright in channel 0. In group A it has, in channel 1, an enhancing ring round a dark
    core; in group B it is slightly dark there; one case of ten looks like the other group. Small
    bright blobs in both channels are no tumours.
    """

    ADDED: ClassVar[frozenset[str]] = frozenset({"healthy", "tumors"})

    source: str  # first, as it has always stood in the key
    shape: tuple[int, int, int] = (24, 24, 16)
    """Sides of a volume [voxels]."""
    train: int = Field(default=72, ge=2)
    """Training cases, of both groups together."""
    test: int = Field(default=64, ge=2)
    """Test cases, of both groups together."""
    radius: tuple[float, float] = (3.4, 5.4)
    """Smallest and largest mean radius of a tumour [voxels]."""
    tumors: tuple[int, int] = (1, 1)
    """Fewest and most tumours of a case of group A or B; a case that draws 0 is rightly empty."""
    healthy: float = Field(default=0.0, ge=0, lt=1)
    """Share of the brains that have no tumour: they are a third group, ``healthy``."""
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("radius")
    @classmethod
    def _radius_is_a_range(cls, radius: tuple[float, float]) -> tuple[float, float]:
        if not 1 <= radius[0] <= radius[1]:
            raise ValueError(f"radius {radius} is no range of at least 1 voxel; give [smallest, largest]")
        return radius

    @field_validator("tumors")
    @classmethod
    def _tumors_are_a_range(cls, tumors: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= tumors[0] <= tumors[1] <= MOST_TUMORS or tumors[1] < 1:
            raise ValueError(f"tumors {tumors} is no range with an end of 1 to {MOST_TUMORS}; give [fewest, most]")
        return tumors

    @model_validator(mode="after")
    def _tumour_fits(self) -> BrainSpec:
        needed = int(np.ceil(self.radius[1] / BRAIN_SEMI_AXES[0]))
        if min(self.shape) < needed:
            raise ValueError(
                f"shape {self.shape} is too small for a tumour of radius {self.radius[1]}: "
                f"every side needs at least {needed} voxels; enlarge shape or reduce radius"
            )
        return self

    @property
    def head(self) -> Head:
        """One map."""
        return "sigmoid"

    @property
    def classes(self) -> tuple[str, ...]:
        """The one class, overlapping nothing."""
        return ("tumor",)

    @property
    def groups(self) -> tuple[str, ...]:
        """A: with the ring; B: without; healthy, where there are any: without a tumour."""
        return ("A", "B", "healthy") if self.healthy else ("A", "B")

    def group_of(self, index: int) -> str:
        """The group of brain number ``index`` of its split: A and B take turns between the healthy ones."""
        before, after = (math.floor(round(number * self.healthy, 9)) for number in (index, index + 1))
        return "healthy" if after > before else ("A", "B")[(index - before) % 2]

    def draw_brain(self, name: str) -> tuple[Volume, Mask]:
        """Generate the brain of this name: image (2, *shape) and tumours (*shape).

        Raises: ValueError for a name that ``case_name`` does not make.
        """
        split, index = parse_case_name(name)
        rng = np.random.default_rng([self.seed, split, index])
        group = self.group_of(index)
        if group == "healthy":
            return generate(rng, self.shape, self.radius, ringed=False, count=0)
        rank = index - math.floor(round(index * self.healthy, 9))
        ringed = (group == "A") != _looks_like_the_other(self.seed, split, self.groups.index(group), rank // 2)
        fewest, most = self.tumors
        # By a generator of its own: a case with one tumour is the same whatever else was possible.
        drawn = np.random.default_rng([self.seed, split, index, TUMORS_STREAM]).integers(fewest, most + 1)
        return generate(rng, self.shape, self.radius, ringed, int(drawn))


class PhantomSpec(BrainSpec):
    """Generated brains as volumes, one case each."""

    source: Literal["phantom"] = "phantom"

    @property
    def patch_shape(self) -> Shape:
        """The whole volume."""
        return self.shape

    def fingerprint(self) -> str:
        """Name the recipe."""
        return f"phantom-{RECIPE}"

    def list_cases(self) -> list[CaseInfo]:
        """Training cases, then test cases; the groups take turns."""
        return [
            CaseInfo(case_name(split, index), case_name(split, index), self.group_of(index), split)
            for split, count in zip(SPLITS, (self.train, self.test), strict=True)
            for index in range(count)
        ]

    def load_case(self, info: CaseInfo) -> CaseArrays:
        """Generate one case: image (2, *shape), z-scored inside the brain and 0 outside; label (1, *shape).

        Raises: ValueError for a case that the source does not have.
        """
        image, tumour = self.draw_brain(info.case)
        return CaseArrays(image, tumour[np.newaxis].astype(np.uint8), (VOXEL_MM,) * 3)
