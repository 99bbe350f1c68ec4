import numpy as np
import pytest
from scipy.stats import binom, mannwhitneyu

from ldm_eval.errors import DataError
from ldm_eval.stats.rank_sum import rank_sum_p_value


@pytest.mark.parametrize("ties", [False, True])
def test_it_agrees_with_scipy(ties):
    rng = np.random.default_rng(0)
    for shift in (-1.0, 0.0, 0.3, 2.0):
        first, second = rng.normal(shift, 1, 31), rng.normal(0, 2, 47)
        if ties:
            first, second = first.round(0), second.round(0)
        expected = mannwhitneyu(first, second, alternative="greater", method="asymptotic").pvalue
        assert rank_sum_p_value(first, second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [25, 128])
def test_it_rejects_one_law_no_more_often_than_it_says(n):
    rng = np.random.default_rng(n)
    runs = 2000
    found = np.array([rank_sum_p_value(rng.normal(size=n), rng.normal(size=n)) for _ in range(runs)])
    for level in (0.01, 0.05, 0.5):
        assert (found <= level).sum() <= binom.ppf(0.999, runs, level)
    assert (found <= 0.05).sum() >= binom.ppf(0.001, runs, 0.04)


def test_equal_scores_say_nothing():
    assert rank_sum_p_value(np.ones(5), np.ones(9)) == 1.0


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(DataError):
        rank_sum_p_value([1.0, np.nan], [1.0, 2.0])
