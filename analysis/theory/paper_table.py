"""Table 1 of the paper that this project tests: mean DSC and ΔV of its setups, to stand beside a study's own.

Source: S. Tilborghs, J. Bertels, D. Robben, D. Vandermeulen, F. Maes, "The Dice loss in the context of missing or
empty labels: introducing Φ and ε", MICCAI 2022, table 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.tables import FULL, PARTIAL

SETUPS = ("I", "BI", "I_eps")
"""Φ = I and Φ = BI, each with ε = 1e-7, and Φ = I with ε = v̂."""
NEGLIGIBLE = 1e-6
"""ε [voxels] up to which a setup counts as that of ε = 1e-7: neither is felt beside a volume."""
OWN_UNIT = "v_hat"

# Per data, labeling and B: DSC of the labelled group, DSC of the emptied group, ΔV [ml] of each; in order of SETUPS.
_TABLE: Mapping[tuple[str, str, int], tuple[tuple[float, ...], ...]] = {
    ("BRATS", FULL, 1): ((0.89, 0.89, 0.89), (0.89, 0.89, 0.89), (-4, -4, -7), (-8, -7, -9)),
    ("BRATS", FULL, 2): ((0.89, 0.89, 0.89), (0.89, 0.88, 0.88), (-5, -5, -7), (-9, -10, -12)),
    ("BRATS", FULL, 4): ((0.89, 0.89, 0.89), (0.88, 0.90, 0.89), (-6, -5, -7), (-11, -7, -11)),
    ("BRATS", FULL, 8): ((0.89, 0.89, 0.89), (0.89, 0.88, 0.89), (-6, -4, -6), (-12, -10, -9)),
    ("BRATS", PARTIAL, 1): ((0.89, 0.89, 0.83), (0.88, 0.88, 0.23), (-5, -5, -12), (-11, -12, -88)),
    ("BRATS", PARTIAL, 2): ((0.89, 0.83, 0.82), (0.88, 0.24, 0.16), (-6, -12, -13), (-12, -89, -96)),
    ("BRATS", PARTIAL, 4): ((0.89, 0.82, 0.83), (0.88, 0.20, 0.20), (-6, -12, -12), (-15, -93, -94)),
    ("BRATS", PARTIAL, 8): ((0.89, 0.82, 0.83), (0.88, 0.20, 0.23), (-6, -12, -12), (-14, -94, -90)),
    ("ACDC", FULL, 2): ((0.88, 0.88, 0.87), (0.89, 0.89, 0.89), (-1, 0, -2), (-3, 0, -3)),
    ("ACDC", PARTIAL, 2): ((0.88, 0.80, 0.80), (0.88, 0.08, 0.06), (0, -11, -14), (-5, -129, -131)),
}
_HEARTS = ("acdc", "phantom-cardiac")


def paper_figures(params: Mapping[str, Any], *, emptied_group: bool) -> dict[str, Any] | None:
    """Find the paper's means for a cell's setup: ``data``, ``setup``, ``dsc``, ``dv_ml``; None where it has none.

    ``params``: of ``cell_metrics``. Hearts (the source says so) are compared with ACDC, all else with BRATS, by
    loss, Φ, ε, B and labeling; whether the data is comparable is the reader's to say.
    """
    data = "ACDC" if params.get("data.source") in _HEARTS else "BRATS"
    setup = _setup(params)
    row = _TABLE.get((data, str(params.get("labeling")), params.get("batch_size", 0)))
    if setup is None or row is None:
        return None
    place, side = SETUPS.index(setup), int(emptied_group)
    return {"data": data, "setup": setup, "dsc": row[side][place], "dv_ml": float(row[2 + side][place])}


def _setup(params: Mapping[str, Any]) -> str | None:
    if params.get("loss") != "dice":
        return None
    eps = params.get("eps_voxels")
    if params.get("phi") in ("I", "BI") and eps is not None and 0 < eps <= NEGLIGIBLE:
        return str(params["phi"])
    return "I_eps" if params.get("phi") == "I" and str(params.get("eps")) == OWN_UNIT else None
