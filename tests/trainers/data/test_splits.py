from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data.base import CaseInfo
from trainers.data.sources.acdc import PHASES
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.data.splits import split, split_by_name
from trainers.errors import InputError

PROFILES = [("A",), ("B",), ("A", "B"), ("A", "A", "B")]


def make_cases(profiles: list[int]) -> list[CaseInfo]:
    return [
        CaseInfo(f"s{number:03d}-{index}", f"s{number:03d}", group)
        for number, profile in enumerate(profiles)
        for index, group in enumerate(PROFILES[profile])
    ]


@st.composite
def deals(draw: st.DrawFn) -> tuple[list[CaseInfo], int, int]:
    folds = draw(st.integers(2, 7))
    profiles = draw(st.lists(st.integers(0, len(PROFILES) - 1), min_size=folds, max_size=40))
    return make_cases(profiles), folds, draw(st.integers(0, 2**32 - 1))


@given(deals())
def test_every_case_is_held_out_once_and_subjects_stay_together(deal: tuple[list[CaseInfo], int, int]) -> None:
    cases, folds, seed = deal
    seen: Counter[int] = Counter()
    for fold in range(folds):
        train, held_out = split(cases, fold, folds, seed)
        assert sorted(train + held_out) == list(range(len(cases)))
        assert train == sorted(train)
        assert held_out == sorted(held_out)
        assert held_out
        assert not {cases[i].subject for i in train} & {cases[i].subject for i in held_out}
        seen.update(held_out)
    assert set(seen.values()) == {1}


@given(deals())
def test_folds_differ_by_at_most_one_subject_in_all_and_in_each_stratum(
    deal: tuple[list[CaseInfo], int, int],
) -> None:
    cases, folds, seed = deal
    groups: dict[str, list[str]] = {}
    for info in cases:
        groups.setdefault(info.subject, []).append(info.group)
    parts = [{cases[i].subject for i in split(cases, fold, folds, seed)[1]} for fold in range(folds)]
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for stratum in {tuple(value) for value in groups.values()}:
        counts = [sum(tuple(groups[subject]) == stratum for subject in part) for part in parts]
        assert max(counts) - min(counts) <= 1


@given(deals(), st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_matter(deal: tuple[list[CaseInfo], int, int], random) -> None:
    cases, folds, seed = deal
    shuffled = random.sample(cases, len(cases))
    names = {cases[i].case for i in split(cases, 0, folds, seed)[1]}
    assert {shuffled[i].case for i in split(shuffled, 0, folds, seed)[1]} == names


def test_the_seed_deals_anew_and_repeats() -> None:
    cases = make_cases([0, 1] * 20)
    assert split(cases, 0, 5, seed=1) == split(cases, 0, 5, seed=1)
    assert split(cases, 0, 5, seed=1) != split(cases, 0, 5, seed=2)


def test_one_fold_takes_the_sources_own_split() -> None:
    cases = PhantomSpec(train=6, test=4).list_cases()
    assert split(cases, 0, 1) == (list(range(6)), list(range(6, 10)))


def test_folds_run_over_all_cases_even_where_the_source_has_a_split() -> None:
    cases = PhantomSpec(train=6, test=4).list_cases()
    held_out = [index for fold in range(5) for index in split(cases, fold, 5)[1]]
    assert sorted(held_out) == list(range(10))


def test_one_fold_without_a_split_holds_out_a_fifth_of_the_subjects() -> None:
    cases = [CaseInfo(f"p{n}-{phase}", f"p{n}", phase) for n in range(60) for phase in PHASES]
    train, held_out = split(cases, 0, 1)
    assert (len(train), len(held_out)) == (96, 24)
    assert np.array_equal(split(cases, 0, 5)[1], held_out)


def test_one_fold_of_few_subjects_still_holds_one_out() -> None:
    assert [len(part) for part in split(make_cases([0, 1, 1]), 0, 1)] == [2, 1]


@pytest.mark.parametrize(
    ("profiles", "fold", "folds", "message"),
    [
        ([0, 1, 2], 3, 3, "fold: fold 3 of 3, expected 0 to 2"),
        ([0, 1, 2], -1, 3, "fold: fold -1 of 3, expected 0 to 2"),
        ([0, 1, 2], 0, 0, "folds: 0 folds, expected at least 1"),
        ([0, 1, 2], 0, 4, "folds: 3 subjects, expected at least 4 to hold some out"),
        ([0], 0, 1, "folds: 1 subjects, expected at least 2"),
        ([], 0, 1, "folds: 0 subjects"),
    ],
)
def test_impossible_splits_are_told(profiles: list[int], fold: int, folds: int, message: str) -> None:
    with pytest.raises(InputError) as error:
        split(make_cases(profiles), fold, folds)
    assert message in str(error.value)


def test_a_split_by_name_takes_those_cases_and_no_others():
    cases = [CaseInfo(f"c{i}", f"s{i}", "A") for i in range(5)]
    assert split_by_name(cases, ["c3", "c0"], ["c4"]) == ([0, 3], [4])


def test_a_split_by_name_is_told_what_does_not_fit():
    cases = [CaseInfo(f"c{i}", f"s{i // 2}", "A") for i in range(6)]
    with pytest.raises(InputError) as caught:
        split_by_name(cases, ["c0", "c9"], ["c1"])
    assert [str(fault).split(";")[0] for fault in caught.value.faults] == [
        "splits: no case c9",
        "splits: subject s0 is on both sides",
    ]
