"""The two tidy tables that are the bridge between a study and its analysis.

*Trials*: one row a trial. Besides the declared columns stand the study's settings, whatever they are
(``lr``, ``network``…); a cell is one setting, so all its rows agree in them. *Cases*: one row a trial,
case and class, scored against the full label; only trials that are DONE have cases.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

TRIAL_COLUMNS: Mapping[str, str] = {
    "key": "content hash of the trial",
    "cell": "content hash of its setting (everything but fold and seed)",
    "fold": "index of the fold",
    "seed": "seed of the trial",
    "state": "DONE or FAILED",
    "reason": "why it failed, else empty",
    "loss": "name of the loss",
    "phi": "Φ: I, CI, BI or BCI; empty where the loss has none",
    "eps": "ε as the study writes it (1e-07, v_hat, 0.1 v_hat)",
    "eps_voxels": "ε [voxels] of the emptied class",
    "v_hat": "v̂ [voxels] of the emptied class under the labeling in force",
    "batch_size": "B",
    "labeling": "full, partial, or partial with a share (partial 0.5)",
}

CASE_COLUMNS: Mapping[str, str] = {
    "key": "content hash of the trial",
    "case": "name of the case",
    "subject": "name of the subject; the two frames of a heart share it",
    "group": "group of the case",
    "class": "name of the class",
    "dsc": "Dice similarity coefficient against the full label; NaN where that is empty",
    "dv_ml": "predicted minus true volume [ml]",
    "pred_ml": "predicted volume [ml]",
    "true_ml": "true volume [ml]",
    "gt_empty": "the full label is empty",
    "emptied": "the labeling in force would hide this map",
    "pred_empty": "no more is predicted than the tolerance, 0 ml unless the study says more",
}

DONE, FAILED = "DONE", "FAILED"
FULL, PARTIAL = "full", "partial"

PHIS = ("I", "CI", "BI", "BCI")
# Every study has these settings; ε in voxels and v̂ follow from them and the data, so they are none.
CORE_SETTINGS = ("loss", "phi", "eps", "batch_size", "labeling")
DERIVED = ("eps_voxels", "v_hat")


class MissingColumnsError(ValueError):
    """A table lacks columns that the analysis needs."""


class TableError(ValueError):
    """Tables that do not fit together; says every fault found."""


def check_columns(table: pd.DataFrame, columns: Mapping[str, str], name: str) -> None:
    """Raise MissingColumnsError, naming each absent column and what it should hold."""
    missing = [f"{column} ({meaning})" for column, meaning in columns.items() if column not in table.columns]
    if missing:
        raise MissingColumnsError(f"the table of {name} lacks {'; '.join(missing)}; it has {', '.join(table.columns)}")


@dataclass(frozen=True)
class Emptied:
    """The maps that ``partial`` labeling empties: those of ``classes`` in every case of ``group``."""

    group: str
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StudyTables:
    """A study's tables, checked, typed and put in one order, so that equal studies give equal answers.

    ``settings`` names every setting column of ``trials``; ``emptied`` is None where the study empties nothing.
    ``spelling``: each group and class as the names of metrics spell it; those not in it stay as they are.

    Raises: MissingColumnsError; TableError with all faults at once.
    """

    trials: pd.DataFrame
    cases: pd.DataFrame
    emptied: Emptied | None
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    settings: tuple[str, ...]
    spelling: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_columns(self.trials, TRIAL_COLUMNS, "trials")
        check_columns(self.cases, CASE_COLUMNS, "cases")
        settings = tuple(dict.fromkeys(name for name in (*CORE_SETTINGS, *self.settings) if name not in DERIVED))
        object.__setattr__(self, "settings", settings)
        self._check()
        object.__setattr__(self, "trials", _ordered_trials(self.trials, settings))
        object.__setattr__(self, "cases", _ordered_cases(self.cases))

    def _check(self) -> None:
        faults: list[str] = []
        absent = [name for name in self.settings if name not in self.trials.columns]
        if absent:
            faults.append(f"settings without a column in the table of trials: {', '.join(absent)}")
        keys = self.trials["key"]
        if keys.duplicated().any():
            faults.append(f"trials that stand twice: {', '.join(map(str, keys[keys.duplicated()].unique()[:5]))}")
        states = sorted(set(self.trials["state"]) - {DONE, FAILED})
        if states:
            faults.append(f"unknown states {', '.join(map(str, states))}, known: {DONE}, {FAILED}")
        strays = set(self.cases["key"].unique()) - set(keys[self.trials["state"] == DONE])
        if strays:
            faults.append(f"cases of trials that are not DONE: {', '.join(sorted(map(str, strays))[:5])}")
        for column, known in (("group", self.groups), ("class", self.classes)):
            unknown = sorted(set(self.cases[column].unique()) - set(known))
            if unknown:
                faults.append(f"cases with unknown {column} {', '.join(unknown)}, known: {', '.join(known)}")
        if self.emptied is not None:
            if self.emptied.group not in self.groups:
                faults.append(f"unknown emptied group {self.emptied.group!r}, known: {', '.join(self.groups)}")
            odd = [name for name in self.emptied.classes if name not in self.classes]
            if odd:
                faults.append(f"unknown emptied class {', '.join(odd)}, known: {', '.join(self.classes)}")
        if faults:
            raise TableError("; ".join(faults))

    @property
    def emptied_classes(self) -> tuple[str, ...]:
        """The classes whose maps are emptied; none where the study empties nothing."""
        return self.emptied.classes if self.emptied is not None else ()

    @property
    def other_settings(self) -> tuple[str, ...]:
        """The settings beside the five that every study has."""
        return tuple(name for name in self.settings if name not in CORE_SETTINGS)

    def metric_name(self, kind: str, *names: str) -> str:
        """Return ``<kind>.<class>`` or ``<kind>.<group>.<class>``, spelled as trials and MLflow spell it."""
        return spelled_name(kind, names, self.spelling)

    def is_emptied(self, labeling: str, group: str, class_: str) -> bool:
        """Whether ``labeling`` hides the maps of this group and class in training."""
        hides = self.emptied is not None and group == self.emptied.group and class_ in self.emptied.classes
        return hides and is_partial(labeling)


def spelled_name(kind: str, names: Sequence[str], spelling: Mapping[str, str]) -> str:
    """Return ``<kind>.<name>…`` for a class, or a group and a class; ``spelling``: of ``StudyTables``."""
    return ".".join((kind, *(spelling.get(name, name) for name in names)))


def is_partial(labeling: str) -> bool:
    """Whether this labeling empties maps: ``partial``, or ``partial`` with a share."""
    return str(labeling).startswith(PARTIAL)


def plain(value: Any) -> Any:
    """Give the same value in JSON's own types: numpy scalars unpacked, NaN and infinities None, deep."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # most of what there is, and quick to tell
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return None if value is pd.NA else str(value)


