"""What all sources of files share: cases as paths, and the way from them to prepared arrays."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from trainers.data.base import CaseArrays, CaseInfo, CaseReport, DataSpec, Head, Listing, OriginalLabel, voxel_ml
from trainers.data.formats.case_files import CaseFiles, ScanResult
from trainers.data.formats.image2d import SUFFIXES, Picture, open_picture
from trainers.data.formats.nifti import NiftiVolume, open_nifti
from trainers.data.geometry.grid import PatchGrid, Shape, Spacing, bounding_box, box_middle, middle
from trainers.data.geometry.intensity import Intensity, normalise
from trainers.data.geometry.resample import LabelMode, resample_image, resample_maps
from trainers.errors import Fault, InputError

PREPARATION_VERSION = 2
"""Number of the preparation; raise it with every change that makes other voxels from the same files."""
PLAUSIBLE_MM = (0.02, 30.0)
"""Sides of a voxel outside of these are taken for a mistake of unit or header."""
AFFINE_TOLERANCE_MM = 1e-2
"""What rounding in a header may move a corner of the volume by."""
LABEL_ROUNDING = 1e-2
"""How far a label's value may be from the whole number that it stands for: a scale in a header rounds it."""

Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Voxels = Annotated[int, Field(ge=4)]
Volume = NiftiVolume | Picture


