"""Ray Tune as the scheduler of trials: the only module that imports Ray."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from study.plan import local_gpus
from study.spec import ResourceSpec
from study.storage import Storage
from trainers.data.preparation import Work, one_by_one
from trainers.errors import Fault, InputError
from trainers.spec import TrialSpec

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
_OURS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay those of the driver
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard copies of what we record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the launch decides what a signal means
    # Never restored from: a trial finds its own checkpoint, and a study enumerates what is missing.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
}

RETRIES = 3
"""How often a trial is started again after its machine or process went away; its own faults are results."""
SECONDS_TO_ANSWER = 10
LOCAL_OBJECT_STORE = 256 * 2**20
"""Ray's shared memory [bytes] on this machine; the data is mapped from files, so little passes through it."""


@dataclass(frozen=True)
class Event:
    """What happened to a trial: it started, has a new epoch, ended with a result, or was lost without one."""

    kind: Literal["started", "epoch", "ended", "lost"]
    key: str
    reason: str = ""


Listener = Callable[[Event], None]
INLINE = "inline"
"""An address that runs everything in the launching process, one after the other."""
TASK_CASES = 8
"""The most cases that one Ray task prepares."""


@dataclass(frozen=True)
class Circumstances:
    """Where trials run and who hears of it.

    ``listen`` hears of every trial's life in the launching process. Once ``should_stop`` says so, no trial starts
    and those that run are ended; their checkpoints stay. ``scratch`` is a folder for the engine's own files.
    """

    storage: Storage
    resources: ResourceSpec
    listen: Listener
    should_stop: Callable[[], bool]
    scratch: Path


class Engine(Protocol):
    """Where work is done; use as a context."""

    def __enter__(self) -> Engine: ...
    def __exit__(self, *_: object) -> None: ...

    def spread(self, work: Work, numbers: Sequence[int]) -> Iterable[dict[str, Any]]:
        """Do the work on every number, in any order; the results as they come."""

    def run_trials(self, trials: Sequence[TrialSpec], given: Circumstances) -> None:
        """Run the trials; returns when all are over."""