def settings_of(row: pd.Series[Any], settings: Iterable[str]) -> dict[str, Any]:
    """Pick these settings of one row of the table of trials, in JSON's own types."""
    return {name: plain(row[name]) for name in settings}


def _ordered_trials(trials: pd.DataFrame, settings: tuple[str, ...]) -> pd.DataFrame:
    trials = trials.copy()
    for column in ("eps_voxels", "v_hat"):
        trials[column] = pd.to_numeric(trials[column], errors="coerce").astype("float64")
    for column in ("key", "cell", "loss", "phi", "eps", "labeling", "reason"):
        trials[column] = trials[column].map(lambda value: "" if _is_missing(value) else str(value)).astype(object)
    for column in settings:
        if trials[column].dtype == object:
            trials[column] = trials[column].map(_hashable)
    # Numbers sort as numbers, all else as text: 8 comes after 2, and a mixed column does not raise.
    order = pd.DataFrame(index=trials.index)
    core = ("loss", "phi", "batch_size", "labeling", "eps_voxels", "eps")
    for column in (*core, *(name for name in settings if name not in core), "fold", "seed", "key"):
        values = trials[column]
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        order[column] = values if numeric else values.map(str)
    order["phi"] = order["phi"].map({phi: f"{rank}" for rank, phi in enumerate(PHIS)}).fillna(order["phi"])
    ranked = order.sort_values(list(order.columns), kind="stable").index if len(order) else order.index
    return trials.loc[ranked].reset_index(drop=True)


def _ordered_cases(cases: pd.DataFrame) -> pd.DataFrame:
    cases = cases.copy()
    for column in ("key", "case", "subject", "group", "class"):
        text = cases[column] if isinstance(cases[column].dtype, pd.StringDtype) else cases[column].map(str)
        cases[column] = text.astype(object)
    for column in ("dsc", "dv_ml", "pred_ml", "true_ml"):
        cases[column] = pd.to_numeric(cases[column], errors="coerce").astype("float64")
    for column in ("gt_empty", "emptied", "pred_empty"):
        cases[column] = cases[column].astype(bool)
    # Older scores gave a false voxel on a rightly empty map the DSC 0.
    cases["dsc"] = cases["dsc"].where(~cases["gt_empty"])
    return cases.sort_values(["key", "class", "group", "subject", "case"], kind="stable").reset_index(drop=True)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _hashable(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, sort_keys=True, default=str)
    return "" if _is_missing(value) else value
