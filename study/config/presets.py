"""The study files that come with the package."""

from __future__ import annotations

from importlib import resources

from trainers.errors import Fault, InputError


def preset_text(name: str) -> str:
    """The text of a preset. Raises: InputError naming the known ones."""
    from study.config.messages import unknown

    folder = resources.files("study.config") / "presets"
    known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if name not in known:
        raise InputError(Fault("", *unknown("preset", name, known)))
    return (folder / f"{name}.yaml").read_text()
