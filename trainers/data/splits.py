"""Which cases train and which are held out: by subject, stratified by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from trainers.data.base import CaseInfo
from trainers.errors import Fault, InputError

HELD_OUT = 5
"""One of so many subjects is held out where a source keeps no test set apart and one fold is asked for."""


def split(cases: Sequence[CaseInfo], fold: int, folds: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Positions in ``cases`` of those to train on and of those held out, both ascending.

    With one fold, the source's own split into train and test if it has one, else a fifth of the
    subjects held out. With more, ``folds`` parts over all cases, a source's own split or not, of which
    number ``fold`` is held out: every case is held out in exactly one fold.

    All cases of a subject stay together. Subjects are dealt out evenly within each stratum, those whose
    cases belong to the same groups: no two folds differ by more than one subject, in a stratum or in
    all. The deal depends on ``seed`` and not on the order of the cases.

    Raises: InputError for a fold out of range, or fewer subjects than folds.
    """
    if folds < 1:
        raise InputError(Fault("folds", f"{folds} folds, expected at least 1"))
    if not 0 <= fold < folds:
        raise InputError(Fault("fold", f"fold {fold} of {folds}, expected 0 to {folds - 1}"))
    if folds == 1 and any(info.split for info in cases):
        return _positions(cases, {info.case for info in cases if info.split == "test"})

    strata = _strata(cases)
    subjects = sum(map(len, strata))
    if folds == 1:
        folds = min(HELD_OUT, subjects)
    if subjects < max(folds, 2):
        raise InputError(
            Fault(
                "folds",
                f"{subjects} subjects, expected at least {max(folds, 2)} to hold some out",
                "ask for fewer folds or give more subjects",
            )
        )
    rng = np.random.default_rng(seed)
    dealt = [subject for stratum in strata for subject in rng.permutation(stratum).tolist()]
    # Dealt on from one stratum to the next, so that what is left over does not pile up in the first folds.
    held_out = set(dealt[fold::folds])
    return _positions(cases, {info.case for info in cases if info.subject in held_out})


def split_by_name(
    cases: Sequence[CaseInfo], train: Sequence[str], held_out: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Positions in ``cases`` of those that a given split names, both ascending; others take no part.

    Raises: InputError for names without a case, and for cases or subjects on both sides.
    """
    known = {info.case: index for index, info in enumerate(cases)}
    faults = []
    if missing := [name for name in (*train, *held_out) if name not in known]:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        faults.append(Fault("splits", f"no case {shown}", "name cases as the data does, such as " + cases[0].case))
    sides = [{cases[known[name]].subject for name in part if name in known} for part in (train, held_out)]
    if both := sorted(sides[0] & sides[1]):
        faults.append(Fault("splits", f"subject {both[0]} is on both sides", "keep a subject's cases together"))
    if faults:
        raise InputError(faults)
    return sorted(known[name] for name in train), sorted(known[name] for name in held_out)


def _strata(cases: Sequence[CaseInfo]) -> list[list[str]]:
    """Subjects whose cases belong to the same groups, sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for info in cases:
        groups[info.subject].append(info.group)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for subject in sorted(groups):
        strata[tuple(sorted(groups[subject]))].append(subject)
    return [strata[key] for key in sorted(strata)]


def _positions(cases: Sequence[CaseInfo], held_out: set[str]) -> tuple[list[int], list[int]]:
    train = [index for index, info in enumerate(cases) if info.case not in held_out]
    return train, [index for index, info in enumerate(cases) if info.case in held_out]
