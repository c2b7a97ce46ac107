"""Folds that a file gives, in the form of nnU-Net's ``splits_final.json``."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from trainers.errors import Fault, InputError
from trainers.spec import FoldSpec

_FORM = TypeAdapter(list[dict[str, list[str]]])


def read_splits(path: Path, folds: int) -> list[FoldSpec]:
    """The first ``folds`` folds of a list of ``{"train": [case, …], "val": [case, …]}``.

    Raises: InputError if the file cannot be read, has another form, or has fewer folds.
    """
    try:
        given = _FORM.validate_python(json.loads(path.expanduser().read_text(encoding="utf-8-sig")))
        read = [FoldSpec(train=tuple(fold["train"]), held_out=tuple(fold["val"])) for fold in given]
    except OSError as error:
        raise InputError(Fault(str(path), f"cannot be read: {error.strerror}", "correct splits")) from None
    except (ValueError, KeyError, ValidationError, RecursionError):
        wanted = 'expected a list of {"train": [case, …], "val": [case, …]}, no list empty'
        raise InputError(Fault(str(path), "is not a list of folds", wanted)) from None
    if len(read) < folds:
        raise InputError(Fault(str(path), f"has {len(read)} folds, and folds is {folds}", "reduce folds"))
    return read[:folds]
