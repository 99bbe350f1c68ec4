"""Fréchet distance of a set of features to a mean and a covariance whose images are not here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, linalg

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable
from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.stats.intervals import normal_interval, variance_of_mean

__all__ = ["ESTIMATOR", "DistanceToStatistics", "distance_to_statistics"]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

ESTIMATOR = "influence function, samples random and statistics fixed; covers the expected distance at this n"
"""What the interval is about: neither the noise of the statistics nor the bias that falls as 1/n."""

_ASYMMETRY = 1e-5
"""Largest difference of a covariance and its transpose, relative to its largest variance: float32 rounding is 1e-7."""

_NEGATIVE = 1e-5
"""Most negative eigenvalue, relative to the largest, that rounding (of a matrix stored in float32) can have made."""


@dataclass(frozen=True, slots=True, eq=False)
class DistanceToStatistics:
    """Squared Fréchet distance of a set of features to fixed moments (lower is closer), biased upward by about c/n.

    Attributes:
        value: ``|mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``, never below zero.
        mean_term: ``|mu1 - mu2|^2``.
        covariance_term: The rest.
        n: Rows of the set.
        dimension: d.
        interval: For the expected distance of n rows to these very moments.
        influence: ``(n,)``, what each row adds to the distance (mean 0).
    """

    value: float
    mean_term: float
    covariance_term: float
    n: int
    dimension: int
    interval: Interval
    influence: Array


def distance_to_statistics(x: Features, mean: Array, covariance: Array, *, level: float = 0.95) -> DistanceToStatistics:
    """Squared Fréchet distance between the Gaussian fitted to ``x (n, d)`` and N(mean, covariance); lower is closer.

    The moments are turned into d + 1 rows that have exactly them (a root of the covariance, rotated by the d cosines
    that are orthogonal to a constant), so that the distance, its numerics and its influence function are those of
    ``stats.frechet``; the rows are no sample, and nothing of them enters the error.

    Args:
        x: ``(n, d)``, n >= 2, rows i.i.d.
        mean: ``(d,)``.
        covariance: ``(d, d)``, symmetric and positive semi-definite up to rounding.
        level: Of the two-sided interval.

    Raises:
        DataError: for features or moments that cannot be used; the message says which and why.

    Source: arXiv:1706.08500.
    """
    root = _root(mean, covariance)
    rows = _rows_with(np.asarray(mean, dtype=np.float64), root)
    refuse_unusable(x, rows, ("sample", "statistics"), "A Fréchet distance to statistics", 2)
    found = frechet_distance(x, rows)
    error = math.sqrt(variance_of_mean(found.influence_x))
    interval = normal_interval(found.value, error, level, ESTIMATOR, smallest=0.0)
    return DistanceToStatistics(
        value=found.value,
        mean_term=found.mean_term,
        covariance_term=found.covariance_term,
        n=found.n,
        dimension=found.dimension,
        interval=interval,
        influence=found.influence_x,
    )


def _root(mean: Array, covariance: Array) -> Array:
    """R with ``R^T R`` the covariance. Cholesky says by itself that a matrix is positive; eigenvalues are the rest."""
    _refuse_shapes(mean, covariance)
    matrix = np.asarray(covariance, dtype=np.float64)
    largest = float(np.abs(np.diagonal(matrix)).max())
    gap = float(np.abs(matrix - matrix.T).max())
    if gap > _ASYMMETRY * largest:
        raise DataError(
            f"The covariance of the reference statistics is not symmetric (entries across the diagonal differ by "
            f"up to {gap:.3g}, and the largest on it is {largest:.3g}); it is no covariance. Write the file again."
        )
    matrix = (matrix + matrix.T) / 2.0
    try:
        return np.asarray(linalg.cholesky(matrix, lower=False, check_finite=False), dtype=np.float64)
    except linalg.LinAlgError:
        values, vectors = linalg.eigh(matrix, check_finite=False)
    if values[0] < -_NEGATIVE * max(float(values[-1]), largest):
        raise DataError(
            f"The covariance of the reference statistics has the eigenvalue {values[0]:.3g} (the largest is "
            f"{values[-1]:.3g}); a covariance has none below zero. Write the file again, in float64."
        )
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T, dtype=np.float64)


def _refuse_shapes(mean: Array, covariance: Array) -> None:
    if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        raise DataError(
            f"Reference statistics have a mean (d,) and a covariance (d, d); found {mean.shape} and {covariance.shape}."
        )
    for name, values in (("mean", mean), ("covariance", covariance)):
        bad = int(np.size(values) - np.isfinite(values).sum())
        if bad:
            raise DataError(
                f"{bad} of the {np.size(values)} numbers of the {name} of the reference statistics are not finite; "
                "make the file again from images whose features are."
            )


def _rows_with(mean: Array, root: Array) -> Array:
    """``(d + 1, d)`` rows whose mean and whose covariance (divided by d) are given."""
    d = len(mean)
    padded = np.concatenate([np.zeros((1, d)), root])  # no constant cosine: the columns sum to zero
    rotated = fft.idct(padded, axis=0, norm="ortho")
    return np.asarray(mean + math.sqrt(d) * rotated, dtype=np.float64)
