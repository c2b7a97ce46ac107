"""Every loss of the survey by name, with Φ and ε wherever they apply.

``taxonomy`` lists them without importing torch; ``make_loss`` builds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainers.losses.taxonomy import TAXONOMY, LossEntry, with_phi_eps

if TYPE_CHECKING:
    from trainers.data.base import Head
    from trainers.losses.base import Loss

__all__ = ["TAXONOMY", "LossEntry", "make_loss", "with_phi_eps"]


def make_loss(spec: Mapping[str, Any], *, head: Head = "sigmoid", classes: int | None = None) -> Loss:
    """Build a loss from its specification.

    spec: ``{"name": "dice", "phi": "I", "eps": 1e-7}`` with the parameters that ``TAXONOMY`` lists for the
    name, or a weighted sum, ``{"terms": [{"name": "dice", …, "weight": 1.0}, {"name": "ce", "weight": 0.5}]}``.
    Losses that take Φ and ε need both written out: ``phi`` is one of I, CI, BI, BCI, and ``eps`` a number
    above 0 [voxels] or, for I and BI, a sequence with one number per class.
    head: what the network ends in. ``sigmoid`` maps may overlap, and entropies are binary; ``softmax`` maps
    exclude each other and have a background, and entropies are categorical.
    classes: number of foreground classes; given, sequences per class are checked now, not at the first call.

    Returns: a loss that takes probabilities and a 0/1 target, both (batch, class, *space), and gives a scalar;
    see ``trainers.losses.base.Loss`` for ``presence``, ``distance`` and what ``needs_background`` asks for.

    Raises: InputError with every fault of the specification.
    """
    # Here and not above: the list of losses is to be had without waiting for torch.
    from trainers.losses.registry import build_loss

    return build_loss(spec, head=head, classes=classes)
