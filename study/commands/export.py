"""Answers as files: a ranking as CSV or Parquet, and its winner as a study file that runs it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from study.storage.folders import Storage
from study.storage.locations import Places
from study.storage.study_record import read_study
from trainers.atomic_files import write_text_whole, write_whole
from trainers.epsilon import Epsilon
from trainers.errors import Fault, InputError
from trainers.spec import TrialSpec

KINDS = (".csv", ".parquet", ".yaml")


def export(entries: Sequence[Mapping[str, Any]], path: Path, study: str, places: Places) -> Path:
    """Write a ranking's entries to ``path``, by its ending.

    ``.csv``, ``.parquet``: a row a cell, its settings under their names, each metric as ``NAME``, ``NAME.low``,
    ``NAME.high``. ``.yaml``: a study file with the first cell's setting alone, all its folds and seeds, under the
    name ``STUDY-best``: launched on the same storage, it finds its trials done.

    Raises: InputError for another ending, or where there is no entry to write a study of.
    """
    if path.suffix not in KINDS:
        raise InputError(Fault(str(path), f"ends in {path.suffix or 'nothing'}", f"give one of {', '.join(KINDS)}"))
    if path.suffix == ".yaml" and not entries:
        raise InputError(Fault(str(path), "no cell qualifies, so there is no winner to write", "choose others"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".yaml":
        write_text_whole(path, winner_text(entries[0], study, places))
        return path
    table = pd.DataFrame([_row(entry) for entry in entries])
    if path.suffix == ".csv":
        write_text_whole(path, table.to_csv(index=False, lineterminator="\n"))
    else:
        save: Callable[[Any], object] = lambda file: table.to_parquet(file, index=False)  # noqa: E731
        write_whole(path, save)
    return path


def winner_text(entry: Mapping[str, Any], study: str, places: Places) -> str:
    """The study file of one cell. Raises: InputError if the storage does not know the study or the cell."""
    kept = read_study(study, places)
    trials = _trials_of(entry["cell"], study, places.storage, places)
    spec = trials[0]
    body = kept.model_dump(mode="json", exclude={"search"}, exclude_none=True)
    body |= {
        "name": f"{study[:59]}-best",
        "data": spec.data.model_dump(mode="json", by_alias=True, exclude_none=True),
        "trial": spec.protocol.model_dump(mode="json", exclude_none=True),
        "folds": spec.folds,
        "seeds": max(trial.seed for trial in trials) + 1,
        "search": {"strategy": "grid", "space": _space(spec)},
    }
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


def _trials_of(cell: str, study: str, storage: Storage, places: Places) -> list[TrialSpec]:
    # Here and not above: it knows of tables, which a study's file does not need.
    from study.storage.tables import stored_members

    found = [spec for spec, _ in stored_members(study, storage)[0] if spec.cell == cell]
    if not found:
        where = str(places.storage.root)
        raise InputError(Fault(where, f"does not hold the trials of cell {cell}", "give the storage that they ran on"))
    return found


def _space(spec: TrialSpec) -> dict[str, object]:
    terms = [
        {"name": term.name, **({"weight": term.weight} if term.weight != 1 else {}), **_parameters(term.parameters)}
        for term in spec.loss.terms
    ]
    space: dict[str, Any] = {"loss": terms[0] if len(terms) == 1 else {"terms": terms}}
    if spec.loss.takes_phi_eps:
        space |= {"phi": spec.loss.phi, "eps": _eps(spec.loss.eps)}
    return space | {"batch_size": spec.batch_size, "labeling": str(spec.labeling)}


def _parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}


def _eps(eps: Epsilon | Mapping[str, Epsilon] | None) -> Any:
    if isinstance(eps, Mapping):
        return {name: str(value) for name, value in eps.items()}
    return str(eps)


def _row(entry: Mapping[str, Any]) -> dict[str, object]:
    row = {name: entry[name] for name in ("rank", "cell", "score", "p", "differs_from_first", "n") if name in entry}
    row |= entry["params"]
    for name, values in entry["metrics"].items():
        row |= {name: values["mean"], f"{name}.low": values["low"], f"{name}.high": values["high"]}
    return row | {f"outcome.{name}": count for name, count in entry["outcomes"].items()}
