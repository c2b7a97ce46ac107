"""Running trials in the launching process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from study.execution.engine import Event, Node, RunContext
from study.execution.trial_source import TrialSource
from trainers.data.prepared.write import Work, one_by_one
from trainers.spec import TrialSpec


class _BehindError(BaseException):
    """Ends a trial from within; no fault of the trial's, so nothing that it catches."""


class InlineEngine:
    """The same in this process, one after the other: for tests and debuggers."""

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def spread(self, work: Work, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Do the work here."""
        return one_by_one(work, numbers)

    def ask_nodes(self, question: Callable[[str], Any]) -> Iterator[tuple[Node, Any]]:
        """Ask this process."""
        here = Node("here", "here")
        yield here, question(here.id)

    def run_trials(self, source: TrialSource, context: RunContext) -> None:
        """Run the trials here."""
        from study.execution.trial_worker import work

        # Nothing runs beside this, so a supply that has nothing now has nothing to wait for either.
        while not context.should_stop() and (spec := source.next()) is not None:
            context.listen(Event("started", spec.key))

            def tell(_: object, key: str = spec.key) -> None:
                context.listen(Event("epoch", key))
                if source.should_prune(key):
                    raise _BehindError

            with suppress(_BehindError):
                # The same bytes as an actor of Ray gets: what does not survive the way shows here too.
                work(
                    TrialSpec.model_validate_json(spec.model_dump_json()),
                    context.storage,
                    tell=tell,
                    complain=lambda why, key=spec.key: context.listen(Event("waits", key, why)),  # type: ignore[misc]
                )
            source.tell(spec.key, context.storage.result(spec.key))
            context.listen(Event("ended", spec.key))
