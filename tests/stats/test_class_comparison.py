"""One class of samples against real images of it, and the worst of several classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import bdtr, stdtrit

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.class_comparison import ClassComparison, compare_class, worst_of
from ldm_eval.stats.frechet import difference, frechet_distance
from ldm_eval.stats.manifolds import manifold_overlap


def draws(seed: int, n: int = 40, m: int = 80, d: int = 4, spread: float = 1.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return spread * rng.standard_normal((n, d)), rng.standard_normal((n, d)), rng.standard_normal((m, d))


def compared(seed: int, classes: int = 1, **given: float) -> ClassComparison:
    return compare_class(*draws(seed, **given), k=5, classes=classes)  # type: ignore[arg-type]


def test_it_is_made_of_the_distances_and_coverages_of_both() -> None:
    samples, real, others = draws(0)
    found = compare_class(samples, real, others, k=5, classes=1)
    assert found.matched.value == frechet_distance(samples, others).value
    assert found.real.value == frechet_distance(real, others).value
    assert found.excess.value == found.matched.value - found.real.value
    assert found.coverage.value == manifold_overlap(others, samples).coverage.value
    assert found.shortfall == found.real_coverage.value - found.coverage.value
    assert found.excess.interval.level == 0.95


def test_intervals_of_many_classes_are_wider_and_say_so() -> None:
    one, many = compared(0), compared(0, classes=100)
    for name in ("matched", "real", "excess", "coverage", "real_coverage"):
        narrow, wide = getattr(one, name).interval, getattr(many, name).interval
        assert wide.high - wide.low > narrow.high - narrow.low
        assert wide.level == 0.95
        assert "100 classes together (Bonferroni)" in wide.estimator
        assert getattr(one, name).value == getattr(many, name).value
    ratio = stdtrit(39, 0.99975) / stdtrit(39, 0.975)
    assert many.excess.interval.high - many.excess.value == pytest.approx(
        ratio * (one.excess.interval.high - one.excess.value)
    )
    normal = difference(one.matched, one.real, shared="y").interval
    assert one.excess.interval.high - normal.high == pytest.approx(
        (stdtrit(39, 0.975) / 1.959964 - 1) * (normal.high - one.excess.value), rel=1e-4
    )


@pytest.mark.parametrize("spread", [1.0, 0.3])
def test_shortfall_intervals_hold_its_expectation(spread: float) -> None:
    found = [compared(seed, spread=spread) for seed in range(300)]
    truth = float(np.mean([one.shortfall for one in found]))
    held = sum(one.shortfall_interval.low <= truth <= one.shortfall_interval.high for one in found[:120])
    assert bdtr(held, 120, 0.95) > 1e-3
    if spread == 1.0:
        assert truth == pytest.approx(0.0, abs=0.02)
    else:
        assert truth > 0.2


def test_perfect_classes_have_no_excess_on_average_at_any_size() -> None:
    found = [compared(seed, n=12, m=24, d=20).excess for seed in range(200)]
    values = [one.value for one in found]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert sum(one.interval.low > 0 for one in found) <= 14


def test_the_worst_of_several_holds_the_largest_truth() -> None:
    intervals = [Interval(0.0, 1.0, 0.95, "a"), Interval(0.4, 0.9, 0.95, "a"), Interval(-1.0, 2.0, 0.95, "a")]
    worst = worst_of([0.5, 0.7, 0.6], intervals)
    assert (worst.index, worst.value) == (1, 0.7)
    assert (worst.interval.low, worst.interval.high) == (0.4, 2.0)


def test_sets_of_unequal_size_and_nothing_at_all_are_refused() -> None:
    samples, real, others = draws(0)
    with pytest.raises(DataError, match="equally many"):
        compare_class(samples[1:], real, others, k=5, classes=1)
    with pytest.raises(DataError, match="worst of 0"):
        worst_of([], [])
