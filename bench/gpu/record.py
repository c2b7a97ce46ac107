"""One JSON file and one readable page of what was measured, written anew after every row."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]
MARK = "measured: "
"""Before a row on a part's standard output."""
PACKAGES = ("torch", "numpy", "scipy", "monai", "nibabel", "pydantic", "ray", "mlflow")


@dataclass
class Record:
    """Rows per part, beside the machine and the command.

    A part's ``state`` is ``done``, ``cut short`` (its time was up; the rows so far stand), ``skipped`` or ``failed``
    with its ``reason``.
    """

    folder: Path
    command: str
    machine: Row
    parts: dict[str, Row] = field(default_factory=dict)

    def write(self) -> None:
        """Write ``gpu.json`` and ``gpu.md``; each appears whole."""
        body = {"command": self.command, "machine": self.machine, "parts": self.parts}
        for name, text in (("gpu.json", json.dumps(body, indent=1)), ("gpu.md", self.page())):
            beside = self.folder / f".{name}.new"
            beside.write_text(text, "utf-8")
            beside.replace(self.folder / name)

    def page(self) -> str:
        """The page in Markdown: the machine, then one table per kind of row."""
        lines = ["# Measured", "", f"`{self.command}`, begun {self.machine['begun']} UTC", ""]
        lines += [f"- {name}: {value}" for name, value in self.machine.items() if name != "begun"]
        for name, part in self.parts.items():
            reason = f": {part['reason']}" if part.get("reason") else ""
            lines += ["", f"## {name}", "", f"{part['state']}{reason} ({part['seconds']:.0f} s)"]
            by_kind: dict[tuple[str, ...], list[Row]] = {}
            for row in part["rows"]:
                by_kind.setdefault(tuple(row), []).append(row)
            for columns, rows in by_kind.items():
                lines += ["", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
                lines += ["| " + " | ".join(show(row[column]) for column in columns) + " |" for row in rows]
        return "\n".join(lines) + "\n"


def print_row(row: Row) -> None:
    """Tell a row to the process that writes the record."""
    print(MARK + json.dumps(row), flush=True)


def show(value: Any) -> str:
    """A value as people write it: three figures of a number."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def describe_machine(device: str) -> Row:
    """The card and its driver where there is one, the processor's cores, versions."""
    found: Row = {
        "begun": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "device": device,
        "python": platform.python_version(),
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {
            "card": card.name,
            "memory [GiB]": round(card.total_memory / 2**30, 1),
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "driver": _driver(),
        }
    found["cores"] = usable_cores()
    return found | {name: version_of(name) for name in PACKAGES}


def version_of(package: str) -> str:
    """An installed package's version, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return "unknown"