class VolumeSpec(DataSpec):
    """Images and labels in files, brought to one spacing, cropped and normalised.

    Axes are turned to run right, anterior and superior. Images are resampled linearly; beyond the field of
    view they are 0, the mean after a z-score. Scores are taken in the space of the file.
    """

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"root", "tolerance"})
    ADDED: ClassVar[frozenset[str]] = frozenset({"tolerance"})

    root: Path
    """The folder, or the file, that holds the source."""
    spacing: tuple[Millimetres, ...] | None = None
    """Sides of a voxel after resampling [mm], two numbers for pictures; none: each case keeps its own."""
    patch: tuple[Voxels, ...]
    """Sides of what training sees [voxels after resampling], two numbers for pictures."""
    crop: Literal["center", "label", "none"] = "center"
    """``center``, ``label``: cases are cut, or padded, to the patch, about their middle or that of the label's
    bounding box. ``none``: kept whole; trained by patches and predicted by a sliding window."""
    intensity: Intensity = "zscore"
    """``zscore``: mean 0 and deviation 1 over each channel; ``zscore_nonzero``: over its voxels that are not 0,
    which stay 0; ``clip_zscore``: clipped to the 1st to 99th percentile before; ``none``: as stored."""
    labels: LabelMode = "signed_distance"
    """How labels are resampled: through signed distances, linearly with a threshold, or to the nearest voxel."""
    may_be_empty: tuple[str, ...] = ()
    """Classes that a case may rightly lack; an empty map of any other class is a fault."""
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] = AFFINE_TOLERANCE_MM
    """How far the headers of a case's files may put a corner apart [mm]. It changes no voxel, and no trial's key."""

    @property
    @abstractmethod
    def values(self) -> Mapping[str, tuple[int, ...]]:
        """Values of the label files that make each class."""

    @property
    def background(self) -> tuple[int, ...]:
        """Values of the label files, beside 0, that belong to no class."""
        return ()

    @abstractmethod
    def scan(self) -> ScanResult:
        """Look at folders and lists, without opening volumes."""

    @property
    def head(self) -> Head:
        """Classes exclude each other where there are several."""
        return "softmax" if len(self.values) > 1 else "sigmoid"

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order in which they are given."""
        return tuple(self.values)

    @property
    def patch_shape(self) -> Shape:
        """Two or three numbers."""
        return self.patch

    @property
    def whole(self) -> bool:
        """Whether cases are not cut to the patch."""
        return self.crop == "none"

    @model_validator(mode="after")
    def _is_of_one_dimension(self) -> VolumeSpec:
        problems = []
        if len(self.patch) not in (2, 3):
            problems.append(f"patch has {len(self.patch)} numbers, expected three, or two for pictures")
        if self.spacing is not None and len(self.spacing) != len(self.patch):
            problems.append(f"spacing has {len(self.spacing)} numbers and patch {len(self.patch)}")
        problems += [
            f"unknown class {name!r} in may_be_empty, known: {', '.join(self.values)}"
            for name in self.may_be_empty
            if name not in self.values
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def fingerprint(self) -> str:
        """Hash the content of every file used, with its case.

        Raises: InputError with every fault of the layout.
        """
        digest = hashlib.blake2b(f"volumes-{PREPARATION_VERSION}".encode(), digest_size=16)
        for files in map(self._files, self.list_cases()):
            digest.update(repr((files.case, files.subject, files.group, files.split)).encode())
            for path in (*files.images, files.label):
                stat = path.stat()
                digest.update(_file_digest(path, stat.st_size, stat.st_mtime_ns))
        return digest.hexdigest()

    def list_cases(self) -> list[CaseInfo]:
        """All cases, in a fixed order, from names and lists alone.

        Raises: InputError with every fault of the layout.
        """
        found = self.survey()
        if found.faults:
            raise InputError(found.faults)
        return list(found.cases)

    def survey(self) -> Listing:
        """Faults and notices of the folders and lists, and the cases whose files are there."""
        layout = self.scan()
        # Absolute, since a case may be loaded by a process with another working directory.
        cases = [
            replace(files, images=tuple(path.absolute() for path in files.images), label=files.label.absolute())
            for files in layout.cases
        ]
        return Listing(cases, layout.faults, layout.notices)

    def load_case(self, info: CaseInfo) -> CaseArrays:
        """Read and prepare one case: image (channel, *space), label (class, *space).

        Raises: InputError naming the files at fault.
        """
        files = self._files(info)
        images, label = self._open(files)
        maps = self._maps(label)
        grid = self._grid(label, maps)
        spacing = self.spacing or label.spacing
        truth = OriginalLabel(encode(maps), label.spacing, grid)
        return CaseArrays(self._sample(images, grid), self._resample(maps, label.spacing, grid), spacing, truth)

    def prepare_images(self, images: Sequence[Volume]) -> tuple[NDArray[np.float32], PatchGrid]:
        """Read and prepare a case's images (channel, *space), as for training, and how they lie in the files' space.

        With ``crop: label`` they are kept whole: there is no label to cut about.

        Raises: InputError naming the files at fault.
        """
        grid = self._grid(images[0], None)
        return self._sample(images, grid), grid

    def inspect_case(self, info: CaseInfo) -> CaseReport:
        """Look at every header, every voxel of the label and the length of each image."""
        files = self._files(info)
        faults: list[Fault] = []
        try:
            images, label = self._open(files)
        except InputError as error:
            return CaseReport(error.faults)
        faults += cut_short(images)
        remarks = [f"{one.path}: {text}" for one in (*images, label) for text in one.contradictions]
        sides = label.spacing
        if not all(PLAUSIBLE_MM[0] <= side <= PLAUSIBLE_MM[1] for side in sides):
            low, high = PLAUSIBLE_MM
            fault = f"spacing {', '.join(f'{side:g}' for side in sides)} mm, expected {low:g} to {high:g}"
            faults.append(Fault(str(label.path), fault, "mend its header: its spacing, or the unit that it states"))
        image_hash = ""
        if not faults:
            channels, wrong = self._read_images(images)
            faults += wrong
            image_hash = _hash_of(channels)
            remarks += [
                f"{images[0].path}: all voxels of a channel have the same value, {channel.flat[0]:g}"
                for channel in channels
                if channel.min() == channel.max()
            ]
        try:
            voxels = self._read_label(label)
            maps = self._split(voxels)
        except InputError as error:
            return CaseReport((*faults, *error.faults))
        counts = maps.sum(axis=tuple(range(1, maps.ndim)))
        for name, count in zip(self.classes, counts.tolist(), strict=True):
            if not count and name not in self.may_be_empty:
                remedy = "label it, or list the class in data.may_be_empty if a case may rightly lack it"
                faults.append(Fault(str(label.path), f"no voxel of {name}", remedy))
        if faults:
            return CaseReport(tuple(faults))
        ml = counts * voxel_ml(sides)
        prepared = self._resample(maps, sides, self._grid(label, maps))
        volumes = prepared.sum(axis=tuple(range(1, prepared.ndim)))
        found = count_channels(images)
        return CaseReport(
            (),
            tuple(ml.tolist()),
            tuple(volumes.tolist()),
            label.shape,
            sides,
            found,
            values=tuple(value for value in np.unique(voxels).astype(int).tolist() if value),
            image_hash=image_hash,
            label_hash=_hash_of([voxels.astype(np.uint8)]) if counts.any() else "",
            remarks=tuple(remarks),
        )

    def _files(self, info: CaseInfo) -> CaseFiles:
        if isinstance(info, CaseFiles):
            return info
        found = next((files for files in self.list_cases() if files.case == info.case), None)
        if not isinstance(found, CaseFiles):
            raise InputError(Fault(str(self.root), f"no case {info.case}"))
        return found

    def _open(self, files: CaseFiles) -> tuple[list[Volume], Volume]:
        """Read the headers of a case's images and label.

        Raises: InputError with what is wrong with any, or if they do not lie in the same place.
        """
        *images, label = self.open_together((*files.images, files.label), files.label)
        return images, label

    def open_together(self, paths: Sequence[Path], label: Path | None = None) -> list[Volume]:
        """Read the headers of files that lie in one place; ``label``: which of them is one.

        Raises: InputError with what is wrong with any, or if they do not lie in the same place.
        """
        volumes: list[Volume] = []
        faults: list[Fault] = []
        for path in paths:
            try:
                volumes.append(self.open_volume(path, channels=path != label))
            except InputError as error:
                faults.extend(error.faults)
        if faults:
            raise InputError(faults)
        *_, last = volumes
        if len(last.shape) != len(self.patch):
            remedy = "give patch and spacing as many numbers" if label else f"give images in {len(self.patch)}-D"
            raise InputError(
                Fault(str(last.path), f"{len(last.shape)}-D, and data.patch has {len(self.patch)}", remedy)
            )
        # The label and the other channels are told against the first image.
        for other in volumes[1:]:
            faults += _mismatch(other, volumes[0], "label" if other.path == label else "channel", self.tolerance)
        if faults:
            raise InputError(faults)
        return volumes

    def open_volume(self, path: Path, channels: bool = False) -> Volume:
        """Open a file by its ending; ``channels``: it may hold several."""
        if path.suffix.lower() in SUFFIXES:
            return open_picture(path, label=not channels)
        return open_nifti(path, channels=channels and self.allows_channels)

    @property
    def allows_channels(self) -> bool:
        """Whether a NIfTI image may have a fourth axis, of channels."""
        return False

    def _maps(self, label: Volume) -> NDArray[np.bool_]:
        """Read a label's voxels as one map a class, (class, *source); raises as ``_read_label`` does."""
        return self._split(self._read_label(label))

    def _split(self, voxels: NDArray[Any]) -> NDArray[np.bool_]:
        return np.stack([np.isin(voxels, values) for values in self.values.values()])

    def _read_label(self, label: Volume) -> NDArray[Any]:
        """Read a label's voxels (*source), whole numbers up to rounding.

        Raises: InputError if it is damaged or has values that were not declared.
        """
        voxels = label.read()
        if voxels.dtype.kind == "f":
            rounded = np.rint(voxels)
            near = np.abs(voxels - rounded) <= LABEL_ROUNDING
            voxels = np.where(near, rounded, voxels)
        known = sorted({0, *self.background, *(value for values in self.values.values() for value in values)})
        found = np.unique(voxels)
        unknown = [value for value in found.tolist() if value not in known]
        if unknown:
            shown = ", ".join(f"{value:.9g}" for value in unknown[:5]) + (" and more" if len(unknown) > 5 else "")
            raise InputError(Fault(str(label.path), f"label values {shown}", f"known: {', '.join(map(str, known))}"))
        return voxels

    def _read_images(self, images: Sequence[Volume]) -> tuple[list[NDArray[np.float32]], list[Fault]]:
        """All channels as training gets their intensities, and what is wrong with any."""
        channels, faults = list[NDArray[np.float32]](), list[Fault]()
        for image in images:
            try:
                channels += self._channels(image)
            except InputError as error:
                faults.extend(error.faults)
        return channels, faults

    def _grid(self, volume: Volume, maps: NDArray[np.bool_] | None) -> PatchGrid:
        """Where the prepared case lies. maps: of the label; None where there is none to cut about."""
        spacing = self.spacing or volume.spacing
        step = tuple(new / old for new, old in zip(spacing, volume.spacing, strict=True))
        shape, centre = self.patch, middle(volume.shape)
        if self.crop == "label" and maps is not None:
            box = bounding_box(np.asarray(maps.any(axis=0)))
            centre = centre if box is None else box_middle(box)
        elif self.crop != "center":
            # A patch must fit in, and a whole voxel more than fits is better than one less.
            sides = (int(np.ceil(side / by - 1e-6)) for side, by in zip(volume.shape, step, strict=True))
            shape = tuple(max(side, least) for side, least in zip(sides, self.patch, strict=True))
        return PatchGrid(volume.shape, shape, step, centre)

    def _resample(self, maps: NDArray[np.bool_], spacing: Spacing, grid: PatchGrid) -> NDArray[np.uint8]:
        return resample_maps(maps, self.labels, spacing, grid, exclusive=self.head == "softmax")

    def _sample(self, images: Sequence[Volume], grid: PatchGrid) -> NDArray[np.float32]:
        channels = [resample_image(channel, grid, fill=0) for image in images for channel in self._channels(image)]
        return np.stack(channels)

    def _channels(self, image: Volume) -> list[NDArray[np.float32]]:
        voxels = image.read()
        return [normalise(one, self.intensity, image.path) for one in (voxels if image.channels else [voxels])]


