"""Maps that several tests share."""

import torch

from trainers.losses import TAXONOMY, make_loss, with_phi_eps

# A case that fits on a line, with its sums: Σgs = 1.2, Σs = 1.8, Σg = 2, so FP = 0.6 and FN = 0.8.
TARGET = [1.0, 1.0, 0.0, 0.0]
PREDICTION = [0.8, 0.4, 0.6, 0.0]

REGION = [name for name, entry in TAXONOMY.items() if entry.category == "region"]
FAMILY = ["dice", "iou", "tversky", "focal_tversky", "asymmetric"]
WITH_PHI = [name for name, entry in TAXONOMY.items() if entry.phi_eps]
HEADS = ["sigmoid", "softmax"]


def line(*cases):
    """Values of (case, class, voxel), in float64."""
    return torch.tensor(cases, dtype=torch.float64)


def build(name, phi="I", eps=0.5, head="sigmoid", **parameters):
    return make_loss(with_phi_eps({"name": name, **parameters}, phi=phi, eps=eps), head=head)


def random_maps(loss, head, shape=(2, 3, 5, 4, 3), seed=0, dtype=torch.float64):
    """Probabilities and a target as the loss wants them; ``shape`` counts the background under softmax."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    if head == "sigmoid":
        return logits.sigmoid().to(dtype), (torch.rand(shape, generator=generator) < 0.4).to(dtype)
    classes = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    target = torch.nn.functional.one_hot(classes, shape[1]).movedim(-1, 1).to(dtype)
    prediction = logits.softmax(1).to(dtype)
    return (prediction, target) if loss.needs_background else (prediction[:, 1:], target[:, 1:])


def gradient(loss, prediction, target, **arguments):
    prediction = prediction.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(prediction, target, **arguments), prediction)
    return found
