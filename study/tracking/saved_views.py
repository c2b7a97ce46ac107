"""What a study's experiment looks like when it opens: saved views of MLflow's interface, kept as its tags.

A view holds a filter, an order, columns and charts. The interface lists it by name, and opens with it where the
address ends in ``?viewStateShareKey=KEY``. MLflow documents neither, so a test looks at the page itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from study.config.spec import StudySpec
from study.config.trial_params import Value, trial_settings, varied_settings
from study.tracking.schema import CELLS, CURVES, VIEW_NAMES
from trainers.metric_names import metric_name
from trainers.spec import TrialSpec

VIEW = "mlflow.sharedViewState."
"""Prefix of an experiment's tag that is a view; what follows is its key."""
MOST_CLASSES, MOST_GROUPS = 3, 2
"""Emptied classes, and groups beside the emptied one, that have columns and charts; a tag holds 5,000 characters."""
NAMES = ("loss", "phi", "labeling")
"""Settings that are names, worth an axis of their own between those that are numbers."""
AXES = 1
"""Results beside the settings in parallel coordinates."""
SHOWN_AT_ONCE = "FIRST_20_RUNS"
"""Of the charts; the interface slows beyond a hundred."""
NEVER = 0
"""When a view was made [ms]; always the same, so that the same study gives the same tags."""


def view_path(number: str, key: str = CELLS) -> str:
    """Where an experiment opens with a view, behind the address of a server and a slash."""
    mode = "&compareRunsMode=CHART" if key == CURVES else ""
    return f"#/experiments/{number}/runs?viewStateShareKey={key}{mode}"


def views_of(study: StudySpec, trials: Iterable[TrialSpec]) -> dict[str, str]:
    """Tags of a study's experiment: one view of its cells, one of its trials' learning curves."""
    every = [trial_settings(spec) for spec in trials]
    varied = varied_settings(every)
    emptied = study.labeling.empty
    classes = list(emptied.classes)[:MOST_CLASSES]
    groups = [*[group for group in study.data.groups if group != emptied.group][:MOST_GROUPS], emptied.group]
    scores = [metric_name("dsc", group, name) for name in classes for group in groups]
    retained = [metric_name("retention", name) for name in classes]
    figures = [f"final.{name}" for name in (*retained, *scores, *(metric_name("auc", name) for name in classes))]
    settings = [_column("params", name) for name in varied]
    cells = {
        **_runs("cell", _column("metrics", figures[0])),
        "selectedColumns": [*settings, _column("metrics", "n"), *(_column("metrics", name) for name in figures)],
        **_charts(
            VIEW_NAMES[CELLS],
            [
                # The settings as the metrics that mirror them: a parameter is text, and text has no order.
                {
                    "type": "PARALLEL",
                    "selectedParams": [name for name in varied if name in NAMES],
                    "selectedMetrics": [*_numbers(varied, every), *figures[:AXES]],
                },
                *({"type": "BAR", "metricKey": name} for name in figures[: len(retained) + len(scores)]),
            ],
            columns=2,
        ),
    }
    curves = {
        **_runs("trial", _column("attributes", "Created")),
        "selectedColumns": [*settings, *(_column("params", name) for name in ("fold", "seed"))],
        **_charts(
            VIEW_NAMES[CURVES],
            [
                {"type": "LINE", "metricKey": "train.loss"},
                *({"type": "LINE", "metricKey": f"val.{name}"} for name in scores),
            ],
            columns=3,
        ),
    }
    return {VIEW + CELLS: _saved(CELLS, cells), VIEW + CURVES: _saved(CURVES, curves)}


def _saved(key: str, state: dict[str, Any]) -> str:
    """A view as the interface saves one, its state being text within the text."""
    text = json.dumps(state, separators=(",", ":"))
    return json.dumps({"name": VIEW_NAMES[key], "createdAt": NEVER, "updatedAt": NEVER, "state": text})


def _runs(kind: str, order: str) -> dict[str, Any]:
    return {
        "searchFilter": f"tags.`dicestudy.kind` = '{kind}' AND tags.`dicestudy.in_study` = 'true'",
        "orderByKey": order,
        "orderByAsc": False,
        "runsHiddenMode": SHOWN_AT_ONCE,
    }


def _charts(title: str, charts: Sequence[dict[str, Any]], columns: int) -> dict[str, Any]:
    """Our charts in a section that is open; those that the interface makes of every metric in one that is not."""
    section = "dicestudy"
    common = {"metricSectionId": section, "deleted": False, "isGenerated": False, "runsCountToCompare": 20}
    return {
        "compareRunCharts": [{"uuid": f"{section}-{i}", **common, **chart} for i, chart in enumerate(charts)],
        "compareRunSections": [
            _section(section, title, columns, display=True),
            _section(f"{section}-rest", "Model metrics", columns, display=False),
        ],
        "isAccordionReordered": True,
    }


def _section(uuid: str, name: str, columns: int, display: bool) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": name,
        "columns": columns,
        "display": display,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }


def _numbers(varied: Sequence[str], every: Sequence[Mapping[str, Value]]) -> list[str]:
    """Metrics that mirror the settings that vary and are numbers; ε as voxels, since ``v_hat`` is none."""
    numeric = [name for name in varied if all(isinstance(settings.get(name, 0), int | float) for settings in every)]
    return [*(["hp.eps_voxels"] if "eps" in varied else []), *(f"hp.{name}" for name in numeric if name != "eps")]


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"
