import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm_eval.errors import DataError
from ldm_eval.stats.proportions import clopper_pearson, detectable_share, newcombe, wilson


def test_nothing_in_ten_thousand_is_the_rule_of_three():
    assert clopper_pearson(0, 10_000, sided="upper").high == pytest.approx(2.995e-4, rel=1e-3)
    two = clopper_pearson(0, 10_000)
    assert (two.low, two.high) == (0.0, pytest.approx(3.688e-4, rel=1e-3))


def test_known_clopper_pearson_and_wilson_values():
    exact = clopper_pearson(10, 100)
    assert (exact.low, exact.high) == (pytest.approx(0.049005, abs=1e-6), pytest.approx(0.176223, abs=1e-6))
    score = wilson(10, 100)
    assert (score.low, score.high) == (pytest.approx(0.055229, abs=1e-6), pytest.approx(0.174366, abs=1e-6))


def test_newcombe_gives_the_published_examples():
    # Newcombe 1998, table II, method 10
    a = newcombe(56, 70, 48, 80)
    assert (a.low, a.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    d = newcombe(5, 56, 0, 29)
    assert (d.low, d.high) == (pytest.approx(-0.0381, abs=1e-4), pytest.approx(0.1926, abs=1e-4))
    zero = newcombe(0, 10, 0, 10)
    assert (zero.low, zero.high) == (pytest.approx(-0.2775, abs=1e-4), pytest.approx(0.2775, abs=1e-4))


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.97])
def test_clopper_pearson_covers_at_least_its_level(share):
    from scipy.stats import binom

    n = 60
    covered = sum(
        binom.pmf(k, n, share) for k in range(n + 1) if clopper_pearson(k, n).low <= share <= clopper_pearson(k, n).high
    )
    assert covered >= 0.95


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from(["two", "upper", "lower"]))
def test_bounds_hold_the_estimate_and_mirror(n, share, sided):
    k = round(share * n)
    interval = clopper_pearson(k, n, sided=sided)
    assert 0 <= interval.low <= k / n <= interval.high <= 1
    score, mirrored = wilson(k, n), wilson(n - k, n)
    assert score.low <= k / n <= score.high
    assert score.low == pytest.approx(1 - mirrored.high, abs=1e-12)
    difference = newcombe(k, n, n - k, n)
    assert difference.low <= (2 * k - n) / n <= difference.high


def test_detectable_share_is_seen_with_the_power_it_names():
    p = detectable_share(1000)
    assert 1 - (1 - p) ** 1000 == pytest.approx(0.95)
    assert np.isclose(p, 2.99e-3, rtol=1e-2)


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_refuses_counts_that_cannot_be(k, n):
    for interval in (clopper_pearson, wilson):
        with pytest.raises(DataError, match="0 <= k <= n"):
            interval(k, n)
