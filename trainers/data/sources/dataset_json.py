"""What a ``dataset.json`` says: the Decathlon's, nnU-Net's, and that of nnU-Net's first version."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from trainers.data.formats.listing import READABLE, can_name, can_open, ending_of
from trainers.errors import Fault

IGNORE = "ignore"
"""nnU-Net's name for voxels that nobody annotated."""
INDEX = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Entry:
    """One training case as listed, its paths below the dataset's folder."""

    case: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class Description:
    """A dataset as its file describes it.

    channels: their names; labels: each with its values, the background among them; entries: the training
    cases, None where folders say them; ending: of the files in those folders; count: training cases that it
    says there are.
    """

    channels: tuple[str, ...]
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    entries: tuple[Entry, ...] | None = ()
    ending: str = ""
    count: int | None = None


def read_description(path: Path, faults: list[Fault]) -> Description | None:
    """Read ``dataset.json``; what is wrong is added to ``faults``, and None is given where too little is left."""
    try:
        body = json.loads(path.read_bytes())
    except OSError as error:
        remedy = "set data.root to the folder with dataset.json"
        faults.append(Fault(str(path), f"cannot be read ({error.strerror})", remedy))
        return None
    except (ValueError, RecursionError) as error:
        faults.append(Fault(str(path), f"not readable as JSON ({error})", "mend its syntax"))
        return None
    if not isinstance(body, dict):
        faults.append(Fault(str(path), f"holds {_shown(body)}, expected the fields of a dataset"))
        return None
    ours = "channel_names" in body or "file_ending" in body
    channels = _channels(path, "channel_names" if ours else "modality", body, faults)
    labels = _labels(path, body.get("labels"), faults)
    stated = body.get("numTraining")
    count = stated if type(stated) is int else None
    if not channels:
        return None
    if not ours:
        return Description(channels, labels, _training(path, body.get("training"), faults), "", count)
    if "dataset" in body:
        return Description(channels, labels, _dataset(path, body["dataset"], faults), "", count)
    ending = body.get("file_ending")
    if ending not in READABLE:
        faults.append(Fault(str(path), f"file_ending is {_shown(ending)}", f"convert the files to {_readable()}"))
        return None
    return Description(channels, labels, None, ending, count)


def _channels(path: Path, key: str, body: dict[str, Any], faults: list[Fault]) -> tuple[str, ...]:
    given = body.get(key)
    if isinstance(given, dict | list) and given:
        return tuple(map(str, given.values() if isinstance(given, dict) else given))
    remedy = 'such as {"0": "MRI"}; nnU-Net calls it channel_names, the Decathlon modality'
    faults.append(Fault(str(path), f"{key} is {_shown(given)}, expected the names of the channels", remedy))
    return ()


def _labels(path: Path, given: Any, faults: list[Fault]) -> dict[str, tuple[int, ...]]:
    """The labels' values, written value first (``{"1": "Anterior"}``) or name first (``{"Anterior": 1}``)."""
    if not isinstance(given, dict) or not given:
        remedy = 'such as {"background": 0, "tumor": 1}'
        faults.append(Fault(str(path), f"labels is {_shown(given)}, expected the label values' names", remedy))
        return {}
    labels: dict[str, tuple[int, ...]] = {}
    for key, value in given.items():
        if isinstance(value, str):
            name, values = value, [int(key)] if INDEX.fullmatch(key) else []
        else:
            name, values = key, value if isinstance(value, list) else [value]
        if name.lower() == IGNORE:
            fault = f"label {name!r} marks voxels that nobody annotated, which would count as background"
            faults.append(Fault(str(path), fault, "annotate them, or leave these cases out, and remove the label"))
        elif not values or not all(type(one) is int and one >= 0 for one in values):
            fault = f"label {_shown(key)} is {_shown(value)}, expected a name and whole numbers"
            faults.append(Fault(str(path), fault, 'such as "tumor": 1, or "1": "tumor"'))
        else:
            labels[name] = tuple(sorted({*labels.get(name, ()), *values}))
    return labels


def _training(path: Path, given: Any, faults: list[Fault]) -> tuple[Entry, ...]:
    """The Decathlon's list of images and labels; a case has its image's name."""
    if not isinstance(given, list) or not given:
        remedy = 'such as [{"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"}]'
        faults.append(Fault(str(path), f"training is {_shown(given)}, expected a list of images and labels", remedy))
        return ()
    entries = []
    for number, one in enumerate(given):
        where = f"training[{number}]"
        pair = [one.get(key) for key in ("image", "label")] if isinstance(one, dict) else [None, None]
        inside = [_inside(path, where, part, faults) for part in pair]
        if inside[0] is not None and inside[1] is not None:
            name = inside[0].name
            entries.append(Entry(name.removesuffix(ending_of(name)), (inside[0],), inside[1]))
    return _without_twins(path, entries, faults)


def _dataset(path: Path, given: Any, faults: list[Fault]) -> tuple[Entry, ...]:
    """nnU-Net's mapping of cases to the files of their channels and label."""
    if not isinstance(given, dict) or not given:
        remedy = 'such as {"case": {"images": ["imagesTr/x_0000.nii.gz"], "label": "labelsTr/x.nii.gz"}}'
        faults.append(Fault(str(path), f"dataset is {_shown(given)}, expected cases with their files", remedy))
        return ()
    entries = []
    for case, one in given.items():
        where = f"dataset[{_shown(case)}]"
        if not can_name(case):
            faults.append(Fault(str(path), f"{where}, expected a name without slashes", "rename the case"))
            continue
        images, label = (one.get("images"), one.get("label")) if isinstance(one, dict) else (None, None)
        parts = images if isinstance(images, list) and images else [None]
        inside = [_inside(path, where, part, faults) for part in (*parts, label)]
        if None not in inside:
            *files, truth = (part for part in inside if part is not None)
            entries.append(Entry(case, tuple(files), truth))
    return tuple(entries)


def _inside(path: Path, where: str, given: Any, faults: list[Fault]) -> Path | None:
    """A path below the dataset's folder; None, and a fault, for what is none, leads out of it or cannot be opened."""
    if not isinstance(given, str) or not given.isprintable() or not PurePosixPath(given).name:
        fault = f"{where} names {_shown(given)}, expected the path of a file"
        faults.append(Fault(str(path), fault, "give image and label as paths below the dataset's folder"))
        return None
    inner = PurePosixPath(given)
    if inner.is_absolute() or ".." in inner.parts:
        remedy = "name files below it, or link them there"
        faults.append(Fault(str(path), f"{where} names {given}, which leaves the dataset's folder", remedy))
        return None
    if not can_open(inner.name):
        faults.append(Fault(str(path), f"{where} names {given}", f"convert it to {_readable()}"))
        return None
    return path.parent / inner


def _without_twins(path: Path, entries: list[Entry], faults: list[Fault]) -> tuple[Entry, ...]:
    kept: dict[str, Entry] = {}
    for entry in entries:
        if entry.case in kept:
            faults.append(Fault(str(path), f"training lists {entry.case} twice", "remove one of the two"))
        kept.setdefault(entry.case, entry)
    return tuple(kept.values())


def _readable() -> str:
    return ", ".join(READABLE)


def _shown(value: Any) -> str:
    """A value as part of a message, in ASCII and cut where it is long."""
    if value is None:
        return "missing"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
