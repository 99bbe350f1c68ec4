import numpy as np
import pytest
from scipy.stats import binom

from ldm_eval.errors import DataError
from ldm_eval.stats.richness import accumulation, least_richness


def test_the_curve_is_the_mean_over_all_ways_to_choose_the_draws():
    rng = np.random.default_rng(0)
    draws = np.array([0] * 9 + [1] * 4 + [2] * 2 + [3, 4, 5] + [-1] * 12)  # -1: shows no kind
    curve = accumulation(np.bincount(draws[draws >= 0]), len(draws), of=20, draws=[0, 1, 7, 20, len(draws)])
    assert curve.expected[0] == 0
    assert curve.expected[1] == pytest.approx(18 / 30)
    assert curve.expected[-1] == pytest.approx(6)
    for m, expected in ((7, curve.expected[2]), (20, curve.expected[3])):
        seen = [len(set(rng.permutation(draws)[:m]) - {-1}) for _ in range(4000)]
        assert expected == pytest.approx(np.mean(seen), abs=5 * np.std(seen) / np.sqrt(4000))


def test_it_rises_and_its_bounds_enclose_it_also_at_the_ends():
    for counts, n in (([], 50), ([1] * 10, 50), ([5] * 10, 50), ([50], 50)):
        curve = accumulation(counts, n, of=10, draws=range(n + 1))
        assert (np.diff(curve.expected) >= -1e-9).all()
        assert (curve.low <= curve.expected + 1e-9).all()
        assert (curve.expected <= curve.high + 1e-9).all()
        assert curve.high.max() <= 10
    nothing = accumulation([], 50, of=10, draws=[50])
    assert (nothing.low[0], nothing.high[0]) == (0.0, pytest.approx(10 * (1 - 0.025 ** (1 / 10))))


@pytest.mark.parametrize("skew", [0.0, 1.5])
def test_the_bounds_hold_what_new_draws_show_on_average(skew):
    rng = np.random.default_rng(3)
    chances = 0.4 * np.append(np.arange(1, 81) ** -skew, 0.0)
    chances = 0.4 * chances / chances.sum()
    chances[-1] = 0.6  # of draws that show nothing
    n, runs, held = 200, 400, 0
    truth = (1 - (1 - chances[:-1]) ** n).sum()
    for _ in range(runs):
        counts = rng.multinomial(n, chances)[:-1]
        curve = accumulation(counts, n, of=80, draws=[n])
        held += curve.low[0] <= truth <= curve.high[0]
    assert held >= binom.ppf(0.001, runs, 0.95)


def test_chao_is_as_published_and_never_more_than_there_are():
    found = least_richness([1] * 10 + [2] * 5 + [7] * 3, 41, of=1000)
    assert found.value == pytest.approx(18 + 40 / 41 * 100 / 10)
    assert (found.seen, found.once, found.twice) == (18, 10, 5)
    assert least_richness([1] * 10, 10, of=1000).value == pytest.approx(10 + 0.9 * 45)
    assert least_richness([1] * 10, 10, of=12).value == 12
    assert least_richness([5] * 4, 20, of=9).value == 4
    nothing = least_richness([], 20, of=9)
    assert (nothing.value, nothing.interval.low, nothing.interval.high, nothing.interval.sided) == (0, 0, 9, "lower")


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_what_it_claims_is_there_at_least_is_there(skew):
    rng = np.random.default_rng(4)
    chances = np.arange(1, 101) ** -skew
    chances = np.append(0.5 * chances / chances.sum(), 0.5)
    runs = 400
    for n in (60, 300):
        found = [least_richness(rng.multinomial(n, chances)[:-1], n, of=10_000) for _ in range(runs)]
        assert sum(one.interval.low <= 100 for one in found) >= binom.ppf(0.001, runs, 0.95)
        assert all(one.seen <= one.interval.low <= one.value for one in found)
    assert np.mean([one.interval.low for one in found]) > 60  # and it is no empty claim


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="add up"):
        least_richness([3, 4], 6, of=10)
    with pytest.raises(DataError, match="cannot be"):
        least_richness([3, 4], 10, of=1)
    with pytest.raises(DataError, match="cannot be"):
        accumulation([3, 4], 10, of=5, draws=[11])
