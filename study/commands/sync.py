"""The records of one study in the tracking store, for who holds the study's lock: a launch, or a later delivery."""

from __future__ import annotations

import time
from collections.abc import Sequence

from study.commands.cached_answers import StudyResults
from study.commands.publish import design_of, note_of, publish
from study.config.spec import StudySpec
from study.planning.plan import Plan
from study.storage.locations import Places
from study.storage.study_record import read_members, read_study
from study.storage.tracking_uri import TrackingUri
from study.tracking.client import STORE_ERRORS, require_places
from study.tracking.delivery import Delivery
from study.tracking.saved_views import views_of
from study.tracking.writer import MlflowTracker
from trainers.errors import InputError
from trainers.locks import writing

RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0)
"""Delays [s] between retries of the final upload."""


class StudySync:
    """Brings the store up to date with the storage when it is made; ``finalize`` gives every run its ending.

    begun_anew: keys of failed trials that are to be run once more.
    """

    def __init__(self, plan: Plan, places: Places, begun_anew: Sequence[str] = ()) -> None:
        study = plan.study
        self.places = places
        self.tracker = MlflowTracker(places.store, study.name, places.artifacts / study.name)
        self.tracker.describe(note_of(plan), design_of(study), study.key, views_of(study, plan.representatives))
        self.delivery = Delivery(
            plan.trials, places.storage, self.tracker, plan.representatives if plan.is_search else ()
        )
        self.tracker.mark_members(self.delivery.specs, self.delivery.cells)
        for key in begun_anew:
            self.delivery.reset_run(key)
        # A driver killed earlier may have left runs behind the storage, or said to be running.
        self.delivery.sync_all()

    def finalize(self, plan: Plan, ending: str, reason: str) -> str:
        """Deliver what is missing and close every run; why the store lacks something, if it does."""
        for pause in (*RETRY_DELAYS_S, None):
            try:
                self.tracker.refresh()
                # Whoever is still said to be running was stopped.
                self.delivery.sync_all()
                found = publish(plan, self.places, self.tracker)
                self.delivery.close_cells(found.cells)
                self.tracker.end(self.tracker.summary, ending, reason)
                StudyResults(plan.study.name, self.places).keep(found)
            except InputError as error:
                return TrackingUri(self.places.store).clean(str(error)).splitlines()[0]
            except (*STORE_ERRORS, OSError) as error:
                if pause is None:
                    return TrackingUri(self.places.store).clean(str(error)).splitlines()[0]
                time.sleep(pause)
            else:
                break
        return ""


def sync(study: StudySpec | str, places: Places | None = None) -> dict[str, object]:
    """Deliver the records of a study to the tracking store, without running anything.

    What the store has already stays as it is; a new, empty store gets everything. ``trials``: how many have begun;
    ``runs``: how many of them the store has; ``troubled``: why it lacks something, if it does.

    Raises: InputError if the storage does not know the study, or no store answers; BusyError while a launch runs
    it, which delivers by itself.
    """
    places = places or Places.find()
    study = study if isinstance(study, str) else study.name
    spec, keys = read_study(study, places), read_members(study, places)["trials"]
    require_places(places)
    with writing(places.storage.study(study), f"study {study}"):
        begun = [found for key in keys if (found := places.storage.spec(key)) is not None]
        plan = Plan(spec, tuple(begun), {}).refreshed(places.storage)
        study_sync = StudySync(plan, places)
        whole = len(plan.results) == len(keys)
        troubled = study_sync.finalize(
            plan, "DONE" if whole else "STOPPED", "" if whole else "not all of its trials are over"
        )
        runs = sum(kind == "trial" and run.in_study for (kind, _), run in study_sync.tracker.runs.items())
    return {"study": study, "trials": len(begun), "runs": runs, "troubled": troubled}
