"""Ray Tune as the scheduler of trials."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

from study.config.spec import ResourceSpec
from study.execution.engine import Event, Listener, Node, RunContext
from study.execution.ray_cluster import ask_nodes, session
from study.execution.resources import compare_resources
from study.execution.trial_source import TrialSource
from study.storage.folders import Storage
from trainers.data.prepared.write import Work
from trainers.spec import TrialSpec

RETRIES = 3
"""How often a trial is started again after its machine or process went away; its own faults are results."""
TASK_CASES = 8
"""The most cases that one Ray task prepares."""
MOST_WAITING = 256
"""Actors that may be on their way up at once."""
AHEAD = 1
"""Trials asked for beyond those that there is room for, so that an actor that gets free has work; a search that
asks later knows more."""


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

    def ask_nodes(self, question: Callable[[str], Any]) -> Iterator[tuple[Node, Any]]:
        """Ask every node that is alive, by a task that runs there."""
        self._start()
        return ask_nodes(question)

    def run_trials(self, source: TrialSource, context: RunContext) -> None:
        """Run with Ray Tune what the supply gives."""
        self._start()
        # ``_suggestions`` says how many wait; Tune would start one actor at a time.
        os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", str(MOST_WAITING))
        from ray import tune

        if self.address is not None:
            import ray

            compare_resources(context.resources, ray.cluster_resources(), f"the cluster at {self.address}")
        context.scratch.mkdir(parents=True, exist_ok=True)
        needs = {"cpu": context.resources.cpus, "gpu": context.resources.gpus}
        tuner = tune.Tuner(
            tune.with_resources(_run_job, needs),
            tune_config=tune.TuneConfig(
                search_alg=_suggestions(source, context),
                num_samples=-1,
                # An actor that lives on keeps torch imported and the data mapped.
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.config["job"]["key"],
                trial_dirname_creator=lambda trial: trial.config["job"]["key"],
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(context.scratch.resolve()),
                callbacks=[_callback(context.listen)],
                stop=_stopper(context.should_stop, source.should_prune),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(context.scratch, ignore_errors=True)


def _work_on(work: Work, numbers: list[int]) -> list[dict[str, Any]]:
    return [work(number) for number in numbers]


def _run_job(config: dict[str, Any]) -> None:
    """What an actor does with one trial."""
    from ray import tune

    from study.execution.trial_worker import work

    job = config["job"]
    spec = TrialSpec.model_validate_json(job["spec"])
    work(
        spec,
        Storage(Path(job["storage"])),
        job["device"],
        tell=lambda record: tune.report({"epoch": record["epoch"], "key": spec.key}),
        complain=lambda why: tune.report({"waits": why}),
    )


def _suggestions(source: TrialSource, context: RunContext) -> Any:
    from ray.tune.search import Searcher

    class SourceSearcher(Searcher):  # type: ignore[misc]
        """The supply as Tune asks for it; Tune's driver holds no trial before there is room for it."""

        def __init__(self, source: TrialSource, context: RunContext) -> None:
            super().__init__()
            self.source, self.context = source, context
            self.live: dict[str, str] = {}

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles itself to be restored, which we never do; a supply cannot be pickled

        def set_search_properties(self, *_: Any, **__: Any) -> bool:
            return True  # there is no metric of Tune's to follow

        def suggest(self, trial_id: str) -> Any:
            if self.source.over:
                return Searcher.FINISHED
            if self.context.should_stop() or len(self.live) >= _room(self.context.resources):
                return None
            spec = self.source.next()
            if spec is None:
                return Searcher.FINISHED if self.source.over else None
            self.live[trial_id] = spec.key
            job = {
                "key": spec.key,
                "spec": spec.model_dump_json(),
                "storage": str(self.context.storage.root.resolve()),
                "device": "cuda" if self.context.resources.gpus else "cpu",
            }
            return {"job": job}

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            pass  # a result is read where the trial left it, once it is over

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: ARG002
            key = self.live.pop(trial_id, None)
            if key is not None:
                result = None
                with suppress(OSError):  # a storage that is away right now: it is asked again when the search goes on
                    result = self.context.storage.result(key)
                self.source.tell(key, result)

    return SourceSearcher(source, context)


def _room(resources: ResourceSpec) -> int:
    """Trials to have in hand: those that fit on the nodes that are there now, and a few more."""
    import ray

    if resources.concurrent is not None:
        return resources.concurrent
    there = ray.cluster_resources()
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus}
    fit = min(int(there.get(name, 0) / amount) for name, amount in wanted.items() if amount)
    return max(fit, 1) + AHEAD


def _callback(listen: Listener) -> Any:
    from ray import tune

    class EventCallback(tune.Callback):  # type: ignore[misc]
        """Tune's words as ours."""

        def __init__(self, listen: Listener) -> None:
            self.listen = listen

        def __getstate__(self) -> dict[str, Any]:
            return {}  # as above

        def on_trial_start(self, *_: Any, trial: Any, **__: Any) -> None:
            self.listen(Event("started", trial.config["job"]["key"]))

        def on_trial_result(self, *_: Any, trial: Any, result: dict[str, Any], **__: Any) -> None:
            kind: Literal["waits", "epoch"] = "waits" if "waits" in result else "epoch"
            self.listen(Event(kind, trial.config["job"]["key"], result.get("waits", "")))

        def on_trial_complete(self, *_: Any, trial: Any, **__: Any) -> None:
            self.listen(Event("ended", trial.config["job"]["key"]))

        def on_trial_error(self, *_: Any, trial: Any, **__: Any) -> None:
            file = trial.error_file
            text = Path(file).read_text().strip() if file and Path(file).exists() else "the engine gave no reason"
            self.listen(Event("lost", trial.config["job"]["key"], text.splitlines()[-1]))

    return EventCallback(listen)


def _stopper(should_stop: Callable[[], bool], should_prune: Callable[[str], bool]) -> Any:
    from ray import tune

    class StopOnRequest(tune.Stopper):  # type: ignore[misc]
        """Ends everything when asked to, and a single trial that its supply wants no more of."""

        def __init__(self, should_stop: Callable[[], bool], should_prune: Callable[[str], bool]) -> None:
            self.should_stop, self.should_prune = should_stop, should_prune

        def __getstate__(self) -> dict[str, Any]:
            return {}  # as above

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
            return "key" in result and self.should_prune(result["key"])

        def stop_all(self) -> bool:
            return self.should_stop()

    return StopOnRequest(should_stop, should_prune)
