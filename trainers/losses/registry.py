"""From a specification to a loss: every fault found at once, then one builder per name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainers.data.base import Head
from trainers.errors import Fault, InputError
from trainers.losses.base import Loss, WeightedSum
from trainers.losses.boundary import BoundaryLoss, HausdorffLoss
from trainers.losses.compound import ComboLoss, LogarithmicDiceLoss
from trainers.losses.distribution import (
    CrossEntropyLoss,
    DistancePenalisedLoss,
    FocalLoss,
    LogarithmicEntropyLoss,
    TopKLoss,
    WeightedCrossEntropyLoss,
)
from trainers.losses.parameter_types import is_number, is_sequence, wanted_instead
from trainers.losses.partial_labels import LeafDiceLoss, MarginalDiceLoss
from trainers.losses.reductions import Partition
from trainers.losses.region import (
    DICE,
    IOU,
    GeneralisedDiceLoss,
    Mixture,
    OverlapLoss,
    SensitivitySpecificityLoss,
    SquaredDiceLoss,
    asymmetric_mixture,
)
from trainers.losses.taxonomy import PHI_MEANING, PHIS, TAXONOMY, LossEntry, Phi


def build_loss(spec: Mapping[str, Any], *, head: Head = "sigmoid", classes: int | None = None) -> Loss:
    """Build one loss or a weighted sum; ``trainers.losses.make_loss`` says what ``spec`` holds.

    Raises: InputError with every fault of the specification.
    """
    if not isinstance(spec, Mapping):
        raise InputError(Fault("loss", f"is {spec!r}", "expected a mapping such as {name: dice, phi: I, eps: 1.0e-7}"))
    faults: list[Fault] = []
    if head not in ("sigmoid", "softmax"):
        faults.append(Fault("loss", f"unknown head {head!r}, known: sigmoid, softmax"))
    if "terms" not in spec:
        if "weight" in spec:
            faults.append(Fault("loss", "a weight belongs to a term", "write {terms: [{name: …, weight: …}, …]}"))
        settings = _read({k: v for k, v in spec.items() if k != "weight"}, "loss", head, classes, faults)
        if faults:
            raise InputError(faults)
        return _build(settings, head)
    faults += [Fault("loss", f"unknown field {key!r} beside terms") for key in spec if key != "terms"]
    terms = spec["terms"]
    if not isinstance(terms, list | tuple) or not terms:
        raise InputError([*faults, Fault("loss", f"terms is {terms!r}", "expected a list of losses with weights")])
    read: list[tuple[float, dict[str, Any]]] = []
    for number, term in enumerate(terms):
        where = f"loss term {number + 1}"
        if not isinstance(term, Mapping):
            faults.append(Fault(where, f"is {term!r}", "expected a mapping such as {name: ce, weight: 0.5}"))
            continue
        weight = term.get("weight", 1.0)
        if not is_number(weight) or weight < 0:
            faults.append(Fault(where, f"weight is {weight!r}", "expected a number, 0 or above"))
            weight = 0.0
        body = {key: value for key, value in term.items() if key != "weight"}
        read.append((float(weight), _read(body, where, head, classes, faults)))
    if faults:
        raise InputError(faults)
    return WeightedSum(
        "+".join(settings["name"] for _, settings in read),
        [(weight, _build(settings, head)) for weight, settings in read],
    )


def _read(spec: Mapping[str, Any], where: str, head: Head, classes: int | None, faults: list[Fault]) -> dict[str, Any]:
    """Read the settings of one loss and fill in the defaults; what is wrong joins ``faults``."""
    name = spec.get("name")
    entry = TAXONOMY.get(name) if isinstance(name, str) else None
    if entry is None:
        faults.append(Fault(where, f"unknown loss {name!r}, known: {', '.join(TAXONOMY)}"))
        return {}
    where = f"{where} {name!r}"
    known = [parameter.name for parameter in entry.parameters]
    listed = ["phi", "eps", *known] if entry.phi_eps else known
    faults += [
        Fault(where, f"unknown parameter {key!r}, known: {', '.join(listed) or 'none'}")
        for key in spec
        if key not in ("name", *listed)
    ]
    settings: dict[str, Any] = {"name": name}
    for parameter in entry.parameters:
        value = spec.get(parameter.name, parameter.default)
        if expected := wanted_instead(parameter, value):
            faults.append(Fault(where, f"{parameter.name} is {value!r}", f"expected {expected}"))
        settings[parameter.name] = value
    if settings.get("background") is True and head == "sigmoid":
        faults.append(Fault(where, "a sigmoid head has no background map", "leave background out"))
    if entry.phi_eps:
        settings["phi"], settings["eps"] = spec.get("phi"), spec.get("eps")
        _check_phi_eps(entry, spec, where, faults)
    for key in ("eps", "class_weights"):
        given: Any = settings.get(key)
        if classes is not None and is_sequence(given):
            counts = (classes, classes + 1) if _has_background(settings, head) else (classes,)
            if len(given) not in counts:
                faults.append(Fault(where, f"{key} has {len(given)} numbers for {classes} classes", "give one each"))
    return settings


def _check_phi_eps(entry: LossEntry, spec: Mapping[str, Any], where: str, faults: list[Fault]) -> None:
    phi: Any = spec.get("phi")
    eps: Any = spec.get("eps")
    if "phi" not in spec:
        faults.append(Fault(where, "phi is missing", f"write it out, one of {', '.join(PHIS)}"))
    elif phi not in PHIS:
        known = "; ".join(f"{name} ({meaning})" for name, meaning in PHI_MEANING.items())
        faults.append(Fault(where, f"unknown phi {phi!r}, known: {known}"))
    if "eps" not in spec:
        faults.append(Fault(where, "eps is missing", "write it out [voxels]; the usual negligible value is 1.0e-7"))
        return
    values = list(eps) if is_sequence(eps) else [eps]
    if not values or not all(is_number(value) and value > 0 for value in values):
        faults.append(Fault(where, f"eps is {eps!r}", "expected a finite number above 0 [voxels], or one per class"))
    if is_sequence(eps):
        if phi in ("CI", "BCI"):
            remedy = "give one number, or use I or BI"
            faults.append(Fault(where, f"eps per class, but a φ of {phi} spans the classes", remedy))
        elif not entry.eps_per_class:
            faults.append(Fault(where, "eps per class, but generalised Dice sums over the classes", "give one number"))


def _has_background(settings: Mapping[str, Any], head: Head) -> bool:
    return head == "softmax" and (bool(settings.get("background")) or "background" not in settings)


def _weights(settings: Mapping[str, Any]) -> tuple[float, ...] | None:
    given = settings.get("class_weights")
    return None if given is None else tuple(float(value) for value in given)


def _partition(settings: Mapping[str, Any], *, background: bool | None = None) -> Partition:
    eps = settings["eps"]
    phi: Phi = settings["phi"]
    return Partition(
        phi,
        tuple(float(value) for value in eps) if is_sequence(eps) else float(eps),
        _weights(settings),
        settings.get("background", False) if background is None else background,
    )


def _dice(settings: Mapping[str, Any]) -> Loss:
    return OverlapLoss("dice", _partition(settings), DICE)


def _gdl(settings: Mapping[str, Any]) -> Loss:
    return GeneralisedDiceLoss("gdl", _partition(settings), settings["absent_weight"])


def _boundary(settings: Mapping[str, Any]) -> Loss:
    return BoundaryLoss("boundary", _weights(settings), background=settings["background"])


def _build(settings: dict[str, Any], head: Head) -> Loss:
    return BUILDERS[settings["name"]](settings, head)


Builder = Callable[[dict[str, Any], Head], Loss]

BUILDERS: dict[str, Builder] = {
    "ce": lambda _, head: CrossEntropyLoss("ce", head),
    "wce": lambda s, head: WeightedCrossEntropyLoss("wce", head, _weights(s)),
    "topk": lambda s, head: TopKLoss("topk", head, _weights(s), s["k"], s["t"]),
    "focal": lambda s, head: FocalLoss("focal", head, _weights(s), s["gamma"]),
    "dpce": lambda s, head: DistancePenalisedLoss("dpce", head, _weights(s)),
    "ss": lambda s, _: SensitivitySpecificityLoss("ss", _partition(s), s["w"]),
    "dice": lambda s, _: _dice(s),
    "dice_squared": lambda s, _: SquaredDiceLoss("dice_squared", _partition(s)),
    "iou": lambda s, _: OverlapLoss("iou", _partition(s), IOU),
    "tversky": lambda s, _: OverlapLoss("tversky", _partition(s), Mixture(s["alpha"], s["beta"])),
    "gdl": lambda s, _: _gdl(s),
    "focal_tversky": lambda s, _: OverlapLoss(
        "focal_tversky", _partition(s), Mixture(s["alpha"], s["beta"]), s["gamma"]
    ),
    "asymmetric": lambda s, _: OverlapLoss("asymmetric", _partition(s), asymmetric_mixture(s["beta"])),
    "penalty": lambda s, _: GeneralisedDiceLoss("penalty", _partition(s), s["absent_weight"], s["k"]),
    "boundary": lambda s, _: _boundary(s),
    "hausdorff": lambda s, _: HausdorffLoss("hausdorff", _weights(s), s["alpha"], background=s["background"]),
    "combo": lambda s, _: ComboLoss("combo", _partition(s), s["a"], s["beta"]),
    "ell": lambda s, head: WeightedSum(
        "ell",
        [
            (s["dice_weight"], LogarithmicDiceLoss("ell", _partition(s), s["gamma"])),
            (s["ce_weight"], LogarithmicEntropyLoss("ell", head, s["gamma"])),
        ],
    ),
    "dice_ce": lambda s, head: WeightedSum(
        "dice_ce", [(s["dice_weight"], _dice(s)), (s["ce_weight"], CrossEntropyLoss("ce", head))]
    ),
    "dice_focal": lambda s, head: WeightedSum(
        "dice_focal", [(s["dice_weight"], _dice(s)), (s["focal_weight"], FocalLoss("focal", head, None, s["gamma"]))]
    ),
    "boundary_gdl": lambda s, _: WeightedSum(
        "boundary_gdl", [(s["gdl_weight"], _gdl(s)), (s["boundary_weight"], _boundary(s))]
    ),
    "leaf_dice": lambda s, _: LeafDiceLoss("leaf_dice", _partition(s)),
    "marginal_dice": lambda s, head: MarginalDiceLoss("marginal_dice", _partition(s, background=head == "softmax")),
}
