import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import binom

from ldm_eval.errors import DataError
from ldm_eval.stats.roc import auc, auc_interval, detectable_auc, rates_at, roc_curve, threshold_at


def test_auc_of_two_shifted_normals_is_the_closed_form():
    rng = np.random.default_rng(0)
    shift = 0.7
    value = auc(rng.normal(shift, 1, 200_000), rng.normal(0, 1, 200_000))
    assert value == pytest.approx(float(ndtr(shift / math.sqrt(2))), abs=0.003)


def test_auc_agrees_with_scikit_learn_with_ties():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    positive, negative = rng.integers(0, 6, 70), rng.integers(0, 5, 90)
    truth = np.r_[np.ones(70), np.zeros(90)]
    assert auc(positive, negative) == pytest.approx(roc_auc_score(truth, np.r_[positive, negative]), abs=1e-12)


def test_delong_gives_the_pair_by_pair_variance():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.5, 1, 40), rng.normal(0, 1, 30)
    kernel = (x[:, None] > y[None, :]).astype(float)
    variance = kernel.mean(axis=1).var(ddof=1) / 40 + kernel.mean(axis=0).var(ddof=1) / 30
    found = auc_interval(x, y)
    assert found.interval.estimator == "DeLong"
    assert found.interval.high - found.value == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize(("shift", "n"), [(0.0, 50), (0.0, 128), (1.0, 60), (2.2, 60)])
def test_the_interval_covers_at_its_level(shift, n):
    rng = np.random.default_rng(3)
    truth, rounds = float(ndtr(shift / math.sqrt(2))), 600
    covered = 0
    for _ in range(rounds):
        interval = auc_interval(rng.normal(shift, 1, n), rng.normal(0, 1, n)).interval
        covered += interval.low <= truth <= interval.high
    assert covered >= binom.ppf(0.001, rounds, 0.935)  # DeLong is known to be a little short at small n


def test_the_bound_does_not_collapse_when_the_groups_are_separated():
    found = auc_interval(np.arange(10) + 100.0, np.arange(10))
    assert found.value == 1.0
    assert "Newcombe" in found.interval.estimator
    assert 0.6 < found.interval.low < 0.9
    assert found.interval.high == 1.0
    mirrored = auc_interval(np.arange(10), np.arange(10) + 100.0)
    assert mirrored.interval.high == pytest.approx(1 - found.interval.low)
    assert auc_interval(np.arange(1000) + 1e4, np.arange(1000)).interval.low > 0.99


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40))
def test_turning_the_score_round_mirrors_everything(seed, m, n):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 9, m), rng.integers(0, 9, n)
    one, other = auc_interval(x, y), auc_interval(y, x)
    assert one.value == pytest.approx(1 - other.value)
    assert one.interval.low == pytest.approx(1 - other.interval.high, abs=1e-9)
    assert one.interval.low <= one.value <= one.interval.high


def test_the_threshold_is_transferred_and_keeps_its_rate():
    rng = np.random.default_rng(4)
    calibration, judged = rng.normal(size=1000), rng.normal(size=20_000)
    threshold = threshold_at(calibration, 0.01)
    assert (calibration > threshold).sum() == 9
    rates = rates_at(judged + 2.0, judged, threshold)
    assert rates.false_positives / rates.negatives == pytest.approx(0.01, abs=0.006)
    assert rates.false_positive_rate.low <= rates.false_positives / 20_000 <= rates.false_positive_rate.high
    assert rates.true_positive_rate.estimator == "Clopper-Pearson"


@pytest.mark.parametrize("n", [99, 100, 128, 199, 250])
def test_new_negatives_exceed_the_threshold_at_the_rate_that_was_asked_for(n):
    rng = np.random.default_rng(n)
    # of uniform scores the share 1 - threshold lies above; its mean over calibration sets is k/(n + 1)
    exceeded = [1 - threshold_at(rng.uniform(size=n), 0.01) for _ in range(2000)]
    assert np.mean(exceeded) <= 0.01 + 4 * np.std(exceeded) / np.sqrt(2000)
    assert np.mean(exceeded) > 0.005


def test_with_few_negatives_the_threshold_is_their_largest():
    assert threshold_at([1.0, 5.0, 3.0], 0.01) == 5.0
    rates = rates_at([6.0, 5.0], [1.0, 2.0], 5.0)
    assert (rates.true_positives, rates.false_positives) == (1, 0)


def test_the_curve_has_the_area_that_is_reported():
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 12, 80), rng.integers(0, 9, 60)
    curve = roc_curve(x, y)
    assert (curve.false_positive_rate[0], curve.true_positive_rate[-1]) == (0.0, 1.0)
    assert np.trapezoid(curve.true_positive_rate, curve.false_positive_rate) == pytest.approx(auc(x, y))


def test_the_detectable_auc_is_detected_with_its_power():
    n, rounds = 100, 400
    target = detectable_auc(n, n)
    rng = np.random.default_rng(6)
    from scipy.special import ndtri

    shift = float(ndtri(target)) * math.sqrt(2)
    seen = sum(auc_interval(rng.normal(shift, 1, n), rng.normal(size=n)).interval.low > 0.5 for _ in range(rounds))
    assert seen >= binom.ppf(0.001, rounds, 0.95)


def test_refuses_scores_that_are_no_numbers_or_too_few():
    with pytest.raises(DataError, match="two or more"):
        auc([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="finite"):
        auc_interval([1.0, np.nan], [1.0, 2.0])
