"""What a study will take, before it is launched: hours, memory, what its ε come to, and what it cannot answer.

Times are those of finished trials of the same shape, else of a few steps tried on the device at hand, as many side by
side as will run side by side. Trials then follow one another as the engine hands them out.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from typing import Any, Literal

from analysis.formatting import counted
from study.config.spec import StudySpec
from study.execution.resources import local_gpus
from study.planning.data import inspect_data, open_data
from study.planning.plan import Plan, make_plan
from study.storage.folders import Storage
from study.storage.locations import Places
from trainers.assignment import Assignment, assign_cases
from trainers.epsilon import format_epsilon
from trainers.memory import total_mib
from trainers.result import TrialResult
from trainers.spec import TrialSpec
from trainers.step_timing import Cost, shape_of, try_out

SECONDS = 3.0
"""How long the steps of one shape are tried."""
MOST_PROCESSES = 8
"""In which steps are tried side by side."""
NEAR = 10.0
"""An ε within this factor of v̂ is near it: the transition was never seen farther above, and rarely far below."""
Bar = Callable[[int, int], None]
Source = Literal["finished trials", "steps tried here"]


@dataclass(frozen=True)
class StepShape:
    """Trials that take the same a step; ``seconds``: a trial in the mean."""

    example: TrialSpec
    trials: int
    source: Source
    cost: Cost
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """One entry of the forecast's ``shapes``."""
        return {
            "network": self.example.protocol.network.name,
            "batch_size": self.example.batch_size,
            "loss": self.example.loss.name,
            "trials": self.trials,
            "from": self.source,
            "seconds_a_step": self.cost.step,
            "seconds_a_trial": self.seconds,
            "memory_mib": self.cost.memory_mib,
            "fault": self.cost.fault,
        }


def forecast(
    study: StudySpec, places: Places | None = None, measure: bool = True, bar: Bar | None = None
) -> dict[str, Any]:
    """The contract's ``plan``, measured; prepares data that is not prepared yet, as a launch would.

    Beside the promised keys: ``failed``; ``hours_low``, ``hours_high``; ``gpu_hours``, None without GPUs;
    ``memory_mib``: the most that a trial takes, of a GPU's memory or of the machine's; ``trials_per_gpu``; ``shapes``:
    what was measured of each kind of trial; ``eps``: each ε as written with its voxels and v̂, from lowest to highest
    over the cells; ``warnings``. measure: False to know no more than finished trials tell. ``bar`` hears of shapes.

    Raises: InputError with every fault of the study and its data.
    """
    places = places or Places.find()
    storage = places.storage
    plan = make_plan(study, storage)
    inspect_data(plan.representatives, storage)
    storage.make()
    opened = open_data(plan.representatives, storage)
    given = {spec.key: assign_cases(spec, opened[spec.data_key].table) for spec in plan.representatives}
    concurrent, limited_by = plan.concurrent()
    waiting = [*plan.to_run, *plan.range_ends] or list(plan.trials)
    costs = _costs(plan, waiting, concurrent, storage, given, measure=measure, bar=bar or (lambda *_: None))
    shapes = [_shape_of(specs, *costs[shape], given) for shape, specs in _by_shape(waiting).items() if shape in costs]
    memory = max((shape.cost.memory_mib for shape in shapes), default=0.0)
    room = int(total_mib(_device(study)) / memory) if memory else None
    warnings = [*_doubts(plan, given), *_lacks(study, shapes, room)]
    if room is not None and not study.resources.gpus and room < concurrent:
        concurrent, limited_by = max(room, 1), "memory"
    return plan.as_dict() | {
        "concurrent": concurrent,
        "limited_by": limited_by,
        **_hours(plan, costs, given, concurrent),
        "memory_mib": memory or None,
        "trials_per_gpu": _trials_per_gpu(study, room),
        "shapes": [shape.as_dict() for shape in shapes],
        "eps": _epsilons(plan, given),
        "warnings": warnings,
    }


def forecast_text(found: Mapping[str, Any]) -> str:
    """The forecast for people."""
    lines = [
        f"{counted(found['trials'], 'trial')} in {counted(found['cells'], 'cell')}: "
        f"{found['done']} done, {found['failed']} failed, {found['to_run']} to run",
    ]
    at_once = f"{found['concurrent']} at once, limited by {found['limited_by']}"
    if found["trials_per_gpu"]:
        at_once += f"; {found['trials_per_gpu']} on a GPU"
    lines.append(at_once)
    if found["hours"] is None:
        lines.append("hours: not known before a trial is done, or a few steps are tried")
    else:
        low, high = _clock(found["hours_low"]), _clock(found["hours_high"])
        between = "" if low == high else f" (between {low} and {high})"
        lines.append(f"takes about {_clock(found['hours'])}{between}")
    if found["gpu_hours"]:
        lines[-1] += f", {found['gpu_hours']:.1f} GPU hours"
    for shape in found["shapes"]:
        took = shape["fault"] or (
            f"{shape['seconds_a_trial']:.0f} s a trial, {1000 * shape['seconds_a_step']:.0f} ms a step"
        )
        memory = f", {shape['memory_mib']:.0f} MiB" if shape["memory_mib"] else ""
        lines.append(
            f"  {shape['network']}, B={shape['batch_size']}, {shape['loss']}: {shape['trials']} trials, "
            f"{took}{memory} (from {shape['from']})"
        )
    by_eps: dict[str, list[str]] = {}
    for entry in found["eps"]:
        v_hat = f"{entry['class']}, v̂ {_span(entry['v_hat_low'], entry['v_hat_high'])}"
        by_eps.setdefault(entry["eps"], []).append(f"{_span(entry['low'], entry['high'])} ({v_hat})")
    lines += [f"ε = {eps} is {', '.join(listed)} voxels" for eps, listed in by_eps.items()]
    return "\n".join([*lines, *(f"warning: {text}" for text in found["warnings"])])


