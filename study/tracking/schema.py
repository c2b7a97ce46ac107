"""Names of tags, states and limits in MLflow, each once."""

from __future__ import annotations

KIND, KEY, CELL, STUDY = "dicestudy.kind", "dicestudy.key", "dicestudy.cell", "dicestudy.study"


STATE, REASON, EPOCHS, IN_STUDY = "dicestudy.state", "dicestudy.reason", "dicestudy.epochs", "dicestudy.in_study"


ENDING = "dicestudy.ending"
"""Tag of a trial's run: how it ended (``trainers.result.Ending``)."""


DESIGN = "dicestudy.design"
"""Tag of an experiment that is a study: groups, classes and what is emptied, as JSON."""


VERSION = "dicestudy.version"
"""Tag of the study's run: the content hash of its file."""


SETTLED = "dicestudy.settings"
"""Tag of a run that has all its parameters: a run made just before a crash may lack them."""


NOTE, PARENT, RUN_NAME = "mlflow.note.content", "mlflow.parentRunId", "mlflow.runName"


NOTHING = "(none)"
"""A parameter without a value, such as the Φ of a loss that has none."""


RUNNING = "RUNNING"


ENDINGS = {"DONE": "FINISHED", "FAILED": "FAILED", "STOPPED": "KILLED", "LOST": "FAILED"}
"""Our states of a run that is over as MLflow's statuses; of one that is not, both say the same."""


METRICS_A_CALL, PARAMS_A_CALL = 800, 100
"""What goes into one log_batch, which takes 1000 entries, 100 of them parameters and 100 tags."""


CELLS, CURVES = "cells", "curves"


VIEW_NAMES = {CELLS: "Cells", CURVES: "Learning curves"}
"""The views by key, as the interface lists them."""
