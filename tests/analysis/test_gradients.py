"""Closed forms against numbers worked by hand and against central differences of the losses themselves."""

import numpy as np
import pytest

from analysis.theory import gradients
from analysis.theory.gradients import empty_map_gradient, eps_roots, family_gradient

V_HAT = 8789.0


@pytest.mark.parametrize(
    ("phi", "eps", "expected"),
    [("I", 1e-7, 6.473e-16), ("BI", 1e-7, 1.2642e-5), ("I", V_HAT, 1.4222e-5)],
)
def test_the_push_on_an_empty_map(phi, eps, expected):
    # Two cases of one class, v̂ voxels predicted in both; the first holds as many, half of them hit, the second none.
    sums = {"both": 0.0, "predicted": V_HAT, "true": 0.0, "phis": 2}
    if phi == "BI":
        sums = {"both": V_HAT / 2, "predicted": 2 * V_HAT, "true": V_HAT, "phis": 1}
    assert family_gradient(gradients.DICE, 0.0, eps=eps, **sums) == pytest.approx(expected, rel=1e-4)


def test_dice_by_hand():
    # −(1/|Φ|) [2y/(S+ε) − (2I+ε)/(S+ε)²]
    sums = {"both": 1.2, "predicted": 1.8, "true": 2.0, "eps": 0.5, "phis": 3}
    found = family_gradient(gradients.DICE, [0.0, 1.0], **sums)
    outside = (2 * 1.2 + 0.5) / (3.8 + 0.5) ** 2 / 3
    assert found == pytest.approx([outside, outside - 2 / (3.8 + 0.5) / 3])


def score(member, g, s, eps):
    both = (g * s).sum()
    hit = member.scale * both + eps
    return hit / (hit + member.scale * (member.alpha * (s.sum() - both) + member.beta * (g.sum() - both)))


def squared(g, s, eps):
    return 1 - (2 * (g * s).sum() + eps) / ((g**2).sum() + (s**2).sum() + eps)


def sensitivity_specificity(g, s, eps):
    errors = (g - s) ** 2
    return 0.05 * (errors * g).sum() / (g.sum() + eps) + 0.95 * (errors * (1 - g)).sum() / ((1 - g).sum() + eps)


def differences(loss, s, step=1e-6):
    return np.array([(loss(s + step * unit) - loss(s - step * unit)) / (2 * step) for unit in np.eye(len(s))])


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return (rng.random(12) < 0.4).astype(float), rng.uniform(0.05, 0.95, 12)


@pytest.mark.parametrize(
    "member",
    [gradients.DICE, gradients.IOU, gradients.tversky(), gradients.focal_tversky(), gradients.asymmetric()],
)
def test_the_family(member, maps):
    g, s = maps
    found = family_gradient(member, g, both=(g * s).sum(), predicted=s.sum(), true=g.sum(), eps=0.3)
    expected = differences(lambda s: (1 - score(member, g, s, 0.3)) ** (1 / member.gamma), s)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(set(found.round(12))) == 2  # one for g = 0, one for g = 1


def test_squares(maps):
    g, s = maps
    found = gradients.squared_dice_gradient(g, s, both=(g * s).sum(), squares=(g**2 + s**2).sum(), eps=0.3)
    np.testing.assert_allclose(found, differences(lambda s: squared(g, s, 0.3), s), rtol=1e-6)
    found = gradients.sensitivity_specificity_gradient(g, s, true=g.sum(), voxels=len(g), eps=0.3)
    np.testing.assert_allclose(found, differences(lambda s: sensitivity_specificity(g, s, 0.3), s), rtol=1e-6)


def test_generalised_dice_and_penalty(maps):
    g, s = maps
    weight = np.repeat([0.25, 2.0], 6)  # two classes of six voxels

    def loss(s):
        return 1 - (2 * (weight * g * s).sum() + 0.3) / ((weight * (g + s)).sum() + 0.3)

    found = gradients.generalised_dice_gradient(
        g, weight, weighted_both=(weight * g * s).sum(), weighted_total=(weight * (g + s)).sum(), eps=0.3
    )
    np.testing.assert_allclose(found, differences(loss, s), rtol=1e-6)
    found = found * gradients.penalty_factor(loss(s))
    np.testing.assert_allclose(found, differences(lambda s: loss(s) / (1 + 2.5 * (1 - loss(s))), s), rtol=1e-6)


def test_a_perfect_map_under_focal_tversky():
    found = family_gradient(gradients.focal_tversky(), [0.0, 1.0], both=2, predicted=2, true=2, eps=0.1)
    assert np.isinf(found).all()


def test_one_root_where_the_heuristic_has_one():
    assert eps_roots(0.5, 2.0, V_HAT) == (V_HAT,)


@pytest.mark.parametrize(("a", "b"), [(0.2, 2.0), (0.01, 3.0), (1e-9, 1.0), (0.1, 1.1)])
def test_two_roots(a, b):
    k = 2 * a / b**2
    assert k < 0.25
    low, high = eps_roots(a, b, 100.0)
    assert low < 100.0 < high
    assert low * high == pytest.approx(100.0**2)
    for eps in (low, high):
        assert 2 * a * 100 / (b * 100) ** 2 == pytest.approx(eps / (100 + eps) ** 2)
    assert low + high == pytest.approx(-(2 * k - 1) * 100 / k)


def test_no_root_above_a_quarter():
    assert eps_roots(0.8, 2.0, V_HAT) == ()
    # The labelled map is pushed harder than an empty one can be.
    assert empty_map_gradient(V_HAT, V_HAT) < 2 * 0.8 / (2.0**2 * V_HAT)


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_the_heuristic_needs_positive_numbers(wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        eps_roots(*wrong)


def test_an_empty_map_is_pushed_most_at_v_hat():
    eps = np.geomspace(1e-3, 1e9, 100_001)
    push = empty_map_gradient(eps, V_HAT)
    assert eps[push.argmax()] == pytest.approx(V_HAT, rel=1e-3)
    assert push.max() == pytest.approx(1 / (4 * V_HAT))
    # It is the family's, of a map with no true voxel.
    dice = family_gradient(gradients.DICE, 0, both=0, predicted=V_HAT, true=0, eps=eps)
    np.testing.assert_allclose(push, dice)
