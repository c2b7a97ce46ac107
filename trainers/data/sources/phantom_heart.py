"""Short-axis hearts made from a seed: two phases a subject, three classes, as in the ACDC challenge.

The field of view is fixed and the shape is its resolution, so a finer grid shows the same anatomy. A
subject needs no file and depends on the seed, its split and its number alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator
from scipy import ndimage

from trainers.data.base import CaseArrays, CaseInfo, DataSpec, Head
from trainers.data.geometry.grid import Shape
from trainers.data.sources.phantom_brain import SPLITS, Mask, Volume, case_name, parse_case_name, smooth_noise

RECIPE = 2
"""Number of the recipe; raise it with every change that makes other voxels from the same spec."""
PLANE_MM, LENGTH_MM = 160.0, 80.0
"""Field of view across the heart's long axis and along it [mm]."""
UNIT_SIDE = 32
"""Lengths in the plane are given in voxels of a plane of so many, 5 mm each."""

PHASES = ("ED", "ES")
CLASSES = ("RV", "MYO", "LV")
CAVITY_RADIUS = {"ED": (4.8, 6.2), "ES": (3.0, 4.5)}
WALL = {"ED": (1.5, 2.1), "ES": (2.1, 3.0)}
SHORTENING = (0.9, 0.98)  # of the long axis from ED to ES
BLOOD, MUSCLE = 1.6, 0.3
BLUR_SIGMA = (0.6, 0.6, 0.3)  # a voxel shows its neighbours too
SURROUNDINGS = (0.2, 0.6, 1.0)  # lung, muscle and fat, other organs
TEXTURE_AMPLITUDE, NOISE_AMPLITUDE = 0.08, 0.11


@dataclass(frozen=True)
class _Anatomy:
    """What the two phases of a subject share.

    centre: of the cavity [unit voxels from the middle of the plane]; septum: direction of the right
    ventricle [rad]; right: its radius in units of the left one's outer radius; length: share of the
    field of view from base to apex; ellipticity: of the section, and its axis [rad];
    surroundings, texture: (*shape).
    """

    centre: tuple[float, float]
    septum: float
    right: float
    length: float
    ellipticity: tuple[float, float]
    surroundings: Volume
    texture: Volume


def _draw_anatomy(rng: np.random.Generator, shape: tuple[int, int, int]) -> _Anatomy:
    septum = np.pi + rng.uniform(-0.6, 0.6)
    # Away from the right ventricle, so that both together sit in the middle of the plane.
    shift = -4 * np.array([np.cos(septum), np.sin(septum)]) + rng.uniform(-1.5, 1.5, size=2)
    right, length = rng.uniform(0.95, 1.1), rng.uniform(0.88, 1.0)
    ellipticity = rng.uniform(0, 0.08), rng.uniform(0, np.pi)
    # Last, for they take as many numbers as there are voxels: the heart itself is the same on every grid.
    scale = min(shape[:2]) / UNIT_SIDE
    patches = smooth_noise(rng, shape, (3 * scale, 3 * scale, 1.0))
    return _Anatomy(
        centre=(float(shift[0]), float(shift[1])),
        septum=float(septum),
        right=right,
        length=length,
        ellipticity=ellipticity,
        surroundings=np.take(SURROUNDINGS, np.digitize(patches, (-0.5, 0.5))).astype(np.float32),
        texture=smooth_noise(rng, shape, (scale, scale, 0.7)),
    )


def _draw_label(rng: np.random.Generator, shape: tuple[int, int, int], anatomy: _Anatomy, phase: str) -> Mask:
    """One phase of the heart: right ventricle, myocardium and cavity, shape (3, *shape)."""
    # Half a voxel in from both ends: voxel centres, so that the anatomy stays put when the grid is refined.
    sides = [np.arange(side) + 0.5 for side in shape]
    pixel = UNIT_SIDE / min(shape[:2])
    x = ((sides[0] - shape[0] / 2) * pixel - anatomy.centre[0])[:, None, None]
    y = ((sides[1] - shape[1] / 2) * pixel - anatomy.centre[1])[None, :, None]
    # The ventricles shorten as they contract.
    length = anatomy.length * (1.0 if phase == "ED" else rng.uniform(*SHORTENING))
    down = (sides[2] / shape[2] / length)[None, None, :]  # 0 at the base, 1 at the apex

    strength, axis = anatomy.ellipticity
    distance = np.hypot(x, y) * (1 + strength * np.cos(2 * (np.arctan2(y, x) - axis)))
    taper = np.sqrt(np.clip(1 - (0.9 * down) ** 2, 0, 1))
    radius, wall = rng.uniform(*CAVITY_RADIUS[phase]), rng.uniform(*WALL[phase])
    outer = (radius + wall) * taper
    inside = (distance <= outer) & (down < 1)
    # The wall keeps its thickness down to the apex, where the cavity closes.
    cavity = inside & (distance <= outer - wall)

    right_taper = np.sqrt(np.clip(1 - (down / 0.85) ** 2, 0, 1))
    right_radius = anatomy.right * (1.0 if phase == "ED" else 0.85) * (radius + wall) * right_taper
    right_x = x - 0.75 * outer * np.cos(anatomy.septum)
    right_y = y - 0.75 * outer * np.sin(anatomy.septum)
    right = (np.hypot(right_x, right_y) <= right_radius) & (down < 0.85) & (distance > outer)
    return np.stack([right, inside & ~cavity, cavity])


