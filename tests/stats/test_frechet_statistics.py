"""Fréchet distance to a mean and a covariance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.errors import DataError
from ldm_eval.stats.frechet import frechet_distance, gaussian_frechet
from ldm_eval.stats.frechet_statistics import distance_to_statistics


def draw(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / d + rng.standard_normal(d)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=0), np.cov(x.T)


@pytest.mark.parametrize("n", [12, 200])
@pytest.mark.parametrize("m", [10, 300])
def test_moments_of_a_set_stand_for_the_set(n: int, m: int) -> None:
    x, y = draw(n, 20, 1), draw(m, 20, 2)
    found, whole = distance_to_statistics(x, *moments(y)), frechet_distance(x, y)
    assert found.value == pytest.approx(whole.value, rel=1e-7)
    assert found.mean_term == pytest.approx(whole.mean_term, rel=1e-12)
    assert found.influence == pytest.approx(whole.influence_x, rel=1e-5, abs=1e-7)
    assert found.interval.high - found.interval.low < whole.interval.high - whole.interval.low


def test_it_is_the_textbook_formula() -> None:
    x, y = draw(500, 12, 3), draw(400, 12, 4)
    expected = gaussian_frechet(*moments(x), *moments(y))
    assert distance_to_statistics(x, *moments(y)).value == pytest.approx(expected, rel=1e-9)


def test_a_set_is_at_distance_zero_from_its_own_statistics() -> None:
    x = draw(300, 16)
    assert distance_to_statistics(x, *moments(x)).value == pytest.approx(0.0, abs=1e-9)


def test_statistics_of_fewer_images_than_dimensions_and_in_float32_are_read() -> None:
    x, y = draw(100, 30, 1), draw(20, 30, 2)
    mean, covariance = (values.astype(np.float32).astype(np.float64) for values in moments(y))
    found = distance_to_statistics(x, mean, covariance)
    assert found.value == pytest.approx(frechet_distance(x, y).value, rel=1e-3)


def test_a_point_is_a_covariance_too_and_so_is_a_collapsed_model() -> None:
    x = np.ones((5, 3))
    found = distance_to_statistics(x, np.zeros(3), np.zeros((3, 3)))
    assert found.value == pytest.approx(3.0)
    assert (found.interval.low, found.interval.high) == pytest.approx((3.0, 3.0))
    assert distance_to_statistics(x, np.ones(3), np.eye(3)).value == pytest.approx(3.0)


def test_interval_holds_the_expected_distance() -> None:
    # at n = 300: 8 (0.3^2 + 1/n) for the means, and d (d + 1) / 4 (n - 1) for the covariances to first order
    rng = np.random.default_rng(0)
    found = [distance_to_statistics(0.3 + rng.standard_normal((300, 8)), np.zeros(8), np.eye(8)) for _ in range(300)]
    expected = float(np.mean([one.value for one in found]))
    assert expected == pytest.approx(8 * (0.09 + 1 / 300) + 72 / (4 * 299), abs=0.02)
    held = sum(one.interval.low <= expected <= one.interval.high for one in found[:100])
    assert bdtr(held, 100, 0.95) > 1e-3
    spread = float(np.std([one.value for one in found], ddof=1))
    error = float(np.mean([one.interval.high - one.interval.low for one in found])) / 3.92
    assert error == pytest.approx(spread, rel=0.15)


SQUARE = np.eye(3)


@pytest.mark.parametrize(
    ("mean", "covariance", "words"),
    [
        (np.zeros(3), np.eye(4), r"\(3,\) and \(4, 4\)"),
        (np.zeros((1, 3)), SQUARE, r"\(1, 3\)"),
        (np.zeros(0), np.zeros((0, 0)), r"\(0,\)"),
        (np.array([0.0, np.nan, 0.0]), SQUARE, "1 of the 3 numbers of the mean"),
        (np.zeros(3), np.where(SQUARE > 0, np.inf, 0.0), "3 of the 9 numbers of the covariance"),
        (np.zeros(3), SQUARE + np.triu(np.full((3, 3), 0.1), 1), "not symmetric"),
        (np.zeros(3), np.diag([1.0, 1.0, -0.1]), "eigenvalue -0.1"),
        (np.zeros(3), -SQUARE, "eigenvalue -1"),
    ],
)
def test_statistics_that_no_images_can_have_are_refused(mean: np.ndarray, covariance: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        distance_to_statistics(draw(50, 3), mean, covariance)


def test_another_dimension_and_a_single_row_are_refused() -> None:
    with pytest.raises(DataError, match="4 and 3 dimensions"):
        distance_to_statistics(draw(50, 4), np.zeros(3), SQUARE)
    with pytest.raises(DataError, match="N >= 2"):
        distance_to_statistics(draw(1, 3), np.zeros(3), SQUARE)
