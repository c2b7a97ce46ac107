"""Running what is missing of a study: prepare, schedule, deliver, answer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from study.delivery import Courier, Delivery
from study.engine import INLINE, Circumstances, Engine, Event, Listener, engine_at
from study.engine.cluster import require_resources
from study.places import Places
from study.plan import Plan, check_settings, inspect_data, make_plan, open_data
from study.progress import Counts, ProgressLine, step_bar
from study.publish import design_of, note_of, publish
from study.settings import setting_name, settings_of, varied_settings
from study.spec import ResourceSpec, StudySpec
from study.standing import keep_members
from study.storage import STOP_FILE, Storage
from study.store import STORE_ERRORS
from study.tracking import MlflowTracker
from trainers.errors import DicestudyError, Fault, InputError
from trainers.locks import is_written, writing
from trainers.outcome import TrialResult
from trainers.spec import TrialSpec


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
    check_settings(plan.trials)
    places.require()
    if address != INLINE:
        require_resources(study.resources, address)
    with step_bar("checking data", quiet) as bar:
        inspect_data(plan.trials, places.storage, bar)
    with writing(places.storage.study(study.name), f"study {study.name}"), engine_at(address) as engine:
        (places.storage.study(study.name) / STOP_FILE).unlink(missing_ok=True)
        failed = [key for key, result in plan.results.items() if result.state == "FAILED"] if retry_failed else []
        if failed or plan.to_run:
            say("preparing data")
            with step_bar("preparing data", quiet) as bar:
                open_data(plan.trials, places.storage, bar, engine.spread)
        for key in failed:
            places.storage.forget_result(key)
        plan = plan.renewed(places.storage)
        keep_members(study.name, list(plan.trials), plan.concurrent()[0], places)
        say(f"{len(plan.trials)} trials in {plan.cells} cells, {len(plan.to_run)} to run")
        try:
            return _Launch(plan, places, failed, quiet).run(engine)
        except STORE_ERRORS as error:
            text = str(error).splitlines()[0]
            raise DicestudyError(f"the tracking store stopped answering: {text}; launch again to go on") from error


class _Launch:
    """One launch that holds the study's lock: its records, its trials, its ending."""

    def __init__(self, plan: Plan, places: Places, failed: Sequence[str], quiet: bool) -> None:
        self.plan, self.places, self.quiet = plan, places, quiet
        self.folder = places.storage.study(plan.study.name)
        self.tracker = MlflowTracker(places.store, plan.study.name, places.artifacts / plan.study.name)
        self.summary = self.tracker.describe(note_of(plan), design_of(plan.study), plan.study.key)
        self.delivery = Delivery(plan.trials, places.storage, self.tracker)
        self.tracker.mark_members(self.delivery.specs, self.delivery.cells)
        for key in failed:
            self.delivery.forget(key)
        # A driver killed earlier may have left runs behind the storage, or said to be running.
        self.delivery.catch_up()
        failures = sum(result.state == "FAILED" for result in plan.results.values())
        self.counts = Counts(len(plan.trials), done=len(plan.results) - failures, failed=failures)
        self.stop = threading.Event()

    def run(self, engine: Engine) -> Launched:
        """Run what is missing; whatever happens, the study's run gets its ending."""
        self.tracker.reopen(self.summary)
        courier = Courier(self.delivery)
        courier.start()
        ending, reason = "STOPPED", "the launch broke off"
        try:
            with ProgressLine(self.counts, self.quiet) as line, _stop_on_signal(self.stop):
                self._run_trials(engine, _listener(self.plan, self.places.storage, courier, self.counts, line))
            ending, reason = ("STOPPED", "stopped by a user") if self.stop.is_set() else ("DONE", "")
        finally:
            courier.close()
            troubled = self._settle(ending, reason)
        counts = self.counts
        return Launched(
            self.plan.study.name,
            len(self.plan.trials),
            len(self.plan.to_run),
            counts.done,
            counts.failed,
            counts.lost,
            self.stop.is_set(),
            troubled,
        )

    def _run_trials(self, engine: Engine, listen: Listener) -> None:
        if self.plan.to_run:
            self._run_side_by_side(engine, self.plan.to_run, self.plan.study.resources, listen)
        if self.plan.study.resources.retry_alone and not self._should_stop():
            self._run_again_alone(engine, listen)

    def _run_side_by_side(
        self, engine: Engine, trials: Sequence[TrialSpec], resources: ResourceSpec, listen: Listener
    ) -> None:
        scratch = self.folder / "ray"
        engine.run_trials(trials, Circumstances(self.places.storage, resources, listen, self._should_stop, scratch))

    def _run_again_alone(self, engine: Engine, listen: Listener) -> None:
        """Trials of this launch that found no memory, one after the other, each with a whole GPU."""
        storage = self.places.storage
        hungry = [spec for spec in self.plan.to_run if _found_no_memory(storage.result(spec.key))]
        for spec in hungry:
            storage.forget_result(spec.key)
            self.counts.failed -= 1
        if hungry:
            resources = self.plan.study.resources
            gpus = max(1.0, resources.gpus) if resources.gpus else 0.0
            alone = resources.model_copy(update={"gpus": gpus, "concurrent": 1})
            self._run_side_by_side(engine, hungry, alone, listen)

    def _should_stop(self) -> bool:
        if (self.folder / STOP_FILE).exists():
            self.stop.set()
        return self.stop.is_set()

    def _settle(self, ending: str, reason: str) -> str:
        """Deliver what the courier could not, and close every run; why the store lacks something, if it does."""
        try:
            # Whoever is still said to be running was stopped.
            self.delivery.catch_up()
            self.delivery.close_cells()
            publish(self.plan.renewed(self.places.storage), self.places, self.tracker, self.summary)
            self.tracker.end(self.summary, ending, reason)
        except (*STORE_ERRORS, OSError, InputError) as error:
            return str(error).splitlines()[0]
        return ""


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


def _found_no_memory(result: TrialResult | None) -> bool:
    return result is not None and result.ending == "out_of_memory"


def _figures(result: TrialResult) -> str:
    shown = {name: value for name, value in result.metrics.items() if name.startswith(("dsc.", "retention.", "auc."))}
    return ", ".join(f"{name} {value:.2f}" for name, value in shown.items())


def _mean_dsc(result: TrialResult) -> float:
    values = [value for name, value in result.metrics.items() if name.startswith("dsc.")]
    return sum(values) / len(values) if values else 0.0


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
