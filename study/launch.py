"""Running what is missing of a study: prepare, schedule, deliver, answer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from study.delivery import Courier, Delivery
from study.engine import Event, Listener, run_inline, run_on_ray
from study.places import Places
from study.plan import Plan, make_plan, prepare_data
from study.progress import Counts, ProgressLine
from study.publish import design_of, note_of, publish
from study.settings import setting_name, settings_of, varied_settings
from study.spec import StudySpec
from study.status import keep_members
from study.storage import STOP_FILE, Storage, is_written, writing
from study.tracking import MlflowTracker
from trainers.errors import Fault, InputError
from trainers.outcome import TrialResult

INLINE = "inline"
"""An address that runs trials in the launching process, one after the other."""


@dataclass(frozen=True)
class Launched:
    """What a launch came to. ``started``: trials that this launch began or continued; the others count all."""

    study: str
    trials: int
    started: int
    done: int
    failed: int
    lost: int
    stopped: bool
    troubled: str = ""
    """Why the tracking store lacks something, if it does; ``launch`` again delivers it."""


def launch(
    study: StudySpec,
    places: Places | None = None,
    address: str | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Launched:
    """Run the trials of ``study`` that have no ending yet; run again, it continues, and nothing is done twice.

    address: None for this machine, ``auto`` or ``host:6379`` for a Ray cluster. retry_failed: run those anew
    that failed by their own fault. ``say`` hears a few lines on the way.

    Raises: InputError, with nothing written, if the study, its data, the storage or the store is at fault;
    BusyError if another process runs the study.
    """
    places = places or Places.find()
    if address is not None and address.startswith(("http://", "https://")):
        raise InputError(
            Fault(
                f"address {address}", "a Ray job server, expected the cluster's own address", "give auto or HOST:6379"
            )
        )
    plan = make_plan(study, places.storage)
    places.require()
    folder = places.storage.study(study.name)
    with writing(folder, f"study {study.name}"):
        (folder / STOP_FILE).unlink(missing_ok=True)
        if retry_failed:
            plan = _without_failures(plan, places.storage)
        keep_members(study.name, list(plan.trials), plan.concurrent()[0], places)
        say(f"{len(plan.trials)} trials in {plan.cells} cells, {len(plan.to_run)} to run")
        if plan.to_run:
            say("preparing data")
            prepare_data(plan.trials, places.storage)
        return _run(
            plan, places, MlflowTracker(places.store, study.name, places.artifacts / study.name), address, quiet
        )


def _run(plan: Plan, places: Places, tracker: MlflowTracker, address: str | None, quiet: bool) -> Launched:
    study, storage = plan.study, places.storage
    folder = storage.study(study.name)
    summary = tracker.describe(note_of(plan), design_of(study))
    delivery = Delivery(plan.trials, storage, tracker)
    tracker.mark_members(delivery.specs, delivery.cells)
    # A driver killed earlier may have left runs behind the storage, or said to be running.
    delivery.catch_up()
    failures = sum(result.state == "FAILED" for result in plan.results.values())
    counts = Counts(len(plan.trials), done=len(plan.results) - failures, failed=failures)
    courier = Courier(delivery)
    stop = threading.Event()

    def should_stop() -> bool:
        if (folder / STOP_FILE).exists():
            stop.set()
        return stop.is_set()

    tracker.reopen(summary)
    courier.start()
    with ProgressLine(counts, quiet) as line, _stop_on_signal(stop):
        listen = _listener(plan, storage, courier, counts, line)
        if not plan.to_run:
            pass
        elif address == INLINE:
            run_inline(plan.to_run, storage, listen, should_stop)
        else:
            run_on_ray(plan.to_run, storage, study.resources, listen, should_stop, folder / "ray", address)
    courier.close()
    # Whoever is still said to be running was stopped.
    delivery.catch_up()
    delivery.close_cells()
    publish(make_plan(study, storage), places, tracker, summary)
    stopped = stop.is_set()
    tracker.end(summary, "STOPPED" if stopped else "DONE", "stopped by a user" if stopped else "")
    return Launched(
        study.name,
        len(plan.trials),
        len(plan.to_run),
        counts.done,
        counts.failed,
        counts.lost,
        stopped,
        courier.troubled,
    )


def request_stop(study: str, places: Places) -> bool:
    """Ask a running launch to end; False if none runs. Trials keep their checkpoints."""
    folder = places.storage.study(study)
    if not is_written(folder):
        return False
    (folder / STOP_FILE).touch()
    return True


def _listener(plan: Plan, storage: Storage, courier: Courier, counts: Counts, line: ProgressLine) -> Listener:
    """Pass the engine's events on to the courier and the progress line."""
    specs = {spec.key: spec for spec in plan.trials}
    varied = varied_settings(settings_of(spec) for spec in plan.trials)
    scores: dict[str, float] = {}

    def listen(event: Event) -> None:
        if event.kind in ("started", "epoch"):
            counts.running.add(event.key)
            courier.send(event.key)
            line.show()
            return
        counts.running.discard(event.key)
        result = storage.result(event.key)
        spec = specs[event.key]
        name = setting_name(settings_of(spec), varied) + (f" seed={spec.seed}" if plan.study.seeds > 1 else "")
        name += f" fold={spec.fold}" if plan.study.folds > 1 else ""
        if result is None:
            if event.kind == "lost":
                counts.lost += 1
                courier.lose(event.key, event.reason)
                line.ended(f"lost    {name}: {event.reason}")
            return  # stopped before its end
        counts.seconds.append(result.seconds)
        if result.state == "FAILED":
            counts.failed += 1
        else:
            counts.done += 1
            scores[name] = _mean_dsc(result)
            counts.best = "{} {:.2f}".format(*max(scores.items(), key=lambda entry: entry[1]))
        courier.send(event.key)
        line.ended(f"{result.state.lower():7} {name}: {result.reason or _figures(result)}")

    return listen


def _figures(result: TrialResult) -> str:
    shown = {name: value for name, value in result.metrics.items() if name.startswith(("dsc.", "retention.", "auc."))}
    return ", ".join(f"{name} {value:.2f}" for name, value in shown.items())


def _mean_dsc(result: TrialResult) -> float:
    values = [value for name, value in result.metrics.items() if name.startswith("dsc.")]
    return sum(values) / len(values) if values else 0.0


def _without_failures(plan: Plan, storage: Storage) -> Plan:
    failed = [key for key, result in plan.results.items() if result.state == "FAILED"]
    for key in failed:
        storage.forget_result(key)
    return Plan(plan.study, plan.trials, {key: plan.results[key] for key in plan.results if key not in failed})


@contextmanager
def _stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C or SIGTERM ends the study in order; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may catch signals; a caller's own thread stops by ``request_stop``
        return

    def handle(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
