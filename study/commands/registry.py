"""The answers of a study, one row each: every face is made from these rows.

The command's options and its ``--server``, the REST route with its cache policy and worker task, and the check of the
Python client's methods read ``ANSWERS``. Imports nothing heavy: ``--help`` and the service read it at their start.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from trainers.losses.taxonomy import Category

GOAL_NAMES = ("ignore", "empty", "dice")
"""Of ``analysis.results.ranking.GOALS``."""
STATE_NAMES = ("DONE", "FAILED")
"""Of trials that are over."""
MAX_TOP = 1000
"""Most cells that one request may ask for."""
PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000
"""Entries of a page: by default, and at most."""


@dataclass(frozen=True)
class Option:
    """One option of an answer, with the same name and default on every face.

    max_length: characters of a request's value; choices: for the description, unknown values are told by the answer;
    format: of the description's JSON schema; metavar: how the command's help shows the value.
    """

    name: str
    help: str
    default: str | int | None = None
    max_length: int = 500
    choices: tuple[str, ...] = ()
    format: str = ""
    example: str = ""
    metavar: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether the value is a whole number of at least 1."""
        return isinstance(self.default, int)


@dataclass(frozen=True)
class Answer:
    """One answer.

    name: of the route, the worker's task, and the command where ``is_command``; function: of ``study.`` and
    ``study.Client``. compute: ``module:function`` of a study's results, the options, and, if paged, ``page``; returns
    the answer and how many entries there are in all, None if not paged. schema: name of a class in
    ``study.service.schemas``; many: whether the answer is a list of these. pool: of workers; page_size: by default.
    """

    name: str
    function: str
    help: str
    compute: str
    schema: str
    many: bool = True
    options: tuple[Option, ...] = ()
    paged: bool = False
    page_size: int = PAGE_SIZE
    pool: str = "store"
    is_command: bool = True

    def load(self) -> Callable[..., tuple[Any, int | None]]:
        """Import the function that computes the answer."""
        module, name = self.compute.split(":")
        found: Callable[..., tuple[Any, int | None]] = getattr(importlib.import_module(module), name)
        return found


WHERE = Option(
    "where",
    "Which ones: an expression over settings such as \"eps>1 and phi=='I'\", ε in voxels.",
    format="dicestudy-where",
    example="eps>1 and phi=='I'",
)

ANSWERS = {
    row.name: row
    for row in (
        Answer(
            "best",
            "best",
            "The best cells, with intervals, and which differ significantly from the first.",
            "study.commands.answers:best_of",
            "CellShape",
            options=(
                Option(
                    "goal", "What to be best at: ignore, empty or dice.", "ignore", max_length=100, choices=GOAL_NAMES
                ),
                Option(
                    "metric",
                    "A metric's name instead of a goal, such as dsc.A.tumor; the lowest first with a leading -.",
                    max_length=200,
                    format="dicestudy-metric",
                    example="dsc.A.tumor",
                ),
                WHERE,
                Option(
                    "family",
                    "Only losses of a category, such as region; dicestudy losses lists them.",
                    choices=get_args(Category),
                ),
                Option(
                    "pareto",
                    "The front of two metrics or more, such as dsc.A.tumor,dsc.B.tumor.",
                    max_length=1000,
                    format="dicestudy-front",
                    example="dsc.A.tumor,dsc.B.tumor",
                    metavar="M1,M2",
                ),
                Option("top", "How many.", 5),
            ),
        ),
        Answer(
            "table",
            "table",
            "The paper's table 1 of the study.",
            "study.commands.answers:table_of",
            "RowShape",
            paged=True,
            page_size=MAX_PAGE_SIZE,
        ),
        Answer(
            "map",
            "transition_map",
            "Where ignoring turns into learning empty.",
            "study.commands.answers:map_of",
            "MapShape",
            many=False,
        ),
        Answer(
            "trials",
            "trials",
            "The trials that are over, in the order of their settings.",
            "study.commands.answers:trials_of",
            "TrialShape",
            options=(WHERE, Option("state", "Of the trials.", max_length=20, choices=STATE_NAMES)),
            paged=True,
            is_command=False,
        ),
    )
}
"""Every answer by its name."""
