"""A study's file and data, looked at before anything is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analysis.formatting import counted
from analysis.report.terminal import columns
from study.config.load import load
from study.config.search_space import enumerate_trials, representative_trials
from study.planning.data import check_settings
from trainers.assignment import assign_cases
from trainers.data.base import DataSpec, LabelTable
from trainers.data.inspection import DataReport, inspect, statistics
from trainers.errors import Fault, InputError
from trainers.spec import TrialSpec


def check_study(path: str | Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """The contract's ``check``: ``ok``, all ``faults``, ``notices``, and ``statistics`` of the study and its data.

    The file first: data that it does not describe cannot be looked at. ``statistics`` are those of
    ``trainers.data.inspection.statistics`` for the study's data, with ``trials``, ``cells``, and ``v_hat``
    {labeling: {class: voxels}} in the training maps of the first fold.
    """
    try:
        study = load(path)
        # Not by content: whatever is wrong with the files is told below, all of it.
        list_trials = representative_trials if study.search.is_search else enumerate_trials
        trials = list_trials(study, lambda data: data.model_dump_json())
    except InputError as error:
        return _answer(error.faults)
    sources = {spec.data_key: spec.data for spec in trials} | {study.data.model_dump_json(): study.data}
    found = {key: inspect(source, progress) for key, source in sources.items()}
    faults = [fault for one in found.values() for fault in one.faults]
    notices = [notice for one in found.values() for notice in one.notices]
    if not faults:
        try:
            check_settings(trials)
        except InputError as error:
            faults += error.faults
    if faults:
        return _answer(dict.fromkeys(faults), notices)
    own = found[study.data.model_dump_json()]
    counts = {"trials": study.search.trials or len(trials), "cells": len({trial.cell for trial in trials})}
    figures = counts | statistics(own, study.data) | {"v_hat": _v_hat(trials, study.data, own)}
    return _answer((), notices, figures)


def _v_hat(trials: Sequence[TrialSpec], data: DataSpec, found: DataReport) -> dict[str, dict[str, float]]:
    """v̂ of every class [voxels] under each labeling of the study's own data; none where patches are drawn."""
    if data.whole:
        return {}
    table = LabelTable(found.cases, data.classes, found.volumes, data.patch_shape)
    means: dict[str, dict[str, float]] = {}
    for spec in trials:
        name = str(spec.labeling) + "".join(f" {group}×{times}" for group, times in spec.protocol.sampling.items())
        if spec.data == data and name not in means:
            plain = spec.model_copy(update={"loss": spec.loss.model_copy(update={"eps": None})})
            means[name] = assign_cases(plain, table).v_hat
    return means


def _answer(
    faults: Sequence[Fault] | dict[Fault, None], notices: Sequence[str] = (), figures: dict[str, Any] | None = None
) -> dict[str, Any]:
    listed = [{"file": fault.where, "fault": fault.fault, "remedy": fault.remedy} for fault in faults]
    return {"ok": not listed, "faults": listed, "notices": list(notices), "statistics": figures or {}}


def check_text(figures: dict[str, Any]) -> str:
    """The statistics of ``check_study`` for people."""
    groups = ", ".join(f"{name} {count}" for name, count in figures["groups"].items())
    lines = [
        f"{counted(figures['trials'], 'trial')} in {counted(figures['cells'], 'cell')}",
        f"{counted(figures['cases'], 'case')} of {counted(figures['subjects'], 'subject')}: {groups}",
        f"voxels {_span(figures['spacing_mm'])} mm, images {_span(figures['size_voxels'])} voxels",
        "",
    ]
    rows = [
        [group, name, *_volumes(one), f"{one['empty']:.0%}"]
        for group, classes in figures["volumes_ml"].items()
        for name, one in classes.items()
    ]
    lines.append(columns(["group", "class", "mean [ml]", "least", "most", "empty"], rows))
    if figures["v_hat"]:
        rows = [
            [labeling, *(f"{volume:,.0f}" for volume in classes.values())]
            for labeling, classes in figures["v_hat"].items()
        ]
        lines += ["", columns(["v̂ [voxels]", *figures["classes"]], rows)]
    return "\n".join(lines)


def _volumes(one: dict[str, float | None]) -> list[str]:
    return ["–" if (volume := one[part]) is None else f"{volume:.1f}" for part in ("mean", "min", "max")]


def _span(least_and_most: dict[str, list[float]]) -> str:
    sides = zip(least_and_most["min"], least_and_most["max"], strict=True)
    return " × ".join(f"{least:g}" if least == most else f"{least:g}–{most:g}" for least, most in sides)