def _clock(hours: float) -> str:
    minutes = hours * 60
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"


def _span(low: float, high: float) -> str:
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _device(study: StudySpec) -> str:
    return "cuda" if study.resources.gpus else "cpu"


def _by_shape(specs: Iterable[TrialSpec]) -> dict[str, list[TrialSpec]]:
    found: dict[str, list[TrialSpec]] = {}
    for spec in specs:
        found.setdefault(shape_of(spec), []).append(spec)
    return found


def _costs(
    plan: Plan,
    waiting: Sequence[TrialSpec],
    concurrent: int,
    storage: Storage,
    given: Mapping[str, Assignment],
    *,
    measure: bool,
    bar: Bar,
) -> dict[str, tuple[Cost, Source]]:
    """What each shape costs, as far as it is known or can be tried here."""
    wanted = _by_shape(waiting)
    done = [spec for spec in plan.trials if _tells(plan.results.get(spec.key))]
    found: dict[str, tuple[Cost, Source]] = {}
    for shape, specs in _by_shape(done).items():
        cost = _cost_of_done([(plan.results[spec.key], len(given[spec.key].held_out)) for spec in specs])
        found[shape] = cost, "finished trials"
    untried = {shape: specs[0] for shape, specs in wanted.items() if shape not in found}
    if not measure or not untried or (plan.study.resources.gpus and not local_gpus()):
        return found
    beside = min(concurrent, MOST_PROCESSES)
    # Processes of their own: trials train side by side, and each starts with a memory of its own.
    with ProcessPoolExecutor(beside, mp_context=get_context("spawn")) as pool:
        for number, (shape, spec) in enumerate(untried.items()):
            bar(number, len(untried))
            folder, device = storage.prepared(spec.data_key), _device(plan.study)
            tries = [pool.submit(try_out, spec, folder, storage.root, device, SECONDS) for _ in range(beside)]
            found[shape] = _mean([one.result() for one in tries]), "steps tried here"
        bar(len(untried), len(untried))
    return found


def _tells(result: TrialResult | None) -> bool:
    return result is not None and result.state == "DONE" and result.counts.get("steps", 0) > 0


def _cost_of_done(ended: Sequence[tuple[TrialResult, int]]) -> Cost:
    """From trials that are over, with their numbers of held-out cases."""
    steps = [result.seconds / result.counts["steps"] for result, _ in ended]
    return Cost(
        step=sum(result.seconds for result, _ in ended) / sum(result.counts["steps"] for result, _ in ended),
        fast=min(steps),
        slow=max(steps),
        scoring=statistics.fmean(result.scoring_seconds / held_out for result, held_out in ended),
        memory_mib=max(result.memory_mib for result, _ in ended),
    )


def _mean(costs: Sequence[Cost]) -> Cost:
    if faults := [cost for cost in costs if cost.fault]:
        return faults[0]
    names = [entry.name for entry in fields(Cost) if entry.name != "fault"]
    means: dict[str, Any] = {name: statistics.fmean(getattr(cost, name) for cost in costs) for name in names}
    return replace(costs[0], **means | {"memory_mib": max(cost.memory_mib for cost in costs)})


