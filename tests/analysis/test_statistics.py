import numpy as np
import pytest
from scipy import stats

from analysis.stats.bootstrap import bootstrap_mean, percentile_interval
from analysis.stats.permutation import FEWEST_SUBJECTS, SIGNIFICANT, holm, paired_bootstrap
from analysis.stats.roc import auc, roc_curve


def test_mean_leaves_out_missing_scores(rng):
    found = bootstrap_mean([0.5, np.nan, 1.0, 0.3], [0, 0, 1, 1], ["a", "b", "a", "b"], rng)
    assert found.mean == pytest.approx((0.5 + 1.0 + 0.3) / 3)
    assert found.n == 3
    assert found.low <= found.mean <= found.high


def test_one_score_has_no_interval_and_none_no_mean(rng):
    one = bootstrap_mean([0.5, np.nan], [0, 0], ["a", "b"], rng)
    assert (one.mean, one.n) == (0.5, 1)
    assert np.isnan([one.low, one.high]).all()
    none = bootstrap_mean([], [], [], rng)
    assert none.n == 0
    assert np.isnan([none.mean, none.low, none.high]).all()


def test_with_one_trial_only_subjects_vary(rng):
    values = np.arange(20.0)
    found = bootstrap_mean(values, np.zeros(20), np.arange(20), rng)
    normal = 1.96 * values.std() / np.sqrt(20)
    assert found.high - found.mean == pytest.approx(normal, rel=0.15)
    assert found.mean - found.low == pytest.approx(normal, rel=0.15)


def test_with_one_subject_only_trials_vary(rng):
    values = np.arange(20.0)
    found = bootstrap_mean(values, np.arange(20), np.zeros(20), rng)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(20), rel=0.15)


def test_scores_that_all_agree_have_a_width_of_nothing(rng):
    found = bootstrap_mean([0.7] * 6, [0, 0, 0, 1, 1, 1], list("abcabc"), rng)
    assert (found.low, found.high) == pytest.approx((0.7, 0.7))


def test_interval_covers_the_true_mean_of_new_trials_and_new_subjects():
    rng = np.random.default_rng(11)
    trials, subjects = np.divmod(np.arange(10 * 25), 25)
    covered = 0
    for _ in range(200):
        values = 0.7 + 0.05 * rng.standard_normal(10)[trials] + 0.1 * rng.standard_normal(25)[subjects]
        found = bootstrap_mean(values + 0.05 * rng.standard_normal(250), trials, subjects, rng)
        covered += found.low <= 0.7 <= found.high
    assert 0.89 <= covered / 200 <= 0.99  # 95 % but for few trials, and the error of 200 studies


def test_folds_that_share_no_subject_still_have_an_interval(rng):
    found = bootstrap_mean([0.2, 0.4, 0.6, 0.8], [0, 0, 1, 1], list("abcd"), rng)
    assert 0.2 <= found.low < 0.5 < found.high <= 0.8


def test_unequal_lengths_are_refused(rng):
    with pytest.raises(ValueError, match="equally long, got 2, 1 and 2"):
        bootstrap_mean([1, 2], [0], [0, 1], rng)
    with pytest.raises(ValueError, match="equally long, got 1, 2 and 2"):
        paired_bootstrap([1], [1, 2], [0, 1], rng)


def test_the_same_rng_gives_the_same_interval():
    first, second = (bootstrap_mean(range(9), range(9), range(9), np.random.default_rng(4)) for _ in range(2))
    assert first == second
    assert bootstrap_mean(range(9), range(9), range(9), np.random.default_rng(5)) != first


def test_percentiles_of_draws_that_are_partly_infinite():
    low, high = percentile_interval(np.array([-np.inf, *range(98), np.inf]))
    assert (low, high) == (1.0, 96.0)
    assert np.isnan(percentile_interval(np.array([]))).all()


def test_paired_p_counts_all_swaps_of_few_subjects(rng):
    # Differences 1, 2, 3: of the 8 sums ±1±2±3 only 6 and −6 are as far from 0.
    assert paired_bootstrap([2, 3, 4], [1, 1, 1], list("abc"), rng) == 2 / 8
    # Differences 1, −1, 3: |sum| = 3 is reached by 5, 3, 3, 1 and their negatives but for the 1s.
    assert paired_bootstrap([1, 0, 3], [0, 1, 0], list("abc"), rng) == 6 / 8


