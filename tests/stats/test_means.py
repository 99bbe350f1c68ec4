"""Means and differences of means against scipy.stats, and how often their intervals hold."""

import numpy as np
import pytest
from scipy import stats

from ldm_eval.errors import DataError
from ldm_eval.stats.means import difference_of_means, mean_of


def test_the_mean_and_its_interval_are_students():
    rows = np.random.default_rng(0).normal(3, 2, 17)
    found = mean_of(rows, 0.9)
    wanted = stats.ttest_1samp(rows, 0.0).confidence_interval(0.9)
    assert found.value == pytest.approx(rows.mean(), rel=1e-14)
    assert (found.interval.low, found.interval.high) == pytest.approx((wanted.low, wanted.high), rel=1e-12)
    assert found.n == 17


def test_the_difference_and_its_interval_are_welchs():
    rng = np.random.default_rng(1)
    one, other = rng.normal(1, 3, 12), rng.normal(0, 0.5, 40)
    found = difference_of_means(one, other)
    test = stats.ttest_ind(one, other, equal_var=False)
    wanted = test.confidence_interval(0.95)
    assert found.value == pytest.approx(one.mean() - other.mean(), rel=1e-14)
    assert found.degrees_of_freedom == pytest.approx(test.df, rel=1e-12)
    assert (found.interval.low, found.interval.high) == pytest.approx((wanted.low, wanted.high), rel=1e-12)


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    """2,000 runs at n = 30 with unequal, skewed rows; 95 % less a little skewness, within .93 to .97."""
    rng = np.random.default_rng(2)
    runs, held = 2000, np.zeros(2)
    for _ in range(runs):
        one, other = rng.normal(size=30), 1.0 + 0.5 * rng.gamma(4.0, size=40)
        single, both = mean_of(other).interval, difference_of_means(other, one).interval
        held += [single.low <= 3.0 <= single.high, both.low <= 3.0 <= both.high]
    assert np.all((held / runs > 0.93) & (held / runs < 0.97)), held / runs


def log_normal(rng, shape):
    return np.exp(rng.standard_normal(shape)), np.exp(0.5)


def one_in_a_hundred(rng, shape):
    return 0.6 * rng.standard_normal(shape) + 10.0 * (rng.random(shape) < 0.01), 0.1


def coverage(law, n, runs=2000):
    """Shares of intervals that hold the mean, and that end below it."""
    rows, truth = law(np.random.default_rng(3), (runs, n))
    intervals = [mean_of(row).interval for row in rows]
    held = np.mean([one.low <= truth <= one.high for one in intervals])
    return held, np.mean([one.high < truth for one in intervals])


@pytest.mark.parametrize("law", [log_normal, one_in_a_hundred])
def test_skewed_rows_cost_what_the_documentation_says(law):
    """The bound that a limit from above is judged by is the one that suffers: 10 % to 12 % for 2.5 %."""
    held, short = coverage(law, 40)
    assert 0.86 < held < 0.92
    assert 0.08 < short < 0.14


def test_equal_rows_give_an_interval_of_no_width():
    assert mean_of(np.full(5, 2.0)).interval.low == mean_of(np.full(5, 2.0)).interval.high == 2.0
    assert difference_of_means(np.full(5, 2.0), np.full(4, 1.5)).interval.high == 0.5


@pytest.mark.parametrize("values", [[1.0], [], [1.0, np.nan], [[1.0, 2.0], [3.0, 4.0]]])
def test_what_has_no_interval_is_refused(values):
    with pytest.raises(DataError, match="at least two finite numbers"):
        mean_of(np.array(values))
    with pytest.raises(DataError, match="at least two finite numbers"):
        difference_of_means(np.arange(3.0), np.array(values))


if __name__ == "__main__":
    for law in (log_normal, one_in_a_hundred):
        for n in (30, 40, 100, 200):
            held, short = coverage(law, n, 20_000)
            print(f"{law.__name__}, n = {n}: {held:.3f} hold the mean, {short:.3f} end below it")