def _seconds(spec: TrialSpec, given: Assignment, cost: Cost, step: float, epochs: int) -> float:
    """Of one trial whose steps take ``step`` each."""
    steps, held_out = given.cases_per_epoch // spec.batch_size, len(given.held_out)
    validations = -(-epochs // spec.protocol.validate_every)
    return (
        cost.start
        + epochs * (steps * step + cost.checkpoint)
        + held_out * (validations * cost.validation + cost.scoring)
        + cost.example
    )


def _range(spec: TrialSpec, given: Assignment, cost: Cost) -> tuple[float, float, float]:
    """Seconds of a trial: as is expected, at the least and at the most."""
    protocol, epochs = spec.protocol, spec.protocol.epochs
    soonest = epochs
    if protocol.schedule.name == "plateau":
        soonest = min(epochs, protocol.schedule.stop_after + protocol.validate_every)
    return (
        _seconds(spec, given, cost, cost.step, epochs),
        _seconds(spec, given, cost, cost.fast, soonest),
        _seconds(spec, given, cost, cost.slow, epochs),
    )


def _shape_of(specs: Sequence[TrialSpec], cost: Cost, source: Source, given: Mapping[str, Assignment]) -> StepShape:
    seconds = statistics.fmean(_range(spec, given[spec.key], cost)[0] for spec in specs)
    return StepShape(specs[0], len(specs), source, cost, seconds)


def _hours(
    plan: Plan, costs: Mapping[str, tuple[Cost, Source]], given: Mapping[str, Assignment], concurrent: int
) -> dict[str, float | None]:
    known = {spec.key: costs[shape][0] for spec in plan.representatives if (shape := shape_of(spec)) in costs}
    nothing: dict[str, float | None] = dict.fromkeys(("hours", "hours_low", "hours_high", "gpu_hours"))
    if any(spec.key not in known for spec in (*plan.to_run, *plan.range_ends)):
        return nothing
    rows = [_range(spec, given[spec.key], known[spec.key]) for spec in plan.to_run]
    if more := plan.remaining - len(rows):
        # What a search has not asked for yet.
        likely = [_range(spec, given[spec.key], known[spec.key]) for spec in plan.range_ends]
        rows += [tuple(statistics.fmean(column) for column in zip(*likely, strict=True))] * more  # type: ignore[list-item]
    hours, low, high = (_last_end([row[column] for row in rows], concurrent) / 3600 for column in range(3))
    gpus = plan.study.resources.gpus
    spent = sum(row[0] for row in rows) / 3600 * gpus if gpus else None
    return {"hours": hours, "hours_low": low, "hours_high": high, "gpu_hours": spent}


def _last_end(seconds: Sequence[float], concurrent: int) -> float:
    """When the last of trials ends that begin in order, so many side by side [s]."""
    ends = [0.0] * concurrent
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def _trials_per_gpu(study: StudySpec, room: int | None) -> int | None:
    if not study.resources.gpus:
        return None
    by_share = max(int(1 / study.resources.gpus), 1)
    return by_share if room is None else min(by_share, max(room, 1))


def _epsilons(plan: Plan, given: Mapping[str, Assignment]) -> list[dict[str, Any]]:
    """Each ε as written, for each class."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for spec in plan.representatives:
        if spec.loss.eps is not None:
            cases = given[spec.key]
            for name, voxels in cases.eps.items():
                found.setdefault((format_epsilon(spec.loss.eps), name), []).append((voxels, cases.v_hat[name]))
    return [
        {
            "eps": eps,
            "class": name,
            "low": min(one for one, _ in pairs),
            "high": max(one for one, _ in pairs),
            "v_hat_low": min(one for _, one in pairs),
            "v_hat_high": max(one for _, one in pairs),
        }
        for (eps, name), pairs in found.items()
    ]


def _doubts(plan: Plan, given: Mapping[str, Assignment]) -> list[str]:
    """What the study cannot answer as it is."""
    study, found = plan.study, []
    regimes = {spec.labeling.name for spec in plan.representatives}
    if study.seeds * study.folds == 1 and not study.search.rules.chooses_seeds:
        found.append("one seed and one fold: nothing tells an effect from chance; give seeds: 5")
    if regimes == {"full"}:
        found.append("every label is kept: nothing is emptied, so nothing can be ignored; add labeling: partial")
    elif "full" not in regimes and not (plan.is_search and study.search.references):
        found.append("no training under full labeling: outcomes are judged against it; add labeling: full")
    decades = [
        _decades(voxels, cases.v_hat[name])
        for spec in plan.representatives
        if spec.labeling.name != "full" and (cases := given[spec.key]).v_hat
        for name, voxels in cases.eps.items()
        if name in spec.empty.classes and cases.v_hat[name]
    ]
    # A search's samples are the ends of its ranges; what lies between them may be asked for.
    covered = plan.is_search and decades and min(decades) <= 0 <= max(decades)
    if decades and not covered and min(map(abs, decades)) > _decades(NEAR, 1):
        found.append(
            f"no ε within a factor {NEAR:g} of v̂: if ignoring turns into learning empty, it is rarely seen elsewhere; "
            "add eps: v_hat"
        )
    return found


def _decades(one: float, other: float) -> float:
    return math.log10(one / other) if one > 0 else -math.inf


def _lacks(study: StudySpec, shapes: Sequence[StepShape], room: int | None) -> list[str]:
    """What the machine at hand cannot do."""
    found = [
        f"{shape.cost.fault} ({shape.example.protocol.network.name}): its {shape.trials} trials would fail"
        for shape in shapes
        if shape.cost.fault
    ]
    gpus = study.resources.gpus
    if gpus and not local_gpus():
        found.append("no GPU on this machine: plan the study on one of the cluster's to try its steps")
    elif gpus and room is not None and room < int(1 / gpus):
        found.append(f"gpus: {gpus:g} puts {int(1 / gpus)} trials on a GPU, whose memory holds {room}; raise it")
    return found
