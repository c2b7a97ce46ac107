"""What must hold for any maps in [0, 1], empty ones among them."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.losses.cases import REGION, build, gradient
from trainers.losses import TAXONOMY
from trainers.losses.taxonomy import PHIS

EPSILONS = st.sampled_from([1e-7, 1e-2, 1.0, 300.0])
LIGHT = settings(max_examples=15, deadline=None, derandomize=True)
FEW = st.integers(1, 3)
SPACES = st.sampled_from([(4,), (3, 2), (2, 3, 2)])


@st.composite
def maps(draw, batch=FEW, classes=FEW):
    shape = (draw(batch), draw(classes), *draw(SPACES))
    values = st.floats(0, 1, width=32) | st.sampled_from([0.0, 1.0])
    prediction = draw(arrays.arrays(np.float32, shape, elements=values))
    target = draw(arrays.arrays(np.float32, shape, elements=st.sampled_from([0.0, 1.0])))
    emptied = draw(arrays.arrays(bool, shape[:2]))
    target[emptied] = 0
    return torch.from_numpy(prediction).double(), torch.from_numpy(target).double()


def equal(one, other):
    assert one.item() == pytest.approx(other.item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", REGION)
@LIGHT
@given(maps(batch=st.just(1)), EPSILONS)
def test_one_case_makes_bi_i(name, pair, eps):
    equal(build(name, "BI", eps)(*pair), build(name, "I", eps)(*pair))


@pytest.mark.parametrize("name", REGION)
@LIGHT
@given(maps(classes=st.just(1)), EPSILONS)
def test_one_class_makes_bci_bi_and_ci_i(name, pair, eps):
    equal(build(name, "BCI", eps)(*pair), build(name, "BI", eps)(*pair))
    equal(build(name, "CI", eps)(*pair), build(name, "I", eps)(*pair))


@pytest.mark.parametrize("name", REGION)
@LIGHT
@given(maps(), EPSILONS, st.sampled_from(PHIS), st.randoms(use_true_random=False))
def test_order_does_not_matter(name, pair, eps, phi, random):
    loss = build(name, phi, eps)
    expected = loss(*pair)
    for axis in range(pair[0].ndim):
        order = list(range(pair[0].shape[axis]))
        random.shuffle(order)
        pair = tuple(part.index_select(axis, torch.tensor(order)) for part in pair)
    equal(loss(*pair), expected)


@pytest.mark.parametrize("name", [*REGION, "leaf_dice", "marginal_dice"])
@LIGHT
@given(maps(), EPSILONS, st.sampled_from(PHIS))
def test_range(name, pair, eps, phi):
    assert -1e-12 <= build(name, phi, eps)(*pair).item() <= 1 + 1e-12


@pytest.mark.parametrize("name", TAXONOMY)
@LIGHT
@given(maps(), EPSILONS, st.sampled_from(PHIS))
def test_finite(name, pair, eps, phi):
    prediction, target = (part.float() for part in pair)
    loss = build(name, phi, eps)
    assert torch.isfinite(loss(prediction, target))
    assert torch.isfinite(gradient(loss, prediction, target)).all()


@LIGHT
@given(maps(), EPSILONS, st.sampled_from(PHIS))
def test_leaf_and_marginal_with_everything_there_are_dice(pair, eps, phi):
    prediction, target = pair
    target[:, :, 0] = 1  # no map is empty
    expected = build("dice", phi, eps)(prediction, target)
    everything = torch.ones(target.shape[:2], dtype=torch.bool)
    for name in ("leaf_dice", "marginal_dice"):
        equal(build(name, phi, eps)(prediction, target), expected)
        equal(build(name, phi, eps)(prediction, target, presence=everything), expected)
