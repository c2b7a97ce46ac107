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
GREY = ("1", "L", "LA", "P", "I", "I;16", "I;16B", "F")
"""Pillow's modes with one number a pixel; of a palette, its index."""
COLOURS = ("RGB", "RGBA")
OPAQUE = 255
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
    label: bool = False
    contradictions: tuple[str, ...] = ()

    def read(self) -> NDArray[Any]:
        """Read the pixels: (*shape), or (channel, *shape).

        A label in colours whose channels are equal is read as the grey that it is. An alpha channel that hides
        nothing is left out.

        Raises: InputError if the file is damaged, a pixel is not finite, a label's colours are no grey, an alpha
            channel hides something, or an image's pixels are no intensities but indices of a palette of others.
        """
        try:
            with Image.open(self.path) as image:
                mode, pixels = image.mode, np.array(image)
                palette = np.array(image.getpalette("RGB") or []).reshape(-1, 3) if mode == "P" else None
        except UNREADABLE as error:
            raise InputError(unreadable(self.path, "picture", error)) from error
        if palette is not None and not self.label:
            used = np.unique(pixels)
            if not (used < len(palette)).all() or (palette[used] != used[:, np.newaxis]).any():
                fault = "pixels are indices of a palette, whose colours are others; expected intensities"
                raise InputError(Fault(str(self.path), fault, "convert it to grey or RGB"))
        if mode in ("LA", "RGBA"):
            if not self.label and (pixels[..., -1] != OPAQUE).any():
                fault = "an alpha channel that hides part of the picture"
                raise InputError(Fault(str(self.path), fault, "save it without one"))
            pixels = pixels[..., :-1]
        if mode == "LA":
            pixels = pixels[..., 0]
        if mode in COLOURS and self.label:
            if (pixels != pixels[..., :1]).any():
                row, column = np.argwhere((pixels != pixels[..., :1]).any(axis=-1))[0].tolist()
                shown = ", ".join(map(str, pixels[row, column].tolist()))
                fault = f"a label in colours, such as {shown} at row {row}, column {column}; expected whole numbers"
                raise InputError(Fault(str(self.path), fault, "save it in grey, one value a class"))
            pixels = pixels[..., 0]
        return check_finite(np.moveaxis(pixels, -1, 0) if self.channels else pixels, self.path)

    def check_whole(self) -> None:
        """Find a file cut short; a picture is small enough to be read."""
        self.read()

    def save_label(self, label: NDArray[np.uint8], path: Path) -> None:
        """Write a label map (*shape) as PNG."""
        Image.fromarray(label).save(path)


def open_picture(path: Path, label: bool = False) -> Picture:
    """Read the header of a picture; ``label``: it is to hold one number a pixel.

    Raises: InputError if the file is unreadable, has several pages, or colours that are not plain RGB.
    """
    try:
        with Image.open(path) as image:
            pages, mode, size = getattr(image, "n_frames", 1), image.mode, image.size
    except UNREADABLE as error:
        raise InputError(unreadable(path, "picture", error)) from error
    if pages != 1:
        raise InputError(Fault(str(path), f"{pages} pages, expected one", "write one file a page, or a NIfTI volume"))
    if mode not in (*GREY, *COLOURS):
        raise InputError(Fault(str(path), f"pixels of mode {mode}, expected grey or RGB", "convert it"))
    return Picture(path, (size[1], size[0]), 3 if mode in COLOURS and not label else 0, label=label)
