"""Against implementations that are not ours: MONAI's losses and torch's entropies, where the formulas coincide."""

import pytest
import torch
from monai.losses import DiceLoss, FocalLoss, GeneralizedDiceLoss, HausdorffDTLoss, TverskyLoss
from torch.nn import functional

from tests.trainers.losses.cases import build, random_maps

EPS = 3.0


@pytest.fixture
def maps():
    return random_maps(build("dice"), "sigmoid")


@pytest.mark.parametrize(("phi", "batch"), [("I", False), ("BI", True)])
@pytest.mark.parametrize(
    ("name", "stranger"),
    [
        ("dice", lambda batch: DiceLoss(smooth_nr=EPS, smooth_dr=EPS, batch=batch)),
        ("dice_squared", lambda batch: DiceLoss(smooth_nr=EPS, smooth_dr=EPS, batch=batch, squared_pred=True)),
        # MONAI counts 2·TP beside its smoothing here too.
        ("iou", lambda batch: DiceLoss(smooth_nr=2 * EPS, smooth_dr=2 * EPS, batch=batch, jaccard=True)),
        ("tversky", lambda batch: TverskyLoss(alpha=0.3, beta=0.7, smooth_nr=EPS, smooth_dr=EPS, batch=batch)),
    ],
)
def test_monai_region(name, stranger, phi, batch, maps):
    ours, theirs = build(name, phi, EPS)(*maps), stranger(batch)(*maps)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


@pytest.mark.parametrize(("phi", "batch"), [("I", False), ("BI", True)])
def test_monai_generalised_dice(phi, batch, maps):
    prediction, target = maps
    target[:, 1] = 0  # absent from every case: both give it the largest of the other weights
    stranger = GeneralizedDiceLoss(smooth_nr=1e-5, smooth_dr=1e-5, batch=batch)
    assert build("gdl", phi, 1e-5)(prediction, target).item() == pytest.approx(
        stranger(prediction, target).item(), rel=1e-6
    )


def test_monai_hausdorff(maps):
    assert build("hausdorff")(*maps).item() == pytest.approx(
        HausdorffDTLoss(include_background=True)(*maps).item(), rel=1e-5
    )


def test_monai_focal(maps):
    prediction, target = maps
    stranger = FocalLoss(gamma=2.0)(torch.logit(prediction), target)
    assert build("focal")(prediction, target).item() == pytest.approx(stranger.item(), rel=1e-6)


def test_monai_focal_softmax():
    loss = build("focal", head="softmax")
    prediction, target = random_maps(loss, "softmax")
    # MONAI averages over the classes, of which all but the true one are 0.
    stranger = FocalLoss(gamma=2.0, use_softmax=True)(prediction.log(), target) * prediction.shape[1]
    assert loss(prediction, target).item() == pytest.approx(stranger.item(), rel=1e-6)


def test_torch_entropies(maps):
    assert build("ce")(*maps).item() == pytest.approx(functional.binary_cross_entropy(*maps).item())
    loss = build("ce", head="softmax")
    prediction, target = random_maps(loss, "softmax")
    stranger = functional.nll_loss(prediction.log(), target.argmax(1))
    assert loss(prediction, target).item() == pytest.approx(stranger.item())
    weighted = build("wce", head="softmax", class_weights=[0.5, 2.0, 3.0])
    summed = functional.nll_loss(
        prediction.log(), target.argmax(1), weight=torch.tensor([0.5, 2.0, 3.0]).double(), reduction="sum"
    )
    assert weighted(prediction, target).item() == pytest.approx(summed.item() / target[:, 0].numel())
