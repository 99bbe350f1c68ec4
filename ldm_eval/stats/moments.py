"""Mean and covariance of many features, in blocks: the memory is that of the covariance, however many rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ldm_eval.errors import DataError

__all__ = ["FeatureMoments", "feature_moments"]

_BLOCK = 4096
"""Rows that are widened to float64 at a time: 64 MB at d = 2048."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMoments:
    """First and second moments of n rows.

    Attributes:
        mean: ``(d,) float64``.
        covariance: ``(d, d) float64``, divisor n - 1, exactly symmetric.
        n: Rows.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n: int


def feature_moments(features: NDArray[np.float32] | NDArray[np.float64]) -> FeatureMoments:
    """Mean and unbiased covariance of ``features (n, d)``, summed in float64 in two passes.

    The second pass subtracts the mean of the first before it squares, so nothing is lost where the mean is large
    beside the spread. A memory map is read block by block.

    Raises:
        DataError: fewer than two rows, no columns, or values that are not finite.
    """
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        raise DataError(f"A covariance needs features (n, d) of at least 2 images; found {features.shape}.")
    n, d = (int(size) for size in features.shape)
    total = np.zeros(d)
    for start in range(0, n, _BLOCK):
        total += np.sum(features[start : start + _BLOCK], axis=0, dtype=np.float64)
    mean = total / n
    if not np.all(np.isfinite(mean)):
        raise DataError(f"The features of {n} images hold values that are not finite (NaN or infinity).")
    products = np.zeros((d, d))
    for start in range(0, n, _BLOCK):
        centred = features[start : start + _BLOCK] - mean
        products += centred.T @ centred
    return FeatureMoments(mean, (products + products.T) / (2.0 * (n - 1)), n)
