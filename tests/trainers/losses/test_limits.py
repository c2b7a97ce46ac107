"""Limits: a large ε, empty against empty, perfect, inverted; and what half precision does to a large volume."""

import math

import pytest
import torch

from tests.trainers.losses.cases import FAMILY, HEADS, REGION, WITH_PHI, build, gradient, line, random_maps
from trainers.losses import TAXONOMY
from trainers.losses.numerics import LOG_FLOOR
from trainers.losses.taxonomy import PHIS

OVERLAPS = [*REGION, "leaf_dice", "marginal_dice"]
LARGE = (2, 4, 192, 192, 48)


@pytest.mark.parametrize("phi", PHIS)
def test_a_large_eps_tends_to_the_absolute_error(phi):
    prediction, target = random_maps(build("dice"), "sigmoid")
    phis = {"I": 6, "CI": 2, "BI": 3, "BCI": 1}[phi]
    eps = 1e8
    loss = build("dice", phi, eps)(prediction, target) * eps * phis
    assert loss.item() == pytest.approx((prediction - target).abs().sum().item(), rel=1e-5)
    slopes = gradient(build("dice", phi, eps), prediction.float(), target.float()) * eps * phis
    torch.testing.assert_close(slopes, (1 - 2 * target).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eps", [1e-7, 1.0, 1e6])
@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("name", OVERLAPS)
def test_perfect_is_0(name, phi, eps):
    _, target = random_maps(build("dice"), "sigmoid", dtype=torch.float32)
    assert build(name, phi, eps)(target, target).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("name", OVERLAPS)
def test_inverted_is_1(name, phi):
    _, target = random_maps(build("dice"), "sigmoid")
    assert build(name, phi, 1e-9)(1 - target, target).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("name", OVERLAPS)
def test_empty_predicted_empty_is_0(name, phi):
    nothing = torch.zeros(2, 3, 4, 4)
    assert build(name, phi, 1e-7)(nothing, nothing).item() == 0
    assert torch.isfinite(gradient(build(name, phi, 1e-7), nothing, nothing)).all()


@pytest.mark.parametrize("name", FAMILY)
def test_full_predicted_empty_is_1(name):
    full = torch.ones(2, 3, 4, 4)
    assert build(name, "I", 1e-7)(full, torch.zeros_like(full)).item() == pytest.approx(1, abs=1e-6)
    assert build(name, "I", 1e-7)(torch.zeros_like(full), full).item() == pytest.approx(1, abs=1e-6)


def test_tversky_with_halves_is_dice():
    maps = random_maps(build("dice"), "sigmoid")
    tversky = build("tversky", "BI", 0.4, alpha=0.5, beta=0.5)(*maps)
    assert tversky.item() == pytest.approx(build("dice", "BI", 0.8)(*maps).item(), rel=1e-12)
    assert build("asymmetric", "I", 0.4, beta=1.0)(*maps) == pytest.approx(build("dice", "I", 0.8)(*maps))


def test_entropies_of_the_extremes():
    wrong, target = line([[0.0, 1.0]]), line([[1, 0]])
    assert build("ce")(wrong, target).item() == pytest.approx(-math.log(LOG_FLOOR))
    assert build("ce")(target, target).item() == 0
    assert build("topk", t=0.5)(target, target).item() == 0


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", TAXONOMY)
def test_finite_at_the_extremes(name, head):
    for phi in PHIS if TAXONOMY[name].phi_eps else ("I",):
        loss = build(name, phi, 1e-7, head)
        prediction, target = random_maps(loss, head, dtype=torch.float32)
        if head == "softmax" and loss.needs_background:
            empty = torch.zeros_like(target)
            empty[:, 0] = 1
        else:
            empty = torch.zeros_like(target)
        for g in (target, empty):
            for s in (prediction, g, 1 - g, torch.zeros_like(g), torch.ones_like(g), torch.full_like(g, 1e-38)):
                assert torch.isfinite(loss(s, g)), (phi, s.mean())
                assert torch.isfinite(gradient(loss, s, g)).all(), (phi, s.mean())


HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", TAXONOMY)
def test_half_precision(name, head, dtype):
    loss = build(name, "I", 1e-7, head)
    prediction, target = random_maps(loss, head, (2, 4, 24, 24, 12))
    half = prediction.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        value = loss(half, target.to(dtype))
        # The scale that a gradient scaler starts with; without one, float16 cannot hold such small numbers.
        slopes = gradient(lambda s, g: 65536 * loss(s, g), half, target.to(dtype))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(half.double(), target).item(), rel=1e-4)
    exact = gradient(loss, half.double(), target)
    assert slopes.dtype == dtype
    error = (slopes.double() / 65536 - exact).abs().max() / exact.abs().max()
    assert error < {torch.bfloat16: 2**-8, torch.float16: 2**-10}[dtype]


@pytest.fixture(scope="module")
def large():
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(LARGE, dtype=torch.uint8)
    target[0, 0] = 1  # 1.8 million voxels, 27 times the largest float16; the other maps hold less, or nothing
    target[:, 1, 40:90, 40:90, 10:30] = 1
    return torch.rand(LARGE, generator=generator), target


# Of the family one member, of the weighted sums one: the others sum the same things. Hausdorff's distance maps
# alone would take longer than all the rest.
ONE_OF_A_KIND = [
    *("ce", "wce", "topk", "focal", "dpce", "ss", "dice", "dice_squared", "gdl", "focal_tversky"),
    *("boundary", "combo", "ell", "dice_ce", "leaf_dice", "marginal_dice"),
]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_half_precision_of_a_large_volume(name, dtype, large):
    prediction, target = large[0].to(dtype), large[1]
    loss = build(name, "BI", 1e-7)
    given = {"distance": 1 - 2 * target.to(dtype)} if loss.needs_distance else {}
    with torch.autocast("cpu", dtype=dtype):
        prediction.requires_grad_()
        value = loss(prediction, target, **given)
        (slopes,) = torch.autograd.grad(1e4 * value, prediction)
    assert torch.isfinite(value)
    assert torch.isfinite(slopes).all()
    if name == "dice":
        exact = prediction.detach().double()
        assert value.item() == pytest.approx(loss(exact, target).item(), rel=1e-5)
        truth = gradient(loss, exact, target) * 1e4
        assert (slopes - truth).abs().max() <= 2**-8 * truth.abs().max()


def test_float32_sums_of_a_large_volume():
    ones = torch.ones(1, 1, 256, 256, 192)
    half = torch.full_like(ones, 0.5)
    voxels = ones.numel()
    expected = 1 - (2 * 0.5 * voxels) / (1.5 * voxels)
    assert build("dice", "I", 1e-7)(half, ones).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", WITH_PHI)
def test_eps_may_be_tiny_or_huge(name):
    prediction, target = random_maps(build("dice"), "sigmoid", dtype=torch.float32)
    target[0] = 0
    for eps in (1e-30, 1e30):
        loss = build(name, "I", eps)
        assert torch.isfinite(loss(prediction, target))
        assert torch.isfinite(gradient(loss, prediction, target)).all()
