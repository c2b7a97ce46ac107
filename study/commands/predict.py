"""Using what a study trained: the network of one of its trials segments images in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from study.config.spec import StudySpec
from study.config.trial_params import setting_name, trial_settings, varied_settings
from study.storage.folders import SPEC_FILE, Storage
from study.storage.locations import Places
from study.storage.study_record import read_members
from trainers.errors import Fault, InputError
from trainers.spec import TrialSpec

if TYPE_CHECKING:
    from trainers.data.sources.volumes import Volume
    from trainers.segmenter import Segmenter

BEST = "best"
"""Stands for a trial of the best cell."""
SHORTEST = 4
"""Characters of a key that must be given."""
SHOWN = 3
"""Trials that an error names."""

Case = Sequence[Path]
"""A case's images, one file or more, whose channels are stacked in this order."""


def predict(
    study: StudySpec | str,
    trial: str | None,
    cases: Sequence[Case],
    folder: Path,
    places: Places | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Write the label maps of images to ``folder``, each in its image's own space, named after its first image.

    trial: see ``choose_trial``. ``progress`` is told the cases done and the cases in all.

    Returns: ``trial``, ``cell``, and ``written``: a list of ``file``, ``images`` and ``ml`` {class: volume [ml]}.
    Raises: InputError before any work with every fault of the trial, or else of all images' headers and of the
    files to write, none of which may be there; and after all others are written, with what is wrong with voxels.
    """
    places = places or Places.find()
    study = study if isinstance(study, str) else study.name
    spec = choose_trial(study, trial, places)
    # Here and not above: a wrong name need not wait for torch.
    from trainers.segmenter import load_segmenter

    segmenter = load_segmenter(spec, places.storage.trial(spec.key), device)
    opened = _open(segmenter, cases, folder)
    written: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for done, images in enumerate(opened, start=1):
        try:
            maps = segmenter.segment(images)
        except InputError as error:
            faults += error.faults
        else:
            for name, classes in segmenter.files(images[0].path).items():
                ml = segmenter.write(images[0], {name: maps[name] for name in classes}, folder / name)
                paths = [str(image.path) for image in images]
                written.append({"file": str(folder / name), "images": paths, "ml": ml})
        progress(done, len(opened))
    if faults:
        raise InputError(faults)
    return {"trial": spec.key, "cell": spec.cell, "written": written}


def choose_trial(study: str, wanted: str | None, places: Places) -> TrialSpec:
    """The spec of a trial of the study that is done.

    wanted: its key, or a cell's, which stands for the cell's first trial by fold and seed; the first characters of
    either, at least ``SHORTEST``, if no other begins so; or ``best``, the cell that ranks first for goal ``ignore``.

    Raises: InputError if none or more than one is meant.
    """
    done, rest = _endings(read_members(study, places)["trials"], places.storage)
    if not done:
        raise InputError(Fault(study, "no trial of it is done", "launch it first"))
    first: dict[str, TrialSpec] = {}
    for spec in sorted(done.values(), key=lambda spec: (spec.fold, spec.seed)):
        first.setdefault(spec.cell, spec)
    if wanted is None:
        raise InputError(Fault("--trial", "is missing", _how_to_choose(study, done)))
    if wanted == BEST:
        wanted = _best_cell(study, places)
    if len(wanted) < SHORTEST:
        raise InputError(Fault(f"--trial {wanted}", f"too short, expected {SHORTEST} characters or more"))
    known = {**first, **done}
    found = [key for key in known if key.startswith(wanted)]
    if len(found) > 1:
        shown = ", ".join(sorted(found))
        raise InputError(Fault(f"--trial {wanted}", f"could be any of {shown}", "give more of its key"))
    if not found:
        meant = [Fault(f"trial {key}", rest[key], "choose one that is done") for key in rest if key.startswith(wanted)]
        unlike = Fault(f"--trial {wanted}", f"no trial or cell of {study} begins so", _how_to_choose(study, done))
        raise InputError(meant or unlike)
    return known[found[0]]


def _endings(keys: Iterable[str], storage: Storage) -> tuple[dict[str, TrialSpec], dict[str, str]]:
    """Specs of the trials that are done, and why the others are not, each by its key."""
    done: dict[str, TrialSpec] = {}
    rest: dict[str, str] = {}
    for key in keys:
        result = storage.result(key)
        if result is None:
            rest[key] = "has not ended"
        elif result.state == "DONE":
            done[key] = _read_spec(storage.trial(key) / SPEC_FILE, key)
        else:
            rest[key] = f"failed: {result.reason}"
    return done, rest


def _read_spec(path: Path, key: str) -> TrialSpec:
    try:
        spec = TrialSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(Fault(str(path), "missing", "launch the study again")) from None
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"])
        raise InputError(Fault(str(path), f"not readable as a trial's spec: {reason}", "was it edited?")) from None
    if spec.key != key:
        raise InputError(Fault(str(path), f"spec of trial {spec.key}, expected {key}", "was it edited?"))
    return spec


def _best_cell(study: str, places: Places) -> str:
    # Here and not above: who names a trial asks the storage alone.
    from study.commands.answers import best

    found = best(study, top=1, places=places)
    if not found:
        raise InputError(Fault("--trial best", "no cell qualifies for goal ignore", "give a trial's or a cell's key"))
    return str(found[0]["cell"])


def _how_to_choose(study: str, done: dict[str, TrialSpec]) -> str:
    settings = {key: trial_settings(spec) for key, spec in done.items()}
    varied = varied_settings(settings.values())
    shown = [
        f"{key} ({setting_name(settings[key], varied)} fold={done[key].fold} seed={done[key].seed})"
        for key in list(done)[:SHOWN]
    ]
    more = f" and {len(done) - SHOWN} more" if len(done) > SHOWN else ""
    return (
        f"give best, a cell's key as dicestudy best {study} --json shows it, or a trial's that is done: "
        f"{', '.join(shown)}{more}"
    )


def _open(segmenter: Segmenter, cases: Sequence[Case], folder: Path) -> list[list[Volume]]:
    """Headers of all cases. Raises: InputError with every fault of theirs, and of the files that they would give."""
    opened: list[list[Volume]] = []
    faults: list[Fault] = []
    owners: dict[str, Path] = {}
    for paths in cases:
        try:
            opened.append(segmenter.open(paths))
        except InputError as error:
            faults += error.faults
        for name in segmenter.files(paths[0]):
            other = owners.setdefault(name, paths[0])
            if other is not paths[0]:
                fault = f"its map would be named {name}, as that of {other}"
                faults.append(Fault(str(paths[0]), fault, "predict one of the two into another folder with -o"))
            elif (folder / name).exists():
                faults.append(Fault(str(folder / name), "exists already", "remove it, or choose another with -o"))
    if faults:
        raise InputError(faults)
    return opened