def count_channels(images: Sequence[Volume]) -> int:
    """Channels of a case's images together."""
    return sum(image.channels or 1 for image in images)


def cut_short(images: Sequence[Volume]) -> list[Fault]:
    """Faults of the files that end before their voxels do."""
    faults: list[Fault] = []
    for image in images:
        try:
            image.check_whole()
        except InputError as error:
            faults.extend(error.faults)
    return faults


def encode(maps: NDArray[np.bool_]) -> NDArray[np.unsignedinteger]:
    """Label maps (class, *source) as one array of whole numbers, bit c set where class c is."""
    kind = np.uint8 if len(maps) <= 8 else np.uint16 if len(maps) <= 16 else np.uint64
    codes = np.zeros(maps.shape[1:], dtype=kind)
    for index, one in enumerate(maps):
        codes |= one.astype(kind) << kind(index)
    return codes


def _mismatch(other: Volume, image: Volume, kind: str, tolerance: float) -> list[Fault]:
    if other.shape != image.shape:
        came, wanted = ("×".join(map(str, shape)) for shape in (other.shape, image.shape))
        fault = f"{kind} of shape {came}, expected its image's {wanted}"
        return [Fault(str(other.path), fault, f"compare {image.path.name}")]
    if other.affine is None or image.affine is None:
        return []
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in image.shape])).reshape(3, -1)
    moved = np.abs((other.affine - image.affine)[:3, :3] @ corners + (other.affine - image.affine)[:3, 3:]).max()
    if moved > tolerance:
        fault = f"{kind}'s affine differs from its image's, by {moved:.3g} mm at a corner"
        remedy = (
            f"compare {image.path.name}; if they do lie together, allow it by data.tolerance (now {tolerance:g} mm)"
        )
        return [Fault(str(other.path), fault, remedy)]
    return []


def _hash_of(arrays: Sequence[NDArray[Any]]) -> str:
    """Of voxels and not of bytes: the same image packed otherwise is the same."""
    digest = hashlib.blake2b(repr([(array.shape, array.dtype.str) for array in arrays]).encode(), digest_size=16)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest() if arrays else ""


@cache
def _file_digest(path: Path, size: int, modified_ns: int) -> bytes:  # noqa: ARG001 the arguments are the cache's key
    """Hash a file's content, once for each state of it that this process sees."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest()
