"""Every loss of the list as a study: sigmoid and softmax, both labelings."""

import math

import pytest

from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.planning.plan import make_plan
from trainers.data.prepared.read import DISTANCES
from trainers.losses.taxonomy import TAXONOMY

SIGMOID = """
name: every-loss
data: {source: phantom, train: 4, test: 4, shape: [16, 16, 8], radius: [2.0, 3.0]}
labeling: {empty: {group: B, classes: [tumor]}}
"""
SOFTMAX = """
name: every-loss
data: {source: phantom-cardiac, train: 2, test: 2, shape: [24, 24, 4]}
labeling: {empty: {group: ES, classes: [MYO]}}
"""
REST = """
trial: {epochs: 1, lr: 1.0e-3}
search:
  space:
    loss: [%s]
    phi: [I, BI]
    eps: [v_hat]
    batch_size: 2
    labeling: [full, partial]
"""


@pytest.mark.parametrize("head", [SIGMOID, SOFTMAX], ids=["sigmoid", "softmax"])
def test_every_loss_trains_to_an_ending(head, places):
    study = parse_study(head + REST % ", ".join([*TAXONOMY, "{terms: [dice, {name: boundary, weight: 0.01}]}"]))
    ended = launch(study, places, address=INLINE, quiet=True)
    plan = make_plan(study, places.storage)
    assert ended.failed == 0, [result.reason for result in plan.results.values() if result.reason]
    assert {spec.loss.name for spec in plan.trials} == {*TAXONOMY, "dice + 0.01 boundary"}
    for result in plan.results.values():
        assert all(math.isfinite(value) for value in result.metrics.values())
    assert list(places.storage.root.glob(f"prepared/*/{DISTANCES}"))
