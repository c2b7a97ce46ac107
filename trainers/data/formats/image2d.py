"""2-D images, PNG and TIFF, opened as volumes of two dimensions are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainers.data.formats.nifti import check_finite, unreadable
from trainers.data.geometry.grid import Shape, Spacing
from trainers.errors import Fault, InputError

SUFFIXES = (".png", ".tif", ".tiff")
GREY = ("1", "L", "P", "I", "I;16", "I;16B", "F")
"""Pillow's modes with one number a pixel; of a palette, its index."""
UNREADABLE = (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Picture:
    """A picture's header; axes run down and to the right.

    shape: (rows, columns); spacing: 1 mm, since pictures do not say; channels: 3 for colours, else 0.
    """

    path: Path
    shape: Shape
    channels: int
    spacing: Spacing = (1.0, 1.0)
    affine: None = None

    def read(self) -> NDArray[Any]:
        """Read the pixels: (*shape), or (channel, *shape).

        Raises: InputError if the file is damaged, or a pixel is not finite.
        """
        try:
            with Image.open(self.path) as image:
                pixels = np.array(image)
        except UNREADABLE as error:
            raise InputError(unreadable(self.path, "picture", error)) from error
        return check_finite(np.moveaxis(pixels, -1, 0) if self.channels else pixels, self.path)

    def check_whole(self) -> None:
        """Find a file cut short; a picture is small enough to be read."""
        self.read()

    def save_label(self, label: NDArray[np.uint8], path: Path) -> None:
        """Write a label map (*shape) as PNG."""
        Image.fromarray(label).save(path)


def open_picture(path: Path) -> Picture:
    """Read the header of a picture.

    Raises: InputError if the file is unreadable, has several pages, or colours that are not plain RGB.
    """
    try:
        with Image.open(path) as image:
            pages, mode, size = getattr(image, "n_frames", 1), image.mode, image.size
    except UNREADABLE as error:
        raise InputError(unreadable(path, "picture", error)) from error
    if pages != 1:
        raise InputError(Fault(str(path), f"{pages} pages, expected one", "write one file a page, or a NIfTI volume"))
    if mode not in (*GREY, "RGB"):
        raise InputError(Fault(str(path), f"pixels of mode {mode}, expected grey or RGB", "convert it"))
    return Picture(path, (size[1], size[0]), 3 if mode == "RGB" else 0)
