"""Means of independent rows, and differences of two of them, with Student's intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ldm_eval.api import Interval
from ldm_eval.errors import DataError

__all__ = ["MeanEstimate", "difference_of_means", "mean_of"]


@final
@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean, or a difference of two, with its interval.

    Attributes:
        value: Unbiased for rows i.i.d.
        interval: Two-sided; exact for normal rows, otherwise right for large n.
        standard_error: Of ``value``.
        degrees_of_freedom: Of Student's distribution behind the interval.
        n: Rows behind it, of both sets together.
    """

    value: float
    interval: Interval
    standard_error: float
    degrees_of_freedom: float
    n: int


def mean_of(values: NDArray[np.floating], level: float = 0.95) -> MeanEstimate:
    """Mean of ``values (N,)``, rows i.i.d., with Student's interval; from about 30 rows on it needs no normality.

    It does need tails: with rows that are skewed to the right the interval lies too low, and what it misses is nearly
    all above it. Of 95 % intervals of 40 log-normal rows (sigma 1) 89 % hold the mean and 10 % end below it; where one
    row in a hundred is far out, 88 % and 12 % (``python tests/stats/test_means.py``).

    Raises:
        DataError: for fewer than two values, or values that are not finite.
    """
    rows = _rows(values)
    error = float(rows.std(ddof=1)) / math.sqrt(len(rows))
    return _estimate(float(rows.mean()), error, len(rows) - 1.0, len(rows), level, "Student's t")


def difference_of_means(first: NDArray[np.floating], second: NDArray[np.floating], level: float = 0.95) -> MeanEstimate:
    """Mean of ``first (N,)`` less that of ``second (M,)``, independent rows, with Welch's interval.

    The variances may differ; the degrees of freedom are Satterthwaite's (Welch, Biometrika 34:28, 1947).

    Raises:
        DataError: for fewer than two values of either, or values that are not finite.
    """
    one, other = _rows(first), _rows(second)
    parts = [float(rows.var(ddof=1)) / len(rows) for rows in (one, other)]
    total = sum(parts)
    below = sum(part**2 / (len(rows) - 1) for part, rows in zip(parts, (one, other), strict=True))
    freedom = total**2 / below if below > 0 else float(len(one) + len(other) - 2)
    difference = float(one.mean() - other.mean())
    return _estimate(difference, math.sqrt(total), freedom, len(one) + len(other), level, "Welch's t")


def _rows(values: NDArray[np.floating]) -> NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 1 or len(rows) < 2 or not np.isfinite(rows).all():
        raise DataError(f"A mean with an interval needs at least two finite numbers; found an array {rows.shape}.")
    return rows


def _estimate(value: float, error: float, freedom: float, n: int, level: float, estimator: str) -> MeanEstimate:
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return MeanEstimate(value, Interval(value - half, value + half, level, estimator), error, freedom, n)
