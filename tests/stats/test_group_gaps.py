import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.group_gaps import level_of_each, widest_gap
from ldm_eval.stats.intervals import normal_interval, normal_quantile


def normals(values, errors, level=0.95):
    own = level_of_each(len(values), level)
    return [normal_interval(value, error, own, "normal") for value, error in zip(values, errors, strict=True)]


def test_two_groups_have_the_interval_of_a_plain_difference():
    found = widest_gap([3.0, 1.0], normals([3.0, 1.0], [0.3, 0.4]))
    assert (found.highest, found.lowest, found.value) == (0, 1, 2.0)
    assert found.interval.low == pytest.approx(2 - 0.5 * normal_quantile(0.95))
    assert found.interval.high == pytest.approx(2 + 0.5 * normal_quantile(0.95))


def test_equal_groups_have_a_gap_of_which_the_lower_bound_is_zero():
    found = widest_gap([1.0, 1.0], normals([1.0, 1.0], [0.1, 0.1]))
    assert (found.value, found.interval.low) == (0.0, 0.0)
    assert found.interval.high == pytest.approx(0.1 * np.sqrt(2) * normal_quantile(0.95))


@pytest.mark.parametrize("truth", [[0.0] * 6, [0.0, 0.0, 0.0, 0.0, 0.0, 2.0], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]])
def test_the_interval_holds_the_largest_true_difference(truth):
    rng, seeds, held, alarms = np.random.default_rng(1), 1000, 0, 0
    errors = [0.3, 0.3, 0.3, 0.6, 0.3, 0.1]
    for _ in range(seeds):
        values = rng.normal(truth, errors).tolist()
        interval = widest_gap(values, normals(values, errors)).interval
        held += interval.low <= max(truth) - min(truth) <= interval.high
        alarms += interval.low > max(truth) - min(truth)
    assert bdtr(held, seeds, 0.95) > 1e-3
    assert bdtr(seeds - alarms, seeds, 0.95) > 1e-3


def test_one_group_or_intervals_of_another_level_are_refused():
    with pytest.raises(DataError, match="two of them at least"):
        widest_gap([1.0], [Interval(0, 2, 0.95, "normal")])
    with pytest.raises(DataError, match="hold together"):
        widest_gap([1.0, 2.0, 3.0], [Interval(0, 4, 0.95, "normal")] * 3)