def _draw_image(rng: np.random.Generator, anatomy: _Anatomy, label: Mask) -> Volume:
    """Bright blood and dark muscle in patchy surroundings, z-scored, shape (1, *shape)."""
    right, myocardium, cavity = label
    image = anatomy.surroundings.copy()
    image[right | cavity] = BLOOD
    image[myocardium] = MUSCLE
    # In voxels, on every grid alike: it stands for how an image is sampled, not for the heart.
    image = np.asarray(ndimage.gaussian_filter(image, BLUR_SIGMA))
    image += TEXTURE_AMPLITUDE * anatomy.texture
    image += NOISE_AMPLITUDE * rng.standard_normal(image.shape, dtype=np.float32)
    image -= image.mean()
    image /= image.std()
    return np.asarray(image[np.newaxis], dtype=np.float32)


class CardiacPhantomSpec(DataSpec):
    """Short-axis hearts of one channel, each subject at end-diastole (ED) and end-systole (ES).

    Right ventricle (a bright crescent), myocardium (a dark ring) and left ventricle (its bright cavity),
    tapering to the apex. At ES the cavity is smaller and the ring thicker.
    """

    source: Literal["phantom-cardiac"] = "phantom-cardiac"
    shape: tuple[int, int, int] = (32, 32, 8)
    """Sides of a volume [voxels], the last along the heart's long axis: the resolution of a fixed field of view."""
    train: int = Field(default=36, ge=2)
    """Training subjects, two cases each."""
    test: int = Field(default=24, ge=2)
    """Test subjects, two cases each."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    lacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Classes that the hearts of a group rightly lack: ``{ES: [RV]}``. Their maps are empty, full labels too."""

    ADDED: ClassVar[frozenset[str]] = frozenset({"lacks"})

    @field_validator("shape")
    @classmethod
    def _heart_fits(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(shape[:2]) < 24 or shape[2] < 4:
            raise ValueError(f"shape {shape} is too coarse for a wall of 1.5 voxels in 32, expected at least 24×24×4")
        return shape

    @field_validator("lacks")
    @classmethod
    def _lacks_known_names(cls, lacks: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        odd = [f"unknown group {name!r}, known: {', '.join(PHASES)}" for name in lacks if name not in PHASES]
        for name in dict.fromkeys(name for names in lacks.values() for name in names):
            if name not in CLASSES:
                odd.append(f"unknown class {name!r}, known: {', '.join(CLASSES)}")
            elif all(name in lacks.get(group, ()) for group in PHASES):
                odd.append(f"class {name!r} is lacked by every group; leave it to one")
        if odd:
            raise ValueError("; ".join(odd))
        return lacks

    @property
    def head(self) -> Head:
        """Three maps that exclude each other."""
        return "softmax"

    @property
    def paired(self) -> bool:
        """A subject has both phases."""
        return True

    @property
    def patch_shape(self) -> Shape:
        """The whole volume."""
        return self.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """Right ventricle, myocardium, left ventricle's cavity: labels 1, 2 and 3 of ACDC."""
        return CLASSES

    @property
    def groups(self) -> tuple[str, ...]:
        """End-diastole and end-systole."""
        return PHASES

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Sides of a voxel [mm]."""
        pixel = PLANE_MM / min(self.shape[:2])
        return pixel, pixel, LENGTH_MM / self.shape[2]

    def fingerprint(self) -> str:
        """Name the recipe."""
        return f"phantom-cardiac-{RECIPE}"

    def list_cases(self) -> list[CaseInfo]:
        """Training subjects, then test subjects, each at ED and ES."""
        return [
            CaseInfo(f"{subject}-{phase}", subject, phase, split)
            for split, count in zip(SPLITS, (self.train, self.test), strict=True)
            for subject in (case_name(split, index) for index in range(count))
            for phase in PHASES
        ]

    def load_case(self, info: CaseInfo) -> CaseArrays:
        """Generate one case: image (1, *shape), z-scored; label (3, *shape), no two classes in one voxel.

        Raises: ValueError for a case that the source does not have.
        """
        split, index = parse_case_name(info.subject)
        anatomy = _draw_anatomy(np.random.default_rng([self.seed, split, index]), self.shape)
        # From 1: a seed sequence takes a trailing 0 for nothing, and ED would repeat the anatomy's numbers.
        rng = np.random.default_rng([self.seed, split, index, 1 + PHASES.index(info.group)])
        label = _draw_label(rng, self.shape, anatomy, info.group)
        for name in self.lacks.get(info.group, ()):
            label[CLASSES.index(name)] = False  # before the image, which shows what the label has
        image = _draw_image(rng, anatomy, label)
        return CaseArrays(image, label.astype(np.uint8), self.spacing)
