"""Paired tests by swapping, and their correction for many comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analysis.stats.bootstrap import FloatArray, _alike, _codes, _vector

SWAPS = 20_000
"""Random swaps of a paired test; a p-value near 0.05 is then known to ±0.003."""


SWAPS_AT_ONCE = 2_000
"""Swaps in memory at a time."""


SIGNIFICANT = 0.05
"""p below this is marked as significant."""


FEWEST_SUBJECTS = 6
"""Five pairs can be swapped in 32 ways, so a two-sided p is never below 2/32 = 0.06; six can reach 0.03."""


def paired_tests(
    differences: FloatArray, subjects: npt.NDArray[np.intp], rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """``paired_bootstrap`` of many differences, (row, case), which share their swaps: p, and how many subjects.

    ``subjects``: of each case. Fewer than ``FEWEST_SUBJECTS`` cannot tell: their p is NaN.
    """
    sums: list[FloatArray] = [np.empty(0)] * len(differences)
    counts = np.zeros(len(differences), dtype=np.intp)
    for same, columns in _alike(np.isfinite(differences)):
        seen, codes = np.unique(subjects[columns], return_inverse=True)
        by_subject: FloatArray = differences[same][:, columns] @ np.eye(len(seen))[codes]
        counts[same] = len(seen)
        if len(seen) >= FEWEST_SUBJECTS:
            for row, each in zip(same, by_subject, strict=True):
                sums[row] = each
    return swapped(sums, rng), counts


def swapped(sums: Sequence[FloatArray], rng: np.random.Generator) -> FloatArray:
    """Give p of each list of differences summed by subject, two-sided, by swapping signs; NaN for an empty list."""
    p = np.full(len(sums), np.nan)
    by_size: dict[int, list[int]] = {}
    for number, each in enumerate(sums):
        if len(each):
            by_size.setdefault(len(each), []).append(number)
    for size, numbers in sorted(by_size.items()):
        table = np.stack([sums[number] for number in numbers], axis=1)
        # Sums that are equal but for rounding count as equal.
        bar = np.abs(table.sum(axis=0)) - 1e-12 * np.abs(table).sum(axis=0)
        exact = 2**size <= SWAPS
        hits = np.zeros(len(numbers))
        for start in range(0, 2**size if exact else SWAPS, SWAPS_AT_ONCE):
            stop = min(start + SWAPS_AT_ONCE, 2**size if exact else SWAPS)
            flips = (
                np.arange(start, stop)[:, None] >> np.arange(size) & 1
                if exact
                else rng.integers(0, 2, size=(stop - start, size), dtype=np.int8)
            )
            hits += (np.abs((1.0 - 2.0 * flips) @ table) >= bar).sum(axis=0)
        p[numbers] = hits / 2**size if exact else (1 + hits) / (1 + SWAPS)
    return p


def holm(p: Sequence[float] | FloatArray) -> FloatArray:
    """Holm's step-down correction for testing many hypotheses at once; NaN (not tested) stays and counts for none.

    The i-th smallest of m becomes max over j ≤ i of min(1, (m − j + 1) p_j).
    Source: S. Holm, Scand. J. Stat. 6 (1979) 65.
    """
    values = _vector(p)
    adjusted = np.full(len(values), np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * values[order]))
    return adjusted


def paired_bootstrap(a: npt.ArrayLike, b: npt.ArrayLike, subjects: npt.ArrayLike, rng: np.random.Generator) -> float:
    """Two-sided p for a difference of the means of ``a`` and ``b``, paired by case and swapped by subject.

    Resamples by swapping a and b in whole subjects, each with probability ½, as the released scripts of
    Tilborghs et al. (2023) swap the two settings of a case: p = P(|Σ ±d| ≥ |Σ d|), d the sum of a − b over a
    subject's cases. Swapping is exact under the hypothesis that the setting makes no difference, at any number
    of subjects, where resampling subjects rejects too often when they are few. All 2ⁿ swaps are counted
    where there are no more than ``SWAPS``; else random ones, p = (1 + hits)/(1 + swaps), which is never 0
    (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39).

    A pair with a NaN is left out. Without any pair p is NaN; identical scores give 1. The test speaks of the
    networks at hand: seeds are not resampled.

    Raises: ValueError if the lengths differ.
    """
    first, second = _vector(a), _vector(b)
    codes: npt.NDArray[np.intp] = _codes(subjects)[0]
    if not len(first) == len(second) == len(codes):
        raise ValueError(f"a, b and subjects must be equally long, got {len(first)}, {len(second)} and {len(codes)}")
    difference = first - second
    there = np.isfinite(difference)
    sums = np.asarray(np.bincount(codes[there], weights=difference[there]), dtype=np.float64)[np.unique(codes[there])]
    return float(swapped([sums], rng)[0])
