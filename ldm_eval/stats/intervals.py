"""Normal intervals and the variance of a mean: one definition for every estimator with an influence function."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ldm_eval.api import Interval

__all__ = ["normal_interval", "normal_quantile", "variance_of_mean"]


def normal_quantile(level: float) -> float:
    """How many standard errors a two-sided normal interval reaches to either side: 1.96 for ``level`` 0.95."""
    return float(ndtri(0.5 + level / 2.0))


def normal_interval(
    value: float,
    error: float,
    level: float,
    estimator: str,
    *,
    smallest: float = -math.inf,
    largest: float = math.inf,
) -> Interval:
    """Two-sided: ``value`` plus and minus the normal quantile times its standard error, cut to what can be.

    Args:
        value: The estimate, between ``smallest`` and ``largest``.
        error: Its standard error.
        level: Of the interval.
        estimator: How the error was found, and what the interval is about.
        smallest: No true value lies below.
        largest: No true value lies above.
    """
    reach = normal_quantile(level) * error
    return Interval(max(smallest, value - reach), min(largest, value + reach), level, estimator)


def variance_of_mean(values: NDArray[np.float64]) -> float:
    """Unbiased variance of the mean of ``values (n,)``, n >= 2, rows i.i.d.; influences are such rows."""
    return float(np.var(values, ddof=1)) / len(values)
