"""The Fréchet distance at infinite n: exact without rows, right in expectation, honest in its interval."""

import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.errors import DataError
from ldm_eval.stats.frechet import frechet_distance, gaussian_frechet
from ldm_eval.stats.frechet_infinity import FrechetLimit, frechet_limit

Array = np.ndarray


def sets(seed: int, n: int, m: int, d: int, shift: float = 0.3, spread: float = 1.3, decay: float = 0.0):
    rng, scale = np.random.default_rng(seed), np.arange(1, d + 1) ** (-decay / 2)
    x = shift * scale + spread * scale * rng.standard_normal((n, d))
    return x.astype(np.float32), (scale * rng.standard_normal((m, d))).astype(np.float32)


def truth(d: int, shift: float = 0.3, spread: float = 1.3, decay: float = 0.0) -> float:
    scale = np.arange(1, d + 1) ** (-decay / 2)
    return gaussian_frechet(shift * scale, np.diag(spread**2 * scale**2), 0 * scale, np.diag(scale**2))


def limit(x: Array, y: Array, seed: int = 0, **settings: int) -> FrechetLimit:
    return frechet_limit(x, y, rng=np.random.default_rng(seed), **settings)


@pytest.mark.parametrize(
    ("n", "m", "d"), [(300, 400, 20), (400, 300, 20), (90, 120, 64), (60, 200, 150), (200, 60, 150)]
)
def test_it_is_the_line_through_distances_of_all_rows_and_of_all_but_each_tenth(n: int, m: int, d: int) -> None:
    x, y = sets(0, n, m, d)
    rng = np.random.default_rng(3)
    big_first = rng.permutation(n), rng.permutation(m)
    found = frechet_limit(x, y, rng=np.random.default_rng(3))
    parts = [
        frechet_distance(
            np.delete(x, big_first[0][round(k * n / 10) : round((k + 1) * n / 10)], axis=0),
            np.delete(y, big_first[1][round(k * m / 10) : round((k + 1) * m / 10)], axis=0),
        ).value
        for k in range(10)
    ]
    assert found.without_tenth == pytest.approx(float(np.mean(parts)), rel=1e-9)
    whole = frechet_distance(x, y)
    assert found.at_n == whole.value
    assert found.value == pytest.approx(10 * whole.value - 9 * float(np.mean(parts)), rel=1e-7)
    assert found.standard_error == whole.standard_error


@pytest.mark.parametrize(
    ("n", "d", "decay", "shift", "spread"),
    [(128, 64, 0.0, 0.3, 1.3), (128, 64, 0.0, 0.0, 1.0), (400, 32, 0.0, 0.0, 0.7), (260, 128, 1.0, 0.3, 1.3)],
)
def test_intervals_hold_the_distance_of_the_laws(n: int, d: int, decay: float, shift: float, spread: float) -> None:
    # at these n the plain distance is 17, 17, 1 and 0.9 too large
    exact = truth(d, shift, spread, decay)
    runs = [limit(*sets(seed, n, n, d, shift, spread, decay), seed) for seed in range(25)]
    held = sum(one.interval.low <= exact <= one.interval.high for one in runs)
    assert bdtr(held, 25, 0.94) > 1e-3
    assert max(one.interval.low for one in runs) < min(one.at_n for one in runs) + exact
    errors = np.array([one.value - exact for one in runs])
    assert abs(errors.mean()) < 3.5 * errors.std(ddof=1) / 25**0.5 + 0.05 * (runs[0].at_n - exact)


def test_numbers_of_different_n_compare() -> None:
    few = [limit(*sets(seed, 100, 150, 24), seed).value for seed in range(20)]
    many = [limit(*sets(100 + seed, 800, 600, 24), seed).value for seed in range(20)]
    gap = np.mean(few) - np.mean(many)
    assert abs(gap) < 3.5 * np.hypot(np.std(few), np.std(many)) / 20**0.5
    biased = [frechet_distance(*sets(seed, 100, 150, 24)).value for seed in range(20)]
    assert np.mean(biased) - np.mean(many) > 10 * abs(gap)


def test_below_twice_the_dimension_only_the_upper_bound_counts() -> None:
    runs = [limit(*sets(seed, 60, 60, 64, decay=1.0), seed) for seed in range(20)]
    assert all(one.interval.sided == "upper" and one.interval.level == 0.975 for one in runs)
    exact = truth(64, decay=1.0)
    assert bdtr(sum(one.interval.high >= exact for one in runs), 20, 0.97) > 1e-3
    assert all(one.value < one.at_n for one in runs)
    assert limit(*sets(0, 128, 128, 64)).interval.sided == "two"


def test_exchange_of_the_sets_and_their_order_change_only_the_groups() -> None:
    x, y = sets(1, 200, 300, 16)
    values = [limit(x, y, seed).value for seed in range(30)]
    back = limit(y, x, 0).value
    shuffled = limit(x[::-1], y[::-1], 0).value
    reach = 5 * np.std(values)
    assert abs(back - np.mean(values)) < reach
    assert abs(shuffled - np.mean(values)) < reach
    assert reach < 3 * limit(x, y).standard_error


def test_same_seed_same_value() -> None:
    x, y = sets(2, 100, 100, 16)
    assert limit(x, y, 5).value == limit(x, y, 5).value


def test_dead_features_and_repeated_rows_do_no_harm() -> None:
    x, y = sets(3, 120, 120, 16)
    plain = limit(x, y).value
    dead = np.zeros((120, 6), dtype=np.float32)
    assert limit(np.hstack([x, dead]), np.hstack([y, dead])).value == pytest.approx(plain, abs=1e-4)
    repeated = limit(np.repeat(x[:60], 2, axis=0), y)
    assert np.isfinite(repeated.value)


def test_collapsed_samples_have_the_distance_of_a_point() -> None:
    _, y = sets(4, 400, 400, 8)
    found = limit(np.ones((400, 8), dtype=np.float32), y)
    assert found.interval.low <= 8 + 8 <= found.interval.high


def test_too_few_rows_for_the_groups_are_refused() -> None:
    x, y = sets(5, 19, 100, 4)
    with pytest.raises(DataError, match="at least two rows"):
        limit(x, y)


def test_a_set_against_itself_lies_below_zero_by_the_bias_that_two_independent_sets_would_have() -> None:
    x, other = sets(6, 400, 400, 16, shift=0.0, spread=1.0)
    itself, apart = limit(x, x), limit(x, other)
    assert itself.at_n == pytest.approx(0.0, abs=1e-9)
    assert itself.interval.high < 0
    assert itself.value == pytest.approx(apart.value - apart.at_n, rel=0.2)
