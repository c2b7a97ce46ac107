"""Running what is missing of a study: prepare, schedule, deliver, answer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from analysis.formatting import counted
from study.commands.sync import StudySync
from study.config.search_space import TrialMaker
from study.config.spec import ResourceSpec, StudySpec
from study.config.trial_params import setting_name, trial_settings, varied_settings
from study.execution.detached import is_job_server
from study.execution.engine import Engine, Event, Listener, RunContext
from study.execution.factory import INLINE, engine_at
from study.execution.node_checks import require_nodes
from study.execution.progress import Counts, ProgressLine, step_bar
from study.execution.ray_cluster import require_resources
from study.execution.trial_source import GridSource, TrialSource
from study.planning.data import check_settings, inspect_data, key_of_sound, open_data, unprepared
from study.planning.plan import Plan, make_plan
from study.storage.folders import STOP_FILE, Storage
from study.storage.locations import Places
from study.storage.study_record import write_study_record
from study.storage.tracking_uri import TrackingUri
from study.tracking.background import BackgroundSync
from study.tracking.client import STORE_ERRORS, require_places
from trainers.errors import DicestudyError, Fault, InputError
from trainers.locks import BusyError, writing
from trainers.result import TrialResult
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
    if is_job_server(address):
        raise InputError(
            Fault(
                f"address {address}",
                "a Ray job server, expected the cluster's own address",
                "give auto or HOST:6379, or use study.detached.launch_detached",
            )
        )
    plan = make_plan(study, places.storage)
    check_settings(plan.representatives)
    require_places(places)
    if address != INLINE:
        require_resources(study.resources, address)
    with step_bar("checking data", quiet) as bar:
        inspect_data(plan.representatives, places.storage, bar)
    places.storage.make()
    with (
        writing(places.storage.study(study.name), f"study {study.name}") as require_lease,
        engine_at(address) as engine,
    ):
        (places.storage.study(study.name) / STOP_FILE).unlink(missing_ok=True)
        if address not in (None, INLINE) and plan.remaining:
            say("asking every node")
            require_nodes(
                engine, places.storage, unprepared(plan.representatives, places.storage), study.resources.gpus > 0
            )
        failed = [key for key, result in plan.results.items() if result.state == "FAILED"] if retry_failed else []
        if failed or plan.remaining:
            say("preparing data")
            with step_bar("preparing data", quiet) as bar:
                open_data(plan.representatives, places.storage, bar, engine.spread)
        for key in failed:
            places.storage.set_result_aside(key)
        plan = plan.refreshed(places.storage)
        write_study_record(study, plan.trials, plan.concurrent()[0], places)
        say(_words_of(plan))
        try:
            return _Launch(plan, places, failed, quiet, require_lease).run(engine)
        except STORE_ERRORS as error:
            text = TrackingUri(places.store).clean(str(error)).splitlines()[0]
            raise DicestudyError(f"the tracking store stopped answering: {text}; launch again to go on") from error


class _Launch:
    """One launch that holds the study's lock: its records, its trials, its ending."""

    def __init__(
        self,
        plan: Plan,
        places: Places,
        failed: Sequence[str],
        quiet: bool,
        require_lease: Callable[[], None],
    ) -> None:
        self.plan, self.places, self.quiet, self.require_lease = plan, places, quiet, require_lease
        self.folder = places.storage.study(plan.study.name)
        self.sync = StudySync(plan, places, failed)
        failures = sum(result.state == "FAILED" for result in plan.results.values())
        self.counts = Counts(plan.total, done=len(plan.results) - failures, failed=failures)
        self.given: list[TrialSpec] = []
        """What this launch has run, as far as it was missing."""
        self.stop = threading.Event()

    def run(self, engine: Engine) -> Launched:
        """Run what is missing; whatever happens, the study's run gets its ending."""
        self.sync.tracker.reopen(self.sync.tracker.summary)
        background_sync = BackgroundSync(self.sync.delivery)
        background_sync.start()
        ending, reason = "STOPPED", "the launch broke off"
        try:
            with ProgressLine(self.counts, self.quiet) as line, _stop_on_signal(self.stop):
                specs = self.sync.delivery.specs
                self._run_trials(
                    engine, _listener(self.plan, specs, self.places.storage, background_sync, self.counts, line)
                )
            ending, reason = ("STOPPED", "stopped by a user") if self.stop.is_set() else ("DONE", "")
        finally:
            background_sync.close()
            # Whoever took the study over writes its records now.
            self.require_lease()
            plan = self.plan.refreshed(self.places.storage)
            troubled = self.sync.finalize(plan, ending, reason)
        # From the storage and not from what was heard: an ending can be told while the storage is away.
        failed = sum(result.state == "FAILED" for result in plan.results.values())
        return Launched(
            study=plan.study.name,
            trials=len(plan.trials),
            started=len(self.given),
            done=len(plan.results) - failed,
            failed=failed,
            lost=len(self.counts.lost - set(plan.results)),
            stopped=self.stop.is_set(),
            troubled=troubled,
        )

    def _run_trials(self, engine: Engine, listen: Listener) -> None:
        resources = self.plan.study.resources
        if self.plan.is_search:
            with self._search() as supply:
                self._run_side_by_side(engine, supply, resources, listen)
        elif self.plan.to_run:
            self._run_side_by_side(engine, GridSource(self.plan.to_run), resources, listen)
        if self.plan.study.resources.retry_alone and not self._should_stop():
            self._run_again_alone(engine, listen)

    @contextmanager
    def _search(self) -> Iterator[TrialSource]:
        # Here and not above: a grid needs no Optuna, which takes a second to import.
        from study.commands.explain import predicted_crossings
        from study.search.search_source import open_search

        study, ended = self.plan.study, set(self.plan.results)

        def announce(spec: TrialSpec) -> None:
            self.sync.delivery.add(spec)
            if spec.key not in ended and (result := self.places.storage.result(spec.key)) is not None:
                # Another study's, and this one's from now on.
                ended.add(spec.key)
                self.counts.failed += result.state == "FAILED"
                self.counts.done += result.state == "DONE"

        maker = TrialMaker(study, key_of_sound)
        with open_search(
            study, self.places, maker, announce, lambda specs: predicted_crossings(specs, self.places)
        ) as supply:
            yield supply
            if supply.over:
                known = self.plan.refreshed(self.places.storage)
                write_study_record(study, known.trials, known.concurrent()[0], self.places, complete=True)

    def _run_side_by_side(self, engine: Engine, supply: TrialSource, resources: ResourceSpec, listen: Listener) -> None:
        scratch = self.folder / "ray"
        begun: dict[str, TrialSpec] = {spec.key: spec for spec in self.given}

        def hear(event: Event) -> None:
            begun.setdefault(event.key, self.sync.delivery.specs[event.key])
            listen(event)

        try:
            engine.run_trials(supply, RunContext(self.places.storage, resources, hear, self._should_stop, scratch))
        finally:
            self.given = list(begun.values())

    def _run_again_alone(self, engine: Engine, listen: Listener) -> None:
        """Trials of this launch that found no memory, one after the other, each with a whole GPU."""
        storage = self.places.storage
        hungry = [spec for spec in self.given if _found_no_memory(storage.result(spec.key))]
        for spec in hungry:
            storage.set_result_aside(spec.key)
            self.counts.failed -= 1
        if hungry:
            resources = self.plan.study.resources
            gpus = max(1.0, resources.gpus) if resources.gpus else 0.0
            alone = resources.model_copy(update={"gpus": gpus, "concurrent": 1})
            self._run_side_by_side(engine, GridSource(hungry), alone, listen)

    def _should_stop(self) -> bool:
        try:
            self.require_lease()
            asked = (self.folder / STOP_FILE).exists()
        except BusyError:
            asked = True
        except OSError:
            asked = False  # the storage is away for a while
        if asked:
            self.stop.set()
        return self.stop.is_set()


