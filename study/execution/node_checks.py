"""What every machine of a cluster must have in common before a study starts on it, asked of each of them."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from study.execution.code_hash import hash_of_code
from study.execution.engine import Engine, Node
from study.storage.folders import Storage
from trainers.atomic_files import write_text_whole
from trainers.data.base import DataSpec
from trainers.errors import Fault, InputError

OURS = ("study", "trainers", "analysis")
THEIRS = ("torch", "monai", "numpy", "ray")
"""Packages whose version can change a trial's result, or whether machines understand each other."""
FOLDER = ".preflight"


@dataclass(frozen=True)
class NodeAnswer:
    """What one machine says: versions by name, why it cannot use the storage, faults of its data, GPUs in torch."""

    versions: dict[str, str]
    storage: str = ""
    data: list[Fault] = field(default_factory=list)
    gpus: int = 0


def require_nodes(engine: Engine, storage: Storage, data: Mapping[str, DataSpec], gpus: bool) -> None:
    """See that every machine of the engine can do its part.

    It shares the storage (what one writes another reads), has the data that is not prepared yet, given by content
    hash, and runs the same Python, packages and code as this process; with ``gpus``, torch sees those that Ray
    counts there.

    Raises: InputError with everything that every machine lacks.
    """
    folder = storage.root.resolve() / FOLDER
    token = secrets.token_hex(8)
    write_text_whole(folder / token, token)
    ours = library_versions()
    faults: list[Fault] = []
    try:
        for node, answer in engine.ask_nodes(partial(ask, folder, token, dict(data), gpus)):
            if isinstance(answer, NodeAnswer):
                faults += _lacking(node, answer, ours, gpus)
                if not answer.storage and _read(folder / f"{token}.{node.id}") != node.id:
                    faults.append(_unshared(node, f"what it writes to {storage.root} cannot be read here"))
            else:
                faults.append(Fault(str(node), answer, "see that it is up and has dicestudy installed as here"))
    finally:
        for path in folder.glob(f"{token}*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
    if faults:
        raise InputError(faults)


def ask(folder: Path, token: str, data: Mapping[str, DataSpec], gpus: bool, node: str) -> NodeAnswer:
    """Look around on one machine; ``node`` names the file that it leaves beside the ``token``."""
    storage = ""
    try:
        if _read(folder / token) != token:
            storage = f"{folder.parent} is not the folder of that name on the launching machine"
        else:
            write_text_whole(folder / f"{token}.{node}", node)
    except OSError as error:
        storage = f"{folder.parent} cannot be written to: {error.strerror or error}"
    return NodeAnswer(library_versions(), storage, list(_faults_of(data)), _visible_gpus() if gpus else 0)


def library_versions() -> dict[str, str]:
    """What runs in this process: Python, the packages that matter, and a hash of our own code."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in THEIRS:
        try:
            found[name] = version(name).partition("+")[0]  # a CPU and a CUDA build may work together
        except PackageNotFoundError:
            found[name] = "none"
    return found | {"dicestudy's code": hash_of_code(*map(import_module, OURS))}


def _faults_of(data: Mapping[str, DataSpec]) -> Iterator[Fault]:
    for key, source in data.items():
        try:
            if source.key() != key:
                remedy = "give all machines the same files"
                yield Fault(
                    str(getattr(source, "root", "")), "its files differ from those on the launching machine", remedy
                )
        except InputError as error:
            yield from error.faults
        except OSError as error:
            yield Fault(str(error.filename), str(error.strerror), "give this machine the data, at the same path")


def _lacking(node: Node, answer: NodeAnswer, ours: Mapping[str, str], gpus: bool) -> Iterator[Fault]:
    if answer.storage:
        yield _unshared(node, answer.storage)
    for name, wanted in ours.items():
        if (there := answer.versions.get(name, "none")) != wanted:
            yield Fault(str(node), f"{name} is {there} there and {wanted} here", "install the same on all machines")
    for fault in answer.data:
        yield Fault(f"{node}, {fault.where}", fault.fault, fault.remedy)
    if gpus and answer.gpus < node.gpus:
        yield Fault(
            str(node),
            f"Ray counts {node.gpus:g} GPUs there, torch sees {answer.gpus}",
            "install a torch with CUDA and a driver that fits it, or start Ray there with --num-gpus 0",
        )


def _unshared(node: Node, why: str) -> Fault:
    return Fault(str(node), why, "mount one shared folder at the same path on all machines, and give it by --storage")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _visible_gpus() -> int:
    from trainers.memory import visible_gpus

    return visible_gpus()
