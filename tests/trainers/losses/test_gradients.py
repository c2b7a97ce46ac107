"""Gradients: checked numerically, against the closed form, and against the figures that the study rests on."""

import pytest
import torch

from analysis.theory import gradients
from tests.trainers.losses.cases import FAMILY, HEADS, build, gradient, random_maps
from trainers.losses import TAXONOMY
from trainers.losses.taxonomy import PHIS

MEMBERS = {
    "dice": gradients.DICE,
    "iou": gradients.IOU,
    "tversky": gradients.tversky(),
    "focal_tversky": gradients.focal_tversky(),
    "asymmetric": gradients.asymmetric(),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", TAXONOMY)
def test_gradcheck(name, head):
    for phi in PHIS if TAXONOMY[name].phi_eps else ("I",):
        loss = build(name, phi, 0.3, head)
        prediction, target = random_maps(loss, head, (2, 3, 3, 2))
        presence = torch.ones(prediction.shape[:2], dtype=torch.bool)
        presence[0, -1] = False
        assert torch.autograd.gradcheck(
            lambda s, loss=loss, g=target, known=presence: loss(s, g, presence=known),
            prediction.requires_grad_(),
            atol=1e-8,
        )


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.float32])
def test_the_target_may_have_any_dtype(dtype):
    for name in TAXONOMY:
        loss = build(name)
        prediction, target = random_maps(loss, "sigmoid")
        assert loss(prediction, target.to(dtype)).item() == pytest.approx(loss(prediction, target).item(), rel=1e-12)
        torch.testing.assert_close(
            gradient(loss, prediction, target.to(dtype)), gradient(loss, prediction, target), rtol=1e-12, atol=1e-15
        )


@pytest.mark.parametrize("phi", PHIS)
def test_all_maps_at_once_as_on_a_gpu(phi, monkeypatch):
    for dtype in (torch.float32, torch.float64):
        for target_dtype in (dtype, torch.uint8, torch.bfloat16):
            loss = build("dice", phi, 0.3)
            prediction, target = random_maps(loss, "sigmoid", dtype=dtype)
            target = target.to(target_dtype)
            expected = loss(prediction, target), gradient(loss, prediction, target)
            with monkeypatch.context() as patched:
                patched.setattr("trainers.losses.reductions._by_map", lambda maps: False)
                found = loss(prediction, target), gradient(loss, prediction, target)
            torch.testing.assert_close(found, expected)


def test_a_batch_need_not_lie_in_order():
    loss = build("dice", "I", 0.3, "softmax")
    prediction, target = random_maps(build("ce", head="softmax"), "softmax")
    # What a softmax head passes: the foreground of maps whose channels come last in memory.
    scattered = prediction.contiguous(memory_format=torch.channels_last_3d)[:, 1:]
    expected = gradient(loss, prediction[:, 1:].contiguous(), target[:, 1:].contiguous())
    torch.testing.assert_close(gradient(loss, scattered, target[:, 1:]), expected)


@pytest.mark.parametrize(
    ("phi", "eps", "expected"), [("I", 1e-7, 6.473e-16), ("BI", 1e-7, 1.2642e-5), ("I", 8789.0, 1.4222e-5)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_push_on_an_empty_map(phi, eps, expected, dtype):
    # Case 0 is half right and case 1 is empty; in both, 8,789 voxels are predicted.
    target = torch.zeros(2, 1, 2 * 8789, dtype=dtype)
    target[0, 0, :8789] = 1
    push = gradient(build("dice", phi, eps), torch.full_like(target, 0.5), target)[1]
    assert push.min() == push.max()
    assert push[0, 0].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("name", FAMILY)
def test_closed_form_of_the_family(name, phi):
    loss = build(name, phi, 0.7)
    prediction, target = random_maps(loss, "sigmoid")
    axes = {"I": (2, 3, 4), "CI": (1, 2, 3, 4), "BI": (0, 2, 3, 4), "BCI": (0, 1, 2, 3, 4)}[phi]
    sums = [part.sum(axes, keepdim=True).numpy() for part in (prediction * target, prediction, target)]
    both, predicted, true = sums
    expected = gradients.family_gradient(
        MEMBERS[name], target.numpy(), both=both, predicted=predicted, true=true, eps=0.7, phis=both.size
    )
    torch.testing.assert_close(gradient(loss, prediction, target), torch.from_numpy(expected), rtol=1e-9, atol=1e-15)


def test_closed_form_of_the_others():
    prediction, target = random_maps(build("dice"), "sigmoid")
    g, s = target.numpy(), prediction.numpy()
    space, eps = (2, 3, 4), 0.7
    both, true = (g * s).sum(space, keepdims=True), g.sum(space, keepdims=True)
    squares = (g**2 + s**2).sum(space, keepdims=True)
    weight = 1 / true**2
    weighted_both = (weight * both).sum(1, keepdims=True)
    weighted_total = (weight * (true + s.sum(space, keepdims=True))).sum(1, keepdims=True)
    gdl = gradients.generalised_dice_gradient(
        g, weight, weighted_both=weighted_both, weighted_total=weighted_total, eps=eps, phis=2
    )
    value = build("gdl", "I", eps)(prediction, target).item()
    expected = {
        "dice_squared": gradients.squared_dice_gradient(g, s, both=both, squares=squares, eps=eps, phis=6),
        "ss": gradients.sensitivity_specificity_gradient(g, s, true=true, voxels=60, eps=eps, phis=6),
        "gdl": gdl,
        "penalty": gdl * gradients.penalty_factor(value),
    }
    for name, closed in expected.items():
        found = gradient(build(name, "I", eps), prediction, target)
        torch.testing.assert_close(found, torch.from_numpy(closed), rtol=1e-9, atol=1e-15)
