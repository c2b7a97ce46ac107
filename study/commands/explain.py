"""What a study's losses will do with emptied maps, before any training: its labels, handed to the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures.curves import draw_push
from analysis.figures.style import new_figure
from analysis.theory.advice import advise
from analysis.theory.gradients import Member
from analysis.theory.prediction import (
    LabelStatistics,
    Prediction,
    collapse_threatens,
    member_of,
    predict,
    predict_crossing,
    push_curve,
)
from study.config.spec import StudySpec
from study.planning.data import inspect_data, open_data
from study.planning.plan import make_plan
from study.storage.locations import Places
from trainers.assignment import Assignment, assign_cases
from trainers.atomic_files import write_whole
from trainers.data.base import LabelTable
from trainers.epsilon import format_epsilon
from trainers.spec import TrialSpec

TOLD_WHAT_IS_MISSING = ("leaf_dice", "marginal_dice")
"""Losses that know which labels are missing: an emptied map gets no gradient from them."""
CURVE_POINTS = 121


@dataclass(frozen=True)
class _Explained:
    """One cell and emptied class."""

    spec: TrialSpec
    class_: str
    statistics: LabelStatistics
    given: Assignment
    member: Member | None
    prediction: Prediction | None

    def entry(self) -> dict[str, Any]:
        spec, phi, v_hat = self.spec, self.spec.loss.phi, self.given.v_hat[self.class_]
        eps = self.given.eps.get(self.class_)
        crossing = advice = None
        if self.member is not None and phi is not None and self.prediction is not None:
            crossing = predict_crossing(self.statistics, phi, spec.batch_size, self.member)
            risky = collapse_threatens(phi, self.prediction.alone, clipped=spec.protocol.clip is not None)
            advice = advise(crossing, v_hat, risky=risky)
        return {
            "cell": spec.cell,
            "loss": spec.loss.name,
            "phi": phi,
            "eps": None if spec.loss.eps is None else format_epsilon(spec.loss.eps),
            "eps_voxels": eps,
            "eps_in_v_hat": eps / v_hat if eps and v_hat else None,
            "v_hat": v_hat,
            "batch_size": spec.batch_size,
            "labeling": str(spec.labeling),
            "class": self.class_,
            "push": self.prediction.push if self.prediction else None,
            "both": self.prediction.both if self.prediction else None,
            "alone": self.prediction.alone if self.prediction else None,
            "outcome": self.prediction.outcome if self.prediction else None,
            "crossing": crossing,
            "advice": None if advice is None else asdict(advice),
        }


def explain(study: StudySpec, places: Places | None = None, picture: Path | None = None) -> list[dict[str, Any]]:
    """The contract's ``explain``: one entry a cell and emptied class, in the study's order.

    Beside the promised keys: ``loss``, ``class``; ``v_hat`` [voxels], ``eps_in_v_hat``; ``both`` and ``alone``,
    shares of batches with a labelled and an emptied map, and without a labelled one; ``crossing``, the ε [voxels]
    at which cells like this are expected to turn; ``cell``; ``advice``: of
    ``analysis.theory.advice.advise``, ε [voxels] for either goal. Predictions are None for a loss without a closed
    form.
    ``picture``: a PNG to write, the push over ε for each Φ and B.

    Raises: InputError if the data is at fault.
    """
    places = places or Places.find()
    cells = {spec.cell: spec for spec in reversed(make_plan(study, places.storage).trials)}
    inspect_data(list(cells.values()), places.storage)
    opened = open_data(list(cells.values()), places.storage)
    found = []
    for spec in reversed(cells.values()):
        data = opened[spec.data_key]
        given = assign_cases(spec, data.table)
        found += [_explain(spec, given, data.table, name) for name in spec.empty.classes]
    if picture is not None:
        write_picture(found, picture)
    return [one.entry() for one in found]


def predicted_crossings(specs: Sequence[TrialSpec], places: Places) -> list[tuple[float | None, float | None]]:
    """For each trial the ε [voxels] at which its like are expected to turn, and v̂ [voxels], of the emptied class.

    Of the first, if there are several; None where there is no closed form, or no crossing is expected.

    Raises: InputError if the data is at fault.
    """
    opened = open_data(specs, places.storage)
    found = []
    for spec in specs:
        data = opened[spec.data_key]
        entry = _explain(spec, assign_cases(spec, data.table), data.table, spec.empty.classes[0]).entry()
        found.append((entry["crossing"], entry["v_hat"]))
    return found


def statistics_of(given: Assignment, column: int, in_group: Sequence[bool]) -> LabelStatistics:
    """Volumes of one class over an epoch's cases, repetitions counted.

    in_group: for each case of the data whether it is of the group that ``partial`` labeling empties.
    """
    volumes, index = given.volumes, np.repeat(given.train, given.weights)
    own, hidden = volumes[index, column], given.hidden[index, column]
    labelled = ~hidden & (own > 0)
    others = np.where(given.hidden[index], 0, volumes[index])
    others[:, column] = 0
    return LabelStatistics(
        labelled=int(labelled.sum()),
        emptied=int(hidden.sum()),
        empty=int((~hidden & (own == 0)).sum()),
        labelled_volume=float(own[labelled].mean()) if labelled.any() else 0.0,
        hidden_volume=float(own[hidden].mean()) if hidden.any() else 0.0,
        other_volume=float(others.sum(axis=1).mean()),
        in_group=int((labelled & np.asarray(in_group)[index]).sum()),
    )


def write_picture(found: Sequence[_Explained], path: Path) -> None:
    """The push over ε for each Φ and B under partial labeling, the study's cells marked, as a PNG."""
    shown = [one for one in found if one.prediction is not None and one.member is not None and one.statistics.emptied]
    figure, axes = new_figure(7.2, 4.8)
    curves: dict[str, dict[str, Any]] = {}
    for one in shown:
        phi, eps = str(one.spec.loss.phi), one.given.eps[one.class_]
        name = f"{one.spec.loss.name}, Φ={phi}, B={one.spec.batch_size}, {one.spec.labeling}"
        name += f", {one.class_}" if len(one.spec.empty.classes) > 1 else ""
        if name not in curves:
            grid = np.geomspace(1e-4, 1e3, CURVE_POINTS) * one.given.v_hat[one.class_]
            push = push_curve(one.statistics, phi, one.spec.batch_size, grid, one.member or Member(0.5, 0.5))
            curves[name] = {"name": name, "eps": grid, "push": push, "cells": [], "v_hat": one.given.v_hat[one.class_]}
        if one.prediction is not None:
            curves[name]["cells"].append((eps, one.prediction.push))
    draw_push(axes, list(curves.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=150))


def _explain(spec: TrialSpec, given: Assignment, table: LabelTable, name: str) -> _Explained:
    in_group = [case.group == spec.empty.group for case in table.cases]
    statistics = statistics_of(given, list(table.classes).index(name), in_group)
    loss = spec.loss.terms[0].name if len(spec.loss.terms) == 1 else ""
    member = member_of(loss, spec.loss.terms[0].parameters)
    prediction = None
    if loss in TOLD_WHAT_IS_MISSING:
        without = predict(statistics, "I", 1e-7, spec.batch_size)
        prediction = Prediction(0.0, without.both, without.alone, "ignores")
    elif member is not None and spec.loss.phi is not None:
        clipped = spec.protocol.clip is not None
        eps = given.eps[name]
        prediction = predict(statistics, spec.loss.phi, eps, spec.batch_size, member, clipped=clipped)
    return _Explained(spec, name, statistics, given, member, prediction)
