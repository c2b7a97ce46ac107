"""Real labels prepared at the paper's spacing and brought back, and what v̂ becomes there."""

import numpy as np
import pytest

from trainers.assignment import assign_cases
from trainers.data.base import LabelTable
from trainers.data.inspection import inspect
from trainers.data.sources.acdc import AcdcSpec
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec

pytestmark = pytest.mark.data


def test_a_label_brought_back_scores_against_itself(real) -> None:
    """The first five patients here; all sixty are in docs/data.md."""
    spec = AcdcSpec(root=real, patients=5)
    scores, shares = [], []
    for files in spec.list_cases():
        _, label = spec._open(files)
        maps = spec._maps(label)
        grid = spec._grid(label, maps)
        box, values = grid.restore(spec._resample(maps, label.spacing, grid).astype(np.float32))
        background = np.clip(1 - values.sum(axis=0, keepdims=True), 0, 1)
        winner = np.concatenate([background, values]).argmax(axis=0)
        back = np.zeros_like(maps)
        back[(slice(None), *box)] = [winner == index for index in (1, 2, 3)]
        space = (1, 2, 3)
        scores.append(2 * (back & maps).sum(axis=space) / (back.sum(axis=space) + maps.sum(axis=space)))
        shares.append(back.sum(axis=space) / maps.sum(axis=space))
    assert (np.mean(scores, axis=0) >= 0.99).all()
    assert np.min(scores) >= 0.95
    assert np.abs(np.array(shares) - 1).max() <= 0.04


def test_v_hat_on_the_papers_grid(real) -> None:
    """Every voxel of v̂ is a volume: voxels by their size give the millilitres of the files."""
    spec = AcdcSpec(root=real, patients=5)
    found = inspect(spec)
    assert found.faults == []
    ml = np.array([one.ml for one in found.findings])
    assert (found.volumes * np.prod(spec.spacing) / 1000).mean(axis=0) == pytest.approx(ml.mean(axis=0), rel=0.02)
    trial = TrialSpec(
        data=spec,
        data_key="any",
        empty=EmptySpec(group="ES", classes=("MYO",)),
        labeling=Regime(name="partial"),
        loss=LossSpec(name="dice", phi="I", eps="v_hat"),
        batch_size=2,
        protocol=ProtocolSpec(epochs=1, sampling={"ED": 3}),
        folds=5,
    )
    given = assign_cases(trial, LabelTable(found.cases, spec.classes, found.volumes, spec.patch_shape))
    at_ed = [i for i in given.train if found.cases[i].group == "ED"]
    # Three of four maps that an epoch sees are of ED, and those of ES count nothing.
    assert given.eps["MYO"] == pytest.approx(0.75 * found.volumes[at_ed, 1].mean())
