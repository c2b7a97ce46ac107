"""The losses as data: category, formula, source, parameters. No torch, so that listing them is instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Phi = Literal["I", "CI", "BI", "BCI"]
PHIS: tuple[Phi, ...] = ("I", "CI", "BI", "BCI")
PHI_MEANING: Mapping[Phi, str] = MappingProxyType(
    {
        "I": "one φ per case and class: sums over space",
        "CI": "one φ per case: sums over classes and space",
        "BI": "one φ per class: sums over the batch and space",
        "BCI": "one φ: sums over everything",
    }
)

Category = Literal["distribution", "region", "boundary", "compound", "partial labels"]
Kind = Literal[
    "positive", "nonnegative", "share", "percent", "flag", "weights", "probability or none", "nonnegative or none"
]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a loss beside Φ and ε."""

    name: str
    default: float | bool | None
    meaning: str
    kind: Kind = "positive"


@dataclass(frozen=True)
class LossEntry:
    """One loss of the list.

    ``phi_eps``: whether the loss, or its Dice part, takes Φ and ε, which then have no default.
    eps_per_class: False where the formula sums over the classes beside one ε, whatever Φ.
    distance: whether it needs the target's distance maps, which are worth keeping.
    """

    name: str
    category: Category
    title: str
    formula: str
    source: str
    phi_eps: bool
    parameters: tuple[Parameter, ...] = ()
    eps_per_class: bool = True
    distance: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Keys that scripts rely on: name, category, formula, source, phi_eps, parameters (name: default)."""
        return {
            "name": self.name,
            "category": self.category,
            "title": self.title,
            "formula": self.formula,
            "source": self.source,
            "phi_eps": self.phi_eps,
            "parameters": {parameter.name: parameter.default for parameter in self.parameters},
        }


CLASS_WEIGHTS = Parameter("class_weights", None, "one weight per class, default all alike", "weights")
BACKGROUND = Parameter("background", False, "softmax only: the background map counts as a class", "flag")
GAMMA = Parameter("gamma", 2.0, "focus on hard voxels", "nonnegative")
ABSENT_WEIGHT = Parameter(
    "absent_weight",
    None,
    "weight of a class without a voxel; default the largest weight beside it, or 1 if all are absent",
    "nonnegative or none",
)
ALPHA_FP = "weight of false positives"
BETA_FN = "weight of false negatives"
REGION_COMMON = (CLASS_WEIGHTS, BACKGROUND)
DICE_COMMON = (
    Parameter("class_weights", None, "one weight per class of the Dice part, default all alike", "weights"),
    Parameter("background", False, "softmax only: the background map counts as a class of the Dice part", "flag"),
)

_ENTRIES = (
    LossEntry(
        "ce",
        "distribution",
        "cross entropy",
        "−1/N ΣΣ g log s",
        "Ma 2020, Segmentation Loss Odyssey, eq. 2",
        phi_eps=False,
    ),
    LossEntry(
        "wce",
        "distribution",
        "weighted cross entropy",
        "−1/N ΣΣ w_c g log s; w_c ∝ 1/frequency in the batch unless class_weights are given",
        "Ronneberger 2015, MICCAI (U-Net)",
        phi_eps=False,
        parameters=(Parameter("class_weights", None, "w_c, one per class; default ∝ 1/frequency", "weights"),),
    ),
    LossEntry(
        "topk",
        "distribution",
        "TopK",
        "cross entropy over the worst k % of the voxels, or over those whose true-class probability is below t",
        "Wu 2016, arXiv:1605.06885",
        phi_eps=False,
        parameters=(
            Parameter("k", 10.0, "share of the voxels kept, the worst first [%]", "percent"),
            Parameter("t", None, "probability below which a voxel is kept; replaces k", "probability or none"),
            CLASS_WEIGHTS,
        ),
    ),
    LossEntry(
        "focal",
        "distribution",
        "focal",
        "−1/N ΣΣ (1−s)^γ g log s",
        "Lin 2017, ICCV",
        phi_eps=False,
        parameters=(GAMMA, CLASS_WEIGHTS),
    ),
    LossEntry(
        "dpce",
        "distribution",
        "distance-penalised cross entropy",
        "−1/N ΣΣ (1+D_c) g log s, D = 1−|φ_G|/max|φ_G| on either side of the boundary of g",
        "Caliva 2019, MIDL",
        phi_eps=False,
        parameters=(CLASS_WEIGHTS,),
        distance=True,
    ),
    LossEntry(
        "ss",
        "region",
        "sensitivity-specificity",
        "mean_φ w Σ(g−s)²g/(Σg+ε) + (1−w) Σ(g−s)²(1−g)/(Σ(1−g)+ε)",
        "Brosch 2015, MICCAI",
        phi_eps=True,
        parameters=(Parameter("w", 0.05, "weight of the sensitivity term", "share"), *REGION_COMMON),
    ),
    LossEntry(
        "dice",
        "region",
        "Dice",
        "1 − mean_φ (2Σgs+ε)/(Σg+Σs+ε)",
        "Milletari 2016, 3DV (V-Net), without its squares",
        phi_eps=True,
        parameters=REGION_COMMON,
    ),
    LossEntry(
        "dice_squared",
        "region",
        "Dice, squared",
        "1 − mean_φ (2Σgs+ε)/(Σg²+Σs²+ε)",
        "Milletari 2016, 3DV (V-Net)",
        phi_eps=True,
        parameters=REGION_COMMON,
    ),
    LossEntry(
        "iou",
        "region",
        "IoU (Jaccard)",
        "1 − mean_φ (Σgs+ε)/(Σ(g+s−gs)+ε)",
        "Rahman 2016, ISVC",
        phi_eps=True,
        parameters=REGION_COMMON,
    ),
    LossEntry(
        "tversky",
        "region",
        "Tversky",
        "1 − mean_φ (Σgs+ε)/(Σgs+αΣ(1−g)s+βΣg(1−s)+ε)",
        "Salehi 2017, MLMI",
        phi_eps=True,
        parameters=(
            Parameter("alpha", 0.3, ALPHA_FP, "nonnegative"),
            Parameter("beta", 0.7, BETA_FN, "nonnegative"),
            *REGION_COMMON,
        ),
    ),
    LossEntry(
        "gdl",
        "region",
        "generalised Dice",
        "1 − mean (2Σ_c w_c Σgs+ε)/(Σ_c w_c Σ(g+s)+ε), w_c = 1/(Σg)²; I and CI sum per case, BI and BCI over the batch",
        "Sudre 2017, DLMIA",
        phi_eps=True,
        parameters=(ABSENT_WEIGHT, BACKGROUND),
        eps_per_class=False,
    ),
    LossEntry(
        "focal_tversky",
        "region",
        "focal Tversky",
        "mean_φ (1 − (Σgs+ε)/(Σgs+αΣ(1−g)s+βΣg(1−s)+ε))^(1/γ)",
        "Abraham 2018, arXiv:1810.07842",
        phi_eps=True,
        parameters=(
            Parameter("alpha", 0.3, ALPHA_FP, "nonnegative"),
            Parameter("beta", 0.7, BETA_FN, "nonnegative"),
            Parameter("gamma", 4 / 3, "above 1 it keeps pushing maps that are nearly right"),
            *REGION_COMMON,
        ),
    ),
    LossEntry(
        "asymmetric",
        "region",
        "asymmetric similarity",
        "1 − mean_φ (Σgs+ε)/(Σgs+1/(1+β²) Σ(1−g)s+β²/(1+β²) Σg(1−s)+ε)",
        "Hashemi 2019, IEEE Access 7",
        phi_eps=True,
        parameters=(Parameter("beta", 1.5, "false negatives weigh β² times false positives"), *REGION_COMMON),
    ),
    LossEntry(
        "penalty",
        "region",
        "penalty",
        "GDL/(1 + k(1−GDL))",
        "Su 2019, MIDL",
        phi_eps=True,
        parameters=(Parameter("k", 2.5, "penalty; 0 is generalised Dice", "nonnegative"), ABSENT_WEIGHT, BACKGROUND),
        eps_per_class=False,
    ),
    LossEntry(
        "boundary",
        "boundary",
        "boundary",
        "mean φ_G s, φ_G the signed distance of g [unit of the spacing], negative inside",
        "Kervadec 2018, arXiv:1812.07032",
        phi_eps=False,
        parameters=REGION_COMMON,
        distance=True,
    ),
    LossEntry(
        "hausdorff",
        "boundary",
        "Hausdorff (distance transform)",
        "mean (s−g)²(D_G^α + D_S^α), D the distance from the boundary [unit of the spacing]",
        "Karimi 2019, arXiv:1904.10030",
        phi_eps=False,
        parameters=(Parameter("alpha", 2.0, "exponent of the distances"), *REGION_COMMON),
        distance=True,
    ),
    LossEntry(
        "combo",
        "compound",
        "combo",
        "−a/N ΣΣ [β g log s + (1−β)(1−g) log(1−s)] − (1−a) mean_φ (2Σgs+ε)/(Σg+Σs+ε)",
        "Taghanaki 2019, Comput Med Imag Grap 75",
        phi_eps=True,
        parameters=(
            Parameter("a", 0.5, "weight of the cross entropy against Dice", "share"),
            Parameter("beta", 0.5, "weight of false negatives against false positives", "share"),
            *DICE_COMMON,
        ),
    ),
    LossEntry(
        "ell",
        "compound",
        "exponential-logarithmic",
        "w_dice mean_φ (−ln Dice)^γ + w_ce/N Σ w_c (−ln s)^γ, w_c = (Σf/f_c)^½, f the frequency in the batch",
        "Wong 2018, MICCAI",
        phi_eps=True,
        parameters=(
            Parameter("gamma", 0.3, "exponent of both parts"),
            Parameter("dice_weight", 0.8, "w_dice", "nonnegative"),
            Parameter("ce_weight", 0.2, "w_ce", "nonnegative"),
            *DICE_COMMON,
        ),
    ),
    LossEntry(
        "dice_ce",
        "compound",
        "Dice + cross entropy",
        "w_dice·dice + w_ce·ce",
        "Isensee 2019, arXiv:1904.08128 (nnU-Net)",
        phi_eps=True,
        parameters=(
            Parameter("dice_weight", 1.0, "w_dice", "nonnegative"),
            Parameter("ce_weight", 1.0, "w_ce", "nonnegative"),
            *DICE_COMMON,
        ),
    ),
    LossEntry(
        "dice_focal",
        "compound",
        "Dice + focal",
        "w_dice·dice + w_focal·focal",
        "Zhu 2019, Med Phys 46 (AnatomyNet)",
        phi_eps=True,
        parameters=(
            GAMMA,
            Parameter("dice_weight", 1.0, "w_dice", "nonnegative"),
            Parameter("focal_weight", 1.0, "w_focal", "nonnegative"),
            *DICE_COMMON,
        ),
    ),
    LossEntry(
        "boundary_gdl",
        "compound",
        "boundary + generalised Dice",
        "w_gdl·gdl + w_boundary·boundary",
        "Kervadec 2018, arXiv:1812.07032",
        phi_eps=True,
        parameters=(
            Parameter("gdl_weight", 1.0, "w_gdl", "nonnegative"),
            Parameter("boundary_weight", 1.0, "w_boundary", "nonnegative"),
            ABSENT_WEIGHT,
            BACKGROUND,
        ),
        eps_per_class=False,
        distance=True,
    ),
    LossEntry(
        "leaf_dice",
        "partial labels",
        "leaf Dice",
        "dice over the φ with Σg > 0 only, of the maps that are labelled",
        "Fidon 2021, MICCAI (label-set loss functions)",
        phi_eps=True,
        parameters=REGION_COMMON,
    ),
    LossEntry(
        "marginal_dice",
        "partial labels",
        "marginal Dice",
        "dice with background over the labelled maps; s and g of the missing classes join the background",
        "Shi 2021, Med Image Anal 70",
        phi_eps=True,
        parameters=(CLASS_WEIGHTS,),
    ),
)

TAXONOMY: Mapping[str, LossEntry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every loss by the name that a study file uses, in the order of the survey."""


def with_phi_eps(spec: Mapping[str, Any], *, phi: str, eps: Any) -> dict[str, Any]:
    """Fill in ``phi`` and ``eps`` wherever ``spec`` leaves them open and its loss, or a term's, takes them."""
    if "terms" in spec and isinstance(spec["terms"], list | tuple):
        terms = [with_phi_eps(t, phi=phi, eps=eps) if isinstance(t, Mapping) else t for t in spec["terms"]]
        return {**spec, "terms": terms}
    entry = TAXONOMY.get(str(spec.get("name")))
    return {"phi": phi, "eps": eps, **spec} if entry is not None and entry.phi_eps else dict(spec)
