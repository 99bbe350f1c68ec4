"""Differences of two models on shared images: closed forms, coverage by simulation, bad input."""

import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.api import Role
from ldm_eval.errors import DataError
from ldm_eval.stats.means import mean_of
from ldm_eval.stats.paired import Contributed, contributed_variance, paired_difference

Array = np.ndarray


def of_mean(values: Array, role: Role = "samples") -> Contributed:
    used = values[~np.isnan(values)]
    return Contributed(float(used.mean()), {role: values - used.mean()})


def test_paired_means_have_the_error_of_the_mean_difference() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal(200)
    other = one + 0.1 * rng.standard_normal(200)
    found = paired_difference(of_mean(one), of_mean(other), ("samples",))
    assert found.value == pytest.approx(float((one - other).mean()))
    assert found.standard_error == pytest.approx(mean_of(one - other).standard_error, rel=1e-12)
    assert found.unpaired_error > 5 * found.standard_error


def test_independent_sets_have_the_error_of_two_means() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal(200), rng.standard_normal(300)
    found = paired_difference(of_mean(one), of_mean(other), ())
    parts = mean_of(one).standard_error, mean_of(other).standard_error
    assert found.standard_error == pytest.approx(float(np.hypot(*parts)), rel=1e-12)
    assert found.unpaired_error == found.standard_error


def test_a_model_differs_from_itself_by_exactly_nothing() -> None:
    one = of_mean(np.random.default_rng(2).standard_normal(100))
    found = paired_difference(one, one, ("samples",))
    assert (found.value, found.standard_error) == (0.0, 0.0)
    assert (found.interval.low, found.interval.high) == (0.0, 0.0)


@pytest.mark.parametrize("overlap", [0, 50, 100])
def test_coverage_with_images_that_only_one_side_used(overlap: int) -> None:
    rng, held, runs = np.random.default_rng(3), 0, 400
    for _ in range(runs):
        noise = rng.standard_normal(200)
        one, other = 0.5 + noise + 0.3 * rng.standard_normal(200), noise + 0.3 * rng.standard_normal(200)
        one[100:], other[: 100 - overlap], other[200 - overlap :] = np.nan, np.nan, np.nan
        found = paired_difference(of_mean(one), of_mean(other), ("samples",))
        held += found.interval.low <= 0.5 <= found.interval.high
    assert 1e-3 < bdtr(held, runs, 0.945) < 1 - 1e-3


def test_every_role_adds_its_part() -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal((4, 100))
    centred = values - values.mean(axis=1, keepdims=True)
    one = Contributed(1.0, {"samples": centred[0], "reference": centred[1]})
    other = Contributed(0.0, {"samples": centred[2], "reference": centred[3]})
    found = paired_difference(one, other, ("reference",))
    parts = contributed_variance(centred[0]), contributed_variance(centred[2])
    assert found.standard_error**2 == pytest.approx(sum(parts) + contributed_variance(centred[1] - centred[3]))


def test_unusable_contributions_are_refused() -> None:
    good = of_mean(np.arange(10.0))
    with pytest.raises(DataError, match="hold 10 and 12"):
        paired_difference(good, of_mean(np.arange(12.0)), ("samples",))
    with pytest.raises(DataError, match="cannot be compared"):
        paired_difference(good, of_mean(np.arange(10.0), "reference"), ())
    with pytest.raises(DataError, match="at least two images"):
        paired_difference(good, Contributed(0.0, {"samples": np.full(10, np.nan)}), ())
    with pytest.raises(DataError, match="must be finite"):
        paired_difference(good, Contributed(float("nan"), good.contributions), ())
