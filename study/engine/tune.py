"""Ray Tune as the scheduler of trials."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from study.engine import Circumstances, Event, Listener
from study.engine.cluster import compare_resources, session
from study.storage import Storage
from trainers.data.preparation import Work
from trainers.spec import TrialSpec

RETRIES = 3
"""How often a trial is started again after its machine or process went away; its own faults are results."""
TASK_CASES = 8
"""The most cases that one Ray task prepares."""


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
            self._stack.enter_context(session(self.address))
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

            compare_resources(given.resources, ray.cluster_resources(), f"the cluster at {self.address}")
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