def _words_of(plan: Plan) -> str:
    if not plan.is_search:
        return f"{counted(len(plan.trials), 'trial')} in {counted(plan.cells, 'cell')}, {len(plan.to_run)} to run"
    return f"{plan.study.search.strategy} search over up to {plan.total} trials, {len(plan.results)} of them over"


def _listener(
    plan: Plan,
    specs: Mapping[str, TrialSpec],
    storage: Storage,
    background_sync: BackgroundSync,
    counts: Counts,
    line: ProgressLine,
) -> Listener:
    """Pass the engine's events on to the background sync and the progress line."""
    varied = varied_settings(trial_settings(spec) for spec in plan.representatives)
    scores: dict[str, float] = {}

    def listen(event: Event) -> None:
        if event.kind in ("started", "epoch"):
            counts.running.add(event.key)
            background_sync.send(event.key)
            if event.kind == "epoch":
                counts.hear_epoch(event.key, specs[event.key].protocol.epochs)
            line.show()
            return
        spec = specs[event.key]
        name = setting_name(trial_settings(spec), varied)
        name += f" seed={spec.seed}" if plan.study.seeds > 1 or plan.is_search else ""
        name += f" fold={spec.fold}" if plan.study.folds > 1 else ""
        if event.kind == "waits":
            line.ended(f"waits   {name}: {event.reason}")
            return
        counts.running.discard(event.key)
        result = None
        # A storage that is away right now is asked again at the end.
        with suppress(OSError):
            result = storage.result(event.key)
        if result is None:
            if event.kind == "lost":
                counts.lost.add(event.key)
                background_sync.mark_lost(event.key, event.reason)
                line.ended(f"lost    {name}: {event.reason}")
            return  # stopped before its end
        counts.seconds.append(result.all_seconds)
        if result.state == "FAILED":
            counts.failed += 1
        else:
            counts.done += 1
            scores[name] = _mean_dsc(result)
            counts.best = "{} {:.2f}".format(*max(scores.items(), key=lambda entry: entry[1]))
        background_sync.send(event.key)
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
