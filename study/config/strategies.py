"""The search strategies as a study file names them: one class per strategy with what its fields and axes may be.

The classes lie here and not in ``study.search``, since reading a file must not import Optuna, and the layers forbid it.
``study.search.strategy`` adds sampler, trials and values to those that are searches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from trainers.losses.taxonomy import TAXONOMY

if TYPE_CHECKING:
    from study.config.spec import SearchSpec, StudySpec

StrategyName = Literal["grid", "random", "tpe", "nsga2", "transition"]

SEVERAL_GOALS = ("emptied", "labelled", "auc")
"""What nsga2 weighs against each other unless told otherwise: DSC of the emptied group, of the others, and AUC."""
AxisFault = tuple[str, str, str]
"""Axis, fault, remedy."""


class StrategyRules:
    """A search that follows one goal of the user's; the other strategies differ from it."""

    name: StrategyName
    is_search = True
    has_goals = True
    """Whether the user's goals lead it; the transition has its own."""
    default_goals: tuple[str, ...] = ("ignore",)
    chooses_seeds = False
    """Whether it chooses fold and seed itself: one setting is one trial, and its repeats tell effect from chance."""
    references_per_context = False
    """Whether every combination of the axes beside the loss's own gets references; else the first one does."""

    def field_faults(self, search: SearchSpec, given: Collection[str]) -> list[str]:
        """What is wrong with the fields; ``given``: those that are not at their default."""
        faults = (
            [] if search.trials is not None else [f"trials is missing; say how many trainings {self.name} may take"]
        )
        faults += self._own_faults(search, given)
        if search.early_stopping and (why := self._early_stopping_fault(search)):
            faults.append(f"early_stopping: {why}")
        return faults

    def axis_faults(self, axes: Mapping[str, list[object]], ranges: Collection[str]) -> Iterator[AxisFault]:  # noqa: ARG002
        """Axes that the strategy cannot use as they are; ``ranges``: those with a range."""
        return iter(())

    def trials_per_setting(self, study: StudySpec) -> int:
        """Trials of one setting."""
        return study.folds * study.seeds

    def _own_faults(self, search: SearchSpec, given: Collection[str]) -> list[str]:
        faults = ["precision is for the transition strategy; leave it out"] if "precision" in given else []
        if isinstance(search.goal, tuple):
            faults.append(f"goal lists several; {self.name} follows one, and nsga2 several")
        return faults

    def _early_stopping_fault(self, search: SearchSpec) -> str:
        """Why a trial's first epochs say nothing of what this search looks for; empty where they do."""
        goal = search.goals[0]
        return "" if goal == "dice" or goal.startswith("dsc.") else _appears_late(f"goal {goal}")


class GridRules(StrategyRules):
    """``grid``: all of its space runs."""

    name = "grid"
    is_search = has_goals = False

    def field_faults(self, search: SearchSpec, given: Collection[str]) -> list[str]:  # noqa: ARG002
        """Every field of a search is one fault."""
        if not given:
            return []
        return [
            f"{', '.join(sorted(given))}: for a search, and a grid runs all of its space; "
            "take a strategy: random, tpe, nsga2 or transition"
        ]


class RandomRules(StrategyRules):
    """``random``: settings drawn independently."""

    name = "random"


class TpeRules(StrategyRules):
    """``tpe``: Optuna's tree-structured Parzen estimator."""

    name = "tpe"


class Nsga2Rules(StrategyRules):
    """``nsga2``: several goals weighed against each other."""

    name = "nsga2"
    default_goals = SEVERAL_GOALS

    def _own_faults(self, search: SearchSpec, given: Collection[str]) -> list[str]:
        faults = ["precision is for the transition strategy; leave it out"] if "precision" in given else []
        if search.goal is not None and (not isinstance(search.goal, tuple) or len(search.goal) < 2):
            faults.append(f"goal is {search.goal!r}; nsga2 weighs several, such as [emptied, labelled, auc]")
        return faults

    def _early_stopping_fault(self, search: SearchSpec) -> str:  # noqa: ARG002
        return "nsga2 weighs several goals, and a trial behind in one may lead in another; leave it out"


class TransitionRules(StrategyRules):
    """``transition``: trials where they tell most about the crossing of each slice."""

    name = "transition"
    has_goals = False
    chooses_seeds = references_per_context = True

    def axis_faults(self, axes: Mapping[str, list[object]], ranges: Collection[str]) -> Iterator[AxisFault]:
        """ε is a range, all else is listed, and every loss has an ε."""
        for name, values in axes.items():
            if name == "eps" and values and name not in ranges:
                fault = "is listed; the transition is looked for in a range"
                yield name, fault, "give {from: 1.0e-3 v_hat, to: 10 v_hat}"
            elif name != "eps" and name in ranges:
                yield name, "is a range; a slice of the transition has one value of all but ε", "list its values"
        losses = axes.get("loss", [])
        if any(not any(TAXONOMY[term["name"]].phi_eps for term in terms) for terms in losses):  # type: ignore[attr-defined]
            yield "loss", "holds one that has no ε, so no transition over it", "leave it out"

    def trials_per_setting(self, study: StudySpec) -> int:  # noqa: ARG002
        """One: its seed is chosen with it."""
        return 1

    def _own_faults(self, search: SearchSpec, given: Collection[str]) -> list[str]:  # noqa: ARG002
        return [] if search.goal is None else ["goal: the transition strategy has its own; leave it out"]

    def _early_stopping_fault(self, search: SearchSpec) -> str:
        # "dice" cannot come: a goal is a fault of its own.
        return "" if search.goals[0] == "dice" else _appears_late("the transition")


RULES: Mapping[str, StrategyRules] = {
    rules.name: rules for rules in (GridRules(), RandomRules(), TpeRules(), Nsga2Rules(), TransitionRules())
}


def _appears_late(name: str) -> str:
    return (
        f"what {name} asks appears late: emptied maps are ignored or learnt, and trials collapse, after good "
        "segmentation, so the first epochs would choose wrongly; it is for goal: dice and dsc.GROUP.CLASS"
    )
