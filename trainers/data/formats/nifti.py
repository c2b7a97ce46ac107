"""NIfTI volumes opened so that whatever is wrong with a file is told with its name."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel import orientations
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from trainers.data.geometry.grid import Shape, Spacing
from trainers.errors import Fault, InputError

# Everything that nibabel, gzip and zlib were seen to raise on empty, truncated and overwritten files; memory runs
# out where a header states a size that no file has.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)
NUMBERS = "biuf"
"""numpy's kinds of one real number a voxel; colours and complex numbers are not."""
UNITS_MM = {"meter": 1000.0, "micron": 0.001}
"""Length [mm] of the units that a header may state beside mm; one that states none is taken to be in mm."""
PLACE_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)
"""What a header says of its place; a label map takes it over as it stands."""
SAME_SPACING = 0.01
"""Relative difference of two statements of a spacing that rounding explains."""


@dataclass(frozen=True)
class NiftiVolume:
    """The header of a volume, its voxels not read yet; axes run to the right, anterior and superior.

    shape: of space; spacing: sides of a voxel [mm]; affine: (4, 4) from voxels to the scanner's space
    [mm]; channels: volumes along a fourth axis, 0 where the file has none.
    """

    path: Path
    shape: Shape
    spacing: Spacing
    affine: NDArray[np.float64]
    channels: int
    _image: Any
    _turn: NDArray[np.float64]
    contradictions: tuple[str, ...] = ()
    """Statements of the header that contradict each other, both values and the one that is used."""

    def read(self) -> NDArray[Any]:
        """Read the voxels, scaled as the header says: (*shape), or (channel, *shape).

        Raises: InputError if the file is damaged, or a voxel is not finite.
        """
        try:
            voxels: NDArray[Any] = np.asanyarray(self._image.dataobj)
        except UNREADABLE as error:
            raise InputError(unreadable(self.path, "NIfTI file", error)) from error
        voxels = voxels.reshape(_without_ones(voxels.shape, self.channels > 0))
        voxels = orientations.apply_orientation(voxels, self._turn)
        return check_finite(np.moveaxis(voxels, -1, 0) if self.channels else voxels, self.path)

    def check_whole(self) -> None:
        """Find a file cut short without reading its voxels.

        Raises: InputError if the file ends before its voxels do.
        """
        data = self._image.dataobj
        expected = data.offset + int(np.prod(data.shape)) * data.dtype.itemsize
        try:
            size = self.path.stat().st_size
            if self.path.suffix.lower() == ".gz":
                with self.path.open("rb") as stream:
                    stream.seek(-4, 2)
                    # gzip ends with the length of what it holds, modulo 2**32.
                    whole = int.from_bytes(stream.read(), "little") == expected % 2**32
            else:
                whole = size >= expected
        except OSError as error:
            raise InputError(unreadable(self.path, "NIfTI file", error)) from error
        if not whole:
            # Several gzip members or bytes after the voxels are legal and rare: only reading tells.
            self.read()

    def save_label(self, label: NDArray[np.uint8], path: Path) -> None:
        """Write a label map (*shape) in this image's own space: its axes, spacing, units, matrices and their codes."""
        back = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.io_orientation(self._affine))
        image = nibabel.Nifti1Image(orientations.apply_orientation(label, back), self._affine)
        # As the image has them, so that every viewer lays the two over each other: codes, both matrices, units. The
        # spacing is not always the affine's (ACDC's says 1 mm); cases are resampled, and volumes told, by it.
        for field in PLACE_FIELDS:
            image.header[field] = self._image.header[field]
        image.header["pixdim"][:4] = self._image.header["pixdim"][:4]
        nibabel.save(image, path)

    @property
    def _affine(self) -> NDArray[np.float64]:
        affine: NDArray[np.float64] = self._image.affine
        return affine


