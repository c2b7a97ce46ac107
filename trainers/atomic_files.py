"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

TORN = ".tmp"
"""Ending of a file that is being written."""


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a neighbour of ``path``, then put it in its place; readers never see a part.

    Atomic on one file system. An earlier file at ``path`` stays if writing fails. Makes the folder of ``path``, but
    none above it: where a shared storage is away for a while, nobody shall begin another in its place.
    """
    path.parent.mkdir(exist_ok=True)
    # A name of its own: two processes must not write into one neighbour.
    neighbour = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TORN}")
    try:
        with neighbour.open("wb") as file:
            write(file)
            file.flush()
            # Without it a power cut can leave the new name pointing at missing data.
            os.fsync(file.fileno())
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """``write_whole`` for UTF-8 text."""
    write_whole(path, lambda file: file.write(text.encode()))


def clear_torn(folder: Path) -> None:
    """Remove what killed writers left; only for who holds the folder's lock."""
    for path in folder.glob(f".*{TORN}"):
        path.unlink(missing_ok=True)
