"""NIfTI volumes opened so that whatever is wrong with a file is told with its name."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from trainers.errors import Fault, InputError

# Everything that nibabel, gzip and zlib were seen to raise on empty, truncated and overwritten files.
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError)


@dataclass(frozen=True)
class NiftiVolume:
    """The header of a 3-D volume, its voxels not read yet.

    spacing: sides of a voxel [mm]; affine: (4, 4) from voxels to the scanner's space [mm].
    """

    path: Path
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]
    _image: Any

    def read(self) -> NDArray[Any]:
        """Read the voxels, scaled as the header says.

        Raises: InputError if the file is damaged, or a voxel is not finite.
        """
        try:
            voxels: NDArray[Any] = np.asanyarray(self._image.dataobj)
        except UNREADABLE as error:
            raise InputError(_unreadable(self.path, error)) from error
        if not np.isfinite(voxels).all():
            count = int((~np.isfinite(voxels)).sum())
            raise InputError(Fault(str(self.path), f"{count} voxels are not finite", "replace them in the file"))
        return voxels

    def check_whole(self) -> None:
        """Find a file cut short without reading its voxels.

        Raises: InputError if the file ends before its voxels do.
        """
        data = self._image.dataobj
        expected = data.offset + int(np.prod(self.shape)) * data.dtype.itemsize
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
            raise InputError(_unreadable(self.path, error)) from error
        if not whole:
            # Several gzip members or bytes after the voxels are legal and rare: only reading tells.
            self.read()


def open_nifti(path: Path) -> NiftiVolume:
    """Read the header of a 3-D volume.

    Raises: InputError if the file is unreadable, not 3-D, or its spacing is not positive.
    """
    try:
        image: Any = nibabel.load(path)
        shape, zooms = image.shape, image.header.get_zooms()
    except UNREADABLE as error:
        raise InputError(_unreadable(path, error)) from error
    if len(shape) != 3:
        raise InputError(Fault(str(path), f"volume of shape {shape}, expected three dimensions"))
    spacing = tuple(float(zoom) for zoom in zooms)
    if not all(np.isfinite(side) and side > 0 for side in spacing):
        raise InputError(Fault(str(path), f"spacing {spacing} mm, expected finite numbers above 0", "mend its header"))
    return NiftiVolume(path, shape, (spacing[0], spacing[1], spacing[2]), image.affine, image)


def _unreadable(path: Path, error: Exception) -> Fault:
    return Fault(str(path), f"unreadable NIfTI file ({error})", "fetch it again; it may be truncated")
