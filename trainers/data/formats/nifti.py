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

    def read(self) -> NDArray[Any]:
        """Read the voxels, scaled as the header says: (*shape), or (channel, *shape).

        Raises: InputError if the file is damaged, or a voxel is not finite.
        """
        try:
            voxels: NDArray[Any] = np.asanyarray(self._image.dataobj)
        except UNREADABLE as error:
            raise InputError(unreadable(self.path, "NIfTI file", error)) from error
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
            if self.path.suffix == ".gz":
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
        """Write a label map (*shape) in this image's own space: its axes, affine, spacing and units."""
        back = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.io_orientation(self._affine))
        image = nibabel.Nifti1Image(orientations.apply_orientation(label, back), self._affine)
        # Not always the affine's: ACDC's says 1 mm. Cases are resampled, and volumes told, by the header's spacing.
        image.header.set_zooms(self._image.header.get_zooms()[:3])
        image.header.set_xyzt_units("mm")
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
        shape, affine, zooms = image.shape, image.affine, image.header.get_zooms()
        kind = image.get_data_dtype()
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
    spacing = tuple(float(zoom) for zoom in zooms[:3])
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
    )


def check_finite(voxels: NDArray[Any], path: Path) -> NDArray[Any]:
    """The same voxels. Raises: InputError if one is not finite."""
    if not np.isfinite(voxels).all():
        count = int((~np.isfinite(voxels)).sum())
        raise InputError(Fault(str(path), f"{count} voxels are not finite", "replace them in the file"))
    return voxels


def unreadable(path: Path, kind: str, error: Exception) -> Fault:
    """The fault of a file that its library cannot read."""
    return Fault(str(path), f"unreadable {kind} ({error})", "fetch it again; it may be truncated")


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape))
