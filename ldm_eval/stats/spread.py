"""Mean pairwise distance within one set of features: how far apart its items are, unbiased at every n."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable
from ldm_eval.stats.intervals import normal_interval, variance_of_mean

__all__ = ["ESTIMATOR", "MeanPairwiseDistance", "SpreadRatio", "mean_pairwise_distance", "spread_ratio"]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

ESTIMATOR = "U-statistic, leave-one-out jackknife"

_TILE = 1024
"""Rows and columns of one product."""


@dataclass(frozen=True, slots=True, eq=False)
class MeanPairwiseDistance:
    """Mean Euclidean distance over all pairs of different rows (higher is more varied).

    Attributes:
        value: Unbiased at every n.
        n: Rows.
        interval: For the population's mean distance, two-sided.
        influence: ``(n,)``, what each row adds (mean 0).
    """

    value: float
    n: int
    interval: Interval
    influence: Array

    @property
    def standard_error(self) -> float:
        """Standard error of the mean distance."""
        return math.sqrt(variance_of_mean(self.influence))


@dataclass(frozen=True, slots=True)
class SpreadRatio:
    """One mean pairwise distance over another of an independent set; 1 for two draws of one distribution.

    Attributes:
        value: First over second.
        standard_error: Delta method.
        interval: Normal, two-sided, not below zero.
    """

    value: float
    standard_error: float
    interval: Interval


def mean_pairwise_distance(features: Features, *, level: float = 0.95) -> MeanPairwiseDistance:
    """Mean of ``|x_i - x_j|`` over all pairs i < j.

    The influence of a row is ``2 (n - 1) / (n - 2)`` times its mean distance to the others, centred: that is the exact
    jackknife, whose variance is in expectation no less than the U-statistic's (by about ``2 s / n^2``, s the variance
    of the doubly centred distances). Products are float64 on centred rows; a distance of an exact duplicate may read
    as 1e-8 of the set's size instead of 0.

    Args:
        features: ``(n, d)``, n >= 3, rows i.i.d.
        level: Of the two-sided interval.

    Raises:
        DataError: for fewer than three rows, or values that are not finite.

    Source: Hoeffding, Ann. Math. Statist. 19:293 (1948), for the U-statistic; Efron and Stein, Ann. Statist. 9:586
    (1981), for the jackknife.
    """
    refuse_unusable(features, features, ("given", "given"), "A mean pairwise distance", 3)
    n = len(features)
    centre = features.mean(axis=0, dtype=np.float64)
    sums = np.zeros(n)
    for i in range(0, n, _TILE):
        left = features[i : i + _TILE] - centre
        for j in range(i, n, _TILE):
            distances = _distances(left, left if i == j else features[j : j + _TILE] - centre)
            if i == j:
                np.fill_diagonal(distances, 0.0)
            sums[i : i + _TILE] += distances.sum(axis=1)
            if i != j:
                sums[j : j + _TILE] += distances.sum(axis=0)
    means = sums / (n - 1)
    value = float(means.mean())
    influence = 2.0 * (n - 1) / (n - 2) * (means - value)
    error = math.sqrt(variance_of_mean(influence))
    return MeanPairwiseDistance(value, n, normal_interval(value, error, level, ESTIMATOR, smallest=0.0), influence)


def spread_ratio(first: MeanPairwiseDistance, second: MeanPairwiseDistance, *, level: float = 0.95) -> SpreadRatio:
    """``first / second``, independent sets of any sizes, with the delta method's interval.

    Raises:
        DataError: when all rows of the second set are equal.
    """
    if second.value <= 0.0:
        raise DataError("A ratio of mean pairwise distances was asked for, and all rows of the second set are equal.")
    value = first.value / second.value
    error = math.hypot(first.standard_error, value * second.standard_error) / second.value
    return SpreadRatio(value, error, normal_interval(value, error, level, ESTIMATOR, smallest=0.0))


def _distances(left: Array, right: Array) -> Array:
    squares = left @ right.T
    squares *= -2.0
    squares += np.einsum("ij,ij->i", left, left)[:, None]
    squares += np.einsum("ij,ij->i", right, right)
    np.maximum(squares, 0.0, out=squares)
    return np.sqrt(squares, out=squares)