def open_nifti(path: Path, channels: bool = False) -> NiftiVolume:
    """Read the header of a 3-D volume; ``channels``: a fourth axis is allowed, of channels.

    Raises: InputError if the file is unreadable, has other dimensions, or its geometry makes no sense.
    """
    try:
        # An offset that is no number is refused below; numpy would warn of it first.
        with np.errstate(invalid="ignore"):
            image: Any = nibabel.load(path)
        affine, zooms = image.affine, image.header.get_zooms()
        shape, kind = _without_ones(image.shape, channels), image.get_data_dtype()
        unit = _unit(image.header)
    except UNREADABLE as error:
        raise InputError(unreadable(path, "NIfTI file", error)) from error
    if len(shape) not in ((3, 4) if channels else (3,)):
        wanted = "three dimensions, or a fourth of channels" if channels else "three dimensions"
        remedy = "write one file a channel" if len(shape) == 4 else "write it as a volume"
        raise InputError(Fault(str(path), f"volume of shape {_by(shape)}, expected {wanted}", remedy))
    if min(shape) < 1:
        raise InputError(Fault(str(path), f"volume of shape {_by(shape)}, expected sides above 0", "mend its header"))
    if kind.kind not in NUMBERS:
        raise InputError(Fault(str(path), f"voxels of type {kind}, expected real numbers", "convert it"))
    by = UNITS_MM.get(unit, 1.0)
    # Where that is 1, nothing is multiplied: no bit may change.
    spacing = tuple(float(zoom) * by if by != 1 else float(zoom) for zoom in zooms[:3])
    if by != 1:
        affine = np.diag([by, by, by, 1]) @ affine
    if not all(np.isfinite(side) and side > 0 for side in spacing):
        raise InputError(Fault(str(path), f"spacing {spacing} mm, expected finite numbers above 0", "mend its header"))
    # An axis so short that it counts as none has no orientation, whatever the determinant.
    turn = orientations.io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if np.isnan(turn).any() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(Fault(str(path), "affine is singular or not finite", "mend its header"))
    order = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in range(3)]
    return NiftiVolume(
        path,
        tuple(int(shape[axis]) for axis in order),
        tuple(spacing[axis] for axis in order),
        affine @ orientations.inv_ornt_aff(turn, shape[:3]),
        shape[3] if len(shape) == 4 else 0,
        image,
        turn,
        _contradictions(image.header, affine, spacing, unit),
    )


def check_finite(voxels: NDArray[Any], path: Path) -> NDArray[Any]:
    """The same voxels. Raises: InputError if one is not finite."""
    if not np.isfinite(voxels).all():
        count = int((~np.isfinite(voxels)).sum())
        raise InputError(Fault(str(path), f"{count} voxels are not finite", "replace them in the file"))
    return voxels


def unreadable(path: Path, kind: str, error: Exception) -> Fault:
    """The fault of a file that its library cannot read, by what its first bytes show that it is."""
    what, remedy = recognise(path)
    return Fault(str(path), f"unreadable {kind} ({what or error})", remedy or "fetch it again; it may be truncated")


def recognise(path: Path) -> tuple[str, str]:
    """What a file that cannot be read holds, and what to do; both empty where nothing is known of it."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4096)
    except OSError:
        return "", ""
    packed = path.name.lower().endswith(".gz")
    if not start:
        return "empty, 0 bytes", "fetch it again"
    if not start.strip(b"\0"):
        return "it begins with zeros only", "restore it from its source; a copy has failed"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself", "run git lfs pull"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, not the file itself", "fetch it again, logged in where its source asks for it"
    if start[:2] == b"PK":
        return "a zip archive", "unpack it"
    if packed and start[:2] != b"\x1f\x8b":
        if start[344:347] in (b"n+1", b"ni1") or start[4:7] == b"n+2":
            return "named .gz, and it is not packed", f"name it {path.name[:-3]}, or pack it with gzip"
        return "named .gz, and it is not packed", "fetch it again, or name it as what it is"
    if not packed and start[:2] == b"\x1f\x8b":
        return "packed with gzip, and not named .gz", f"name it {path.name}.gz"
    return "", ""


def _unit(header: Any) -> str:
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:
        # A code that the format does not define says nothing.
        return "unknown"


def _without_ones(shape: Shape, channels: bool) -> Shape:
    """A volume's shape without axes of one beyond the third; with ``channels`` the last of four or more is kept."""
    if len(shape) <= 3:
        return tuple(shape)
    if channels:
        return (*shape[:3], *[side for side in shape[3:-1] if side != 1], shape[-1])
    return (*shape[:3], *[side for side in shape[3:] if side != 1])


def _contradictions(header: Any, affine: NDArray[np.float64], spacing: Spacing, unit: str) -> tuple[str, ...]:
    """What a header says twice and differently."""
    found = []
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(sides, spacing, rtol=SAME_SPACING):
        stated, other = (", ".join(f"{side:.4g}" for side in one) for one in (spacing, sides))
        found.append(f"pixdim states {stated} mm and the affine {other} mm; pixdim is used")
    try:
        (sform, scode), (qform, qcode) = header.get_sform(coded=True), header.get_qform(coded=True)
    except UNREADABLE:
        return tuple(found)
    if scode and qcode and sform is not None and qform is not None:
        reach = np.append(np.array(header.get_data_shape()[:3]) - 1, 1)
        apart = float(np.abs((sform - qform) @ reach)[:3].max()) * UNITS_MM.get(unit, 1.0)
        if apart > 1:
            found.append(f"sform and qform differ by {apart:.3g} mm at a corner; sform is used")
    return tuple(found)


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape))