def test_paired_p_agrees_with_scipy_where_every_case_is_a_subject(rng):
    a, b = rng.normal(0.3, 1, 12), rng.normal(0, 1, 12)
    known = stats.permutation_test((a - b,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert paired_bootstrap(a, b, np.arange(12), rng) == pytest.approx(known.pvalue)
    a, b = rng.normal(0.25, 1, 60), rng.normal(0, 1, 60)
    drawn = stats.permutation_test((a - b,), np.sum, permutation_type="samples", n_resamples=20_000, rng=rng)
    assert paired_bootstrap(a, b, np.arange(60), rng) == pytest.approx(drawn.pvalue, abs=0.015)


def test_paired_p_swaps_whole_subjects(rng):
    # Eight cases of two subjects: as good as two, so p cannot be under 2/4.
    a = np.array([0.9, 0.8, 0.9, 0.8, 0.9, 0.8, 0.9, 0.8])
    assert paired_bootstrap(a, a - 0.5, list("aaaabbbb"), rng) == 0.5


def test_paired_p_without_difference_or_without_pairs(rng):
    assert paired_bootstrap([0.5, 0.6], [0.5, 0.6], list("ab"), rng) == 1.0
    assert np.isnan(paired_bootstrap([np.nan, 0.6], [0.5, np.nan], list("ab"), rng))
    assert paired_bootstrap([0.9, np.nan], [0.1, 0.3], list("ab"), rng) == 1.0  # one pair tells nothing
    assert np.isnan(paired_bootstrap([], [], [], rng))


def test_paired_p_is_symmetric_and_ignores_the_scale_of_rounding(rng):
    a, b = [0.3, 0.1 + 0.2, 0.9, 0.7], [0.1, 0.2, 0.5, 0.2]
    assert paired_bootstrap(a, b, range(4), rng) == paired_bootstrap(b, a, range(4), rng) == 2 / 16


def test_paired_p_rejects_as_often_as_it_says_when_nothing_differs():
    rng = np.random.default_rng(3)
    p = [paired_bootstrap(*rng.normal(size=(2, 10)), range(10), rng) for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) <= 0.08
    assert 0.4 <= np.mean(p) <= 0.6


def test_fewest_subjects_is_where_a_significant_p_becomes_possible(rng):
    fewest = paired_bootstrap(np.arange(1, FEWEST_SUBJECTS + 1), np.zeros(FEWEST_SUBJECTS), range(FEWEST_SUBJECTS), rng)
    one_less = paired_bootstrap(np.arange(1, FEWEST_SUBJECTS), np.zeros(FEWEST_SUBJECTS - 1), range(5), rng)
    assert fewest < SIGNIFICANT < one_less


def test_auc_by_hand_and_against_scipy(rng):
    assert auc([3, 2], [1, 2]) == (1 + 1 + 1 + 0.5) / 4
    assert auc([0, 0], [0, 0]) == 0.5
    positive, negative = rng.integers(0, 9, 30), rng.integers(0, 7, 20)
    assert auc(positive, negative) == pytest.approx(stats.mannwhitneyu(positive, negative).statistic / 600)


def test_auc_without_a_side_or_with_missing_volumes():
    assert np.isnan(auc([], [1, 2]))
    assert np.isnan(auc([np.nan], [1, 2]))
    assert auc([2, np.nan], [1]) == 1.0


def test_roc_curve_by_hand():
    # Thresholds 3, 2, 1: (false, true) = (0, ½), (½, ½), (1, 1).
    assert roc_curve([3, 1], [2, 1], [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0.5, 0.5, 0.5, 0.75, 1])
    assert np.isnan(roc_curve([], [1], [0, 1])).all()


def test_area_under_the_roc_curve_is_the_auc(rng):
    positive, negative = rng.normal(1, 1, 25), rng.normal(0, 1, 40)
    rates = np.linspace(0, 1, 4001)
    assert np.trapezoid(roc_curve(positive, negative, rates), rates) == pytest.approx(auc(positive, negative), abs=2e-3)


def test_holm_by_hand():
    # 3·0.01, 2·0.03, and 0.04 raised to its forerunner's 0.06.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    adjusted = holm([np.nan, 0.02, np.nan, 0.03])
    assert adjusted[[1, 3]] == pytest.approx([0.04, 0.04])
    assert np.isnan(adjusted[[0, 2]]).all()
    assert len(holm([])) == 0
