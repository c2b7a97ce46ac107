"""Studies drawn from known curves, with the phantom's behaviour: no training, known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis.tables import CASE_COLUMNS, DONE, FAILED, TRIAL_COLUMNS, Emptied, StudyTables

V_HAT = 200.0
FULL_V_HAT = 400.0
TUMOR_OF_B = Emptied("B", ("tumor",))


@dataclass(frozen=True)
class Setting:
    """One cell to draw: ε as written (a number, or a multiple of v̂ such as ``0.1 v_hat``)."""

    phi: str = "I"
    eps: str = "1e-07"
    batch_size: int = 2
    labeling: str = "partial"
    lr: float = 0.005


def eps_voxels(written: str, v_hat: float) -> float:
    if "v_hat" not in written:
        return float(written)
    return float(written.replace("v_hat", "") or 1) * v_hat


def make_study(
    settings: Sequence[Setting],
    *,
    seeds: int = 3,
    cases: int = 8,
    crossing: float = 1.0,
    spread: float = 0.15,
    collapse: Callable[[Setting, int], bool] = lambda setting, seed: False,
    fail: Callable[[Setting, int], bool] = lambda setting, seed: False,
    emptied: Emptied | None = TUMOR_OF_B,
    rng: np.random.Generator | None = None,
) -> StudyTables:
    """Draw a study of groups A and B, one class.

    Each trial switches as a whole where ε passes its own threshold, log10 threshold ~ N(crossing, spread)
    [voxels]; Φ=BI with B>1 has learnt empty at any ε; full labeling segments both groups.
    """
    rng = np.random.default_rng(7) if rng is None else rng
    trials, scored = [], []
    for number, (setting, seed) in enumerate(product(settings, range(seeds))):
        partial = setting.labeling.startswith("partial")
        v_hat = V_HAT if partial else FULL_V_HAT
        eps = eps_voxels(setting.eps, v_hat)
        key = f"{number:012x}"
        failed = fail(setting, seed)
        trials.append(
            {
                "key": key,
                "cell": f"cell-{settings.index(setting):03d}",
                "fold": 0,
                "seed": seed,
                "state": FAILED if failed else DONE,
                "reason": "the loss became NaN in epoch 3" if failed else "",
                "loss": "dice",
                "phi": setting.phi,
                "eps": setting.eps,
                "eps_voxels": eps,
                "v_hat": v_hat,
                "batch_size": setting.batch_size,
                "labeling": setting.labeling,
                "lr": setting.lr,
            }
        )
        if failed:
            continue
        by_phi = setting.phi == "BI" and setting.batch_size > 1
        learnt = partial and (by_phi or np.log10(eps) > crossing + spread * rng.standard_normal())
        gone = collapse(setting, seed)
        for group, case in product("AB", range(cases)):
            true = 5.0 + 0.25 * case
            dsc = 0.82 if learnt else 0.90
            kept = 0.9
            if learnt and group == "B":
                dsc, kept = 0.11, 0.06
            if gone:
                dsc, kept = 0.0, 0.0
            predicted = true * kept * (1 if gone else rng.uniform(0.9, 1.1))
            scored.append(
                {
                    "key": key,
                    "case": f"{group}{case:02d}",
                    "subject": f"{group}{case:02d}",
                    "group": group,
                    "class": "tumor",
                    "dsc": float(np.clip(dsc + 0.04 * rng.standard_normal(), 0, 1)) if not gone else 0.0,
                    "dv_ml": predicted - true,
                    "pred_ml": predicted,
                    "true_ml": true,
                    "gt_empty": False,
                    "emptied": partial and group == "B",
                    "pred_empty": predicted == 0,
                }
            )
    return StudyTables(
        trials=frame(trials, TRIAL_NAMES),
        cases=frame(scored, CASE_NAMES),
        emptied=emptied,
        groups=("A", "B"),
        classes=("tumor",),
        settings=("loss", "phi", "eps", "batch_size", "labeling", "lr"),
    )


TRIAL_NAMES = (*TRIAL_COLUMNS, "lr")
CASE_NAMES = tuple(CASE_COLUMNS)


def frame(rows: list[dict[str, object]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns))


LINE = ("0.001 v_hat", "0.003 v_hat", "0.01 v_hat", "0.03 v_hat", "0.1 v_hat", "0.3 v_hat", "v_hat", "10 v_hat")


def demo_settings() -> list[Setting]:
    """The phantom preset: {I 1e-7, BI 1e-7, I v̂} × B {2, 4} × {full, partial}, and a line of ε."""
    setups = (("I", "1e-07"), ("BI", "1e-07"), ("I", "v_hat"))
    table = [Setting(*setup, b, kind) for setup, b, kind in product(setups, (2, 4), ("full", "partial"))]
    return list(dict.fromkeys([*table, *(Setting("I", eps, 2, "partial") for eps in LINE)]))


def sometimes(setting: Setting, seed: int) -> bool:
    """Collapse as the phantom does: at ε about v̂, in one seed of three."""
    return setting.labeling == "partial" and setting.eps == "v_hat" and setting.phi == "I" and seed == 1


@pytest.fixture(scope="session")
def demo() -> StudyTables:
    return make_study(demo_settings(), collapse=sometimes, fail=lambda s, seed: s.eps == "10 v_hat" and seed == 2)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