class RayEngine:
    """Ray, on this machine or the cluster at ``address``; started when there is something to do."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self._stack = ExitStack()
        self._started = False

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        if not self._started:
            self._stack.enter_context(_session(self.address))
            self._started = True

    def spread(self, work: Work, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Do the work as Ray tasks, a few numbers each."""
        if not numbers:
            return
        self._start()
        import ray

        shared = ray.put(work)
        task = ray.remote(num_cpus=1)(_work_on)
        # Small enough that the last task is not waited for long, large enough to be worth its start.
        size = max(1, min(TASK_CASES, len(numbers) // int(4 * ray.cluster_resources().get("CPU", 1))))
        waiting = [task.remote(shared, list(numbers[start : start + size])) for start in range(0, len(numbers), size)]
        while waiting:
            done, waiting = ray.wait(waiting)
            for results in ray.get(done):
                yield from results

    def run_trials(self, trials: Sequence[TrialSpec], given: Circumstances) -> None:
        """Run the trials with Ray Tune."""
        self._start()
        from ray import tune

        if self.address is not None:
            import ray

            _compare(given.resources, ray.cluster_resources(), f"the cluster at {self.address}")
        given.scratch.mkdir(parents=True, exist_ok=True)
        shared = {"storage": str(given.storage.root.resolve()), "device": "cuda" if given.resources.gpus else "cpu"}
        jobs = [{"key": spec.key, "spec": spec.model_dump_json(), **shared} for spec in trials]
        needs = {"cpu": given.resources.cpus, "gpu": given.resources.gpus}
        tuner = tune.Tuner(
            tune.with_resources(_run_job, needs),
            param_space={"job": tune.grid_search(jobs)},
            tune_config=tune.TuneConfig(
                # An actor that lives on keeps torch imported and the data mapped.
                reuse_actors=True,
                max_concurrent_trials=given.resources.concurrent,
                trial_name_creator=lambda trial: trial.config["job"]["key"],
                trial_dirname_creator=lambda trial: trial.config["job"]["key"],
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(given.scratch.resolve()),
                callbacks=[_callback(given.listen)],
                stop=_stopper(given.should_stop),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(given.scratch, ignore_errors=True)


class InlineEngine:
    """The same in this process, one after the other: for tests and debuggers."""

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def spread(self, work: Work, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Do the work here."""
        return one_by_one(work, numbers)

    def run_trials(self, trials: Sequence[TrialSpec], given: Circumstances) -> None:
        """Run the trials here."""
        from study.worker import work

        for spec in trials:
            if given.should_stop():
                return
            given.listen(Event("started", spec.key))
            work(spec, given.storage, tell=lambda _, key=spec.key: given.listen(Event("epoch", key)))  # type: ignore[misc]
            given.listen(Event("ended", spec.key))


def engine_at(address: str | None) -> Engine:
    """The engine of an address: this machine's Ray, a cluster's, or ``inline``."""
    return InlineEngine() if address == INLINE else RayEngine(address)


def _work_on(work: Work, numbers: list[int]) -> list[dict[str, Any]]:
    return [work(number) for number in numbers]


def _run_job(config: dict[str, Any]) -> None:
    """What an actor does with one trial."""
    from ray import tune

    from study.worker import work

    job = config["job"]
    spec = TrialSpec.model_validate_json(job["spec"])
    work(
        spec,
        Storage(Path(job["storage"])),
        job["device"],
        tell=lambda record: tune.report({"epoch": record["epoch"]}),
    )


def _callback(listen: Listener) -> Any:
    from ray import tune

    class Ear(tune.Callback):  # type: ignore[misc]
        """Tune's words as ours."""

        def __init__(self, listen: Listener) -> None:
            self.listen = listen

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles itself to be restored, which we never do; a listener cannot be pickled

        def on_trial_start(self, *_: Any, trial: Any, **__: Any) -> None:
            self.listen(Event("started", trial.config["job"]["key"]))

        def on_trial_result(self, *_: Any, trial: Any, **__: Any) -> None:
            self.listen(Event("epoch", trial.config["job"]["key"]))

        def on_trial_complete(self, *_: Any, trial: Any, **__: Any) -> None:
            self.listen(Event("ended", trial.config["job"]["key"]))

        def on_trial_error(self, *_: Any, trial: Any, **__: Any) -> None:
            file = trial.error_file
            text = Path(file).read_text().strip() if file and Path(file).exists() else "the engine gave no reason"
            self.listen(Event("lost", trial.config["job"]["key"], text.splitlines()[-1]))

    return Ear(listen)


def _stopper(should_stop: Callable[[], bool]) -> Any:
    from ray import tune

    class Ending(tune.Stopper):  # type: ignore[misc]
        """Ends everything when asked to; never a single trial."""

        def __init__(self, should_stop: Callable[[], bool]) -> None:
            self.should_stop = should_stop

        def __getstate__(self) -> dict[str, Any]:
            return {}  # as above

        def __call__(self, *_: Any) -> bool:
            return False

        def stop_all(self) -> bool:
            return self.should_stop()

    return Ending(should_stop)


def require_resources(resources: ResourceSpec, address: str | None) -> None:
    """See that a trial could be placed: Ray would wait for ever for what is not there.

    Raises: InputError if this machine lacks what a trial asks for, or nothing listens at ``address``.
    """
    if address is not None:
        if address != "auto":
            _require_listener(address)
        return
    _compare(resources, {"CPU": os.cpu_count() or 1, "GPU": local_gpus()}, "this machine")


def _compare(resources: ResourceSpec, there: Mapping[str, float], where: str) -> None:
    faults = [
        Fault(
            f"resources.{name.lower()}s",
            f"a trial asks for {wanted:g}, and {where} has {there.get(name, 0):g}",
            "ask for less, or launch on a cluster with --address",
        )
        for name, wanted in (("CPU", resources.cpus), ("GPU", resources.gpus))
        if wanted > there.get(name, 0)
    ]
    if faults:
        raise InputError(faults)


def quiet_environment(stock_loggers: bool = False) -> None:
    """Set what Ray reads from the environment when it is imported or started; what the user has set stays."""
    for name, value in (_QUIET if stock_loggers else _QUIET | _OURS).items():
        os.environ.setdefault(name, value)


@contextmanager
def _session(address: str | None) -> Iterator[None]:
    """A connection to Ray for as long as the trials run."""
    quiet_environment()
    if address is not None and _has_token():
        # Ray itself uses a token that is there for a cluster that it starts, but not for one that it joins.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {"include_dashboard": False, "object_store_memory": LOCAL_OBJECT_STORE, "_skip_env_hook": True}
        # Or a cluster that this shell happens to know of would get the trials.
        options["address"] = "local"
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (ConnectionError, ValueError) as error:
        if "AuthenticationError" in str(error.__cause__):
            wanted = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with it"
            raise InputError(Fault(f"address {address}", "the Ray cluster refuses our token", wanted)) from None
        raise _no_cluster(address, str(error).splitlines()[0]) from None
    # What goes wrong reaches the listener; its traceback would only tear the progress line.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Ray itself would try an address where nothing listens for ten minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str | None, why: str) -> InputError:
    return InputError(
        Fault(
            f"address {address}", f"no Ray cluster answers: {why}", "give HOST:PORT of one started by ray start --head"
        )
    )


def _has_token() -> bool:
    """Whether Ray would find an authentication token."""
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    return bool(named) or (Path.home() / ".ray" / "auth_token").exists()
