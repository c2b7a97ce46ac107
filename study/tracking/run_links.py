"""Where the runs of a study's cells can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.storage.locations import Places
from study.storage.tracking_uri import TrackingUri
from study.tracking.client import all_runs, open_client
from study.tracking.dashboard import DEFAULT_ADDRESS
from study.tracking.reader import find_experiment
from study.tracking.schema import CELL, IN_STUDY, KIND


@dataclass(frozen=True)
class RunLinks:
    """Addresses of cells' runs in one store's server. address: of the server; what: it is, in words."""

    address: str
    what: str
    cells: Mapping[str, str]


def run_links(study: str, places: Places) -> RunLinks:
    """Where each cell's run can be opened: on the store's own server, else where ``dicestudy dashboard`` serves it."""
    client = open_client(places.store, create=False)
    number = find_experiment(client, study)
    uri = TrackingUri(places.store)
    if uri.is_server:
        address, what = uri.without_credentials.rstrip("/"), "the tracking server of this study"
    else:
        address, what = DEFAULT_ADDRESS, "where dicestudy dashboard shows this study's store while it runs"
    found = all_runs(client, number, f"tags.`{KIND}` = 'cell' AND tags.`{IN_STUDY}` = 'true'")
    cells = {run.data.tags[CELL]: f"{address}/#/experiments/{number}/runs/{run.info.run_id}" for run in found}
    return RunLinks(address, what, cells)
