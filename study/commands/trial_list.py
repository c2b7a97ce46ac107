"""A study's trials that are over, one by one."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from analysis.results.row_filter import choose
from analysis.tables import DERIVED, StudyTables, plain, settings_of
from trainers.errors import Fault, InputError

FIGURES = ("outcome", "retention", "dsc_labelled", "dsc_emptied", "auc")
STATES = ("DONE", "FAILED")


class TrialList:
    """Trials in the order of their settings. scores: of ``trial_scores``."""

    def __init__(self, tables: StudyTables, scores: pd.DataFrame) -> None:
        self.tables = tables
        self._scores: dict[str, dict[str, Any]] = {}
        if not scores.empty:
            for record in scores[["key", "class", *FIGURES]].to_dict("records"):
                figures = {name: plain(record[name]) for name in FIGURES}
                self._scores.setdefault(record["key"], {})[record["class"]] = figures

    def choose(self, where: str | None = None, state: str | None = None) -> list[int]:
        """Rows of the trials for which ``where`` (see ``analysis.results.row_filter.choose``) holds.

        Its columns: the settings with ``eps`` in voxels, ``eps_written``, ``v_hat``, ``fold``, ``seed``, ``state``,
        ``cell``, ``key``. Raises: InputError.
        """
        if state is not None and state not in STATES:
            raise InputError(Fault("", f"unknown state {state!r}, known: {', '.join(STATES)}", "choose one of these"))
        columns = self.tables.trials.rename(columns=lambda name: re.sub(r"\W", "_", str(name)))
        columns = columns.assign(eps_written=columns["eps"], eps=columns["eps_voxels"])
        chosen = pd.Series(True, index=columns.index)
        if state is not None:
            chosen &= columns["state"] == state
        if where and where.strip():
            try:
                chosen &= choose(columns, where)
            except ValueError as error:
                raise InputError(Fault("", str(error))) from None
        return [int(row) for row in chosen.to_numpy().nonzero()[0]]

    def entries(self, rows: list[int]) -> list[dict[str, Any]]:
        """``key``, ``cell``, ``fold``, ``seed``, ``state``, ``reason``, ``params``; ``scores`` by emptied class."""
        part = self.tables.trials.iloc[rows]
        return [
            {
                **{name: plain(row[name]) for name in ("key", "cell", "fold", "seed", "state", "reason")},
                "params": settings_of(row, (*self.tables.settings, *DERIVED)),
                "scores": self._scores.get(row["key"], {}),
            }
            for _, row in part.iterrows()
        ]
