"""Kernel distance (KID): unbiased MMD^2 with the cubic polynomial kernel, exact over all pairs, by chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ldm_eval.api import Interval
from ldm_eval.stats.feature_sets import refuse_unusable

__all__ = [
    "ESTIMATOR",
    "KernelDistance",
    "kernel_distance",
    "kernel_permutation_p_value",
    "polynomial_mmd_of_gaussians",
]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

ESTIMATOR = "U-statistic standard error, first- and second-order terms"

_EXACT_PAIRS = 4_000_000
"""Up to this many pairs products are taken in float64; above, in float32 (sums stay float64), within 3e-8 relative."""
_TILE = 1024  # rows and columns of one product: as fast as a large one, and the kernel's passes over it stay in cache


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """Unbiased MMD^2 (lower is closer; a negative value is chance, not an error).

    Attributes:
        value: Estimate; its expectation is the population value at every n.
        standard_error: Root of the sum of the two parts below.
        first_order: Variance from the means over pairs (vanishes where the distributions are equal).
        second_order: Variance of the degenerate part (what is left there).
        interval: Normal interval for the population MMD^2, two-sided.
        n, m: Rows of the two sets.
    """

    value: float
    standard_error: float
    first_order: float
    second_order: float
    interval: Interval
    n: int
    m: int


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Sums over the pairs of two sets: of rows, of columns and of squares, diagonal left out where they are one set."""

    rows: Array
    columns: Array
    squares: float
    count: int

    @property
    def mean(self) -> float:
        return float(self.rows.sum()) / self.count

    def degenerate_variance(self, per_row: int, per_column: int) -> float:
        """Variance of the kernel after the mean of each row and each column is taken out, with unbiased row means."""
        mean = self.mean
        total = self.squares / self.count - mean * mean
        by_row = float(np.var(self.rows / per_row))
        by_column = float(np.var(self.columns / per_column))
        # var(row mean) = main effect + degenerate/per_row, so solve total = effects + degenerate for the last one
        return max(0.0, (total - by_row - by_column) / (1.0 - 1.0 / per_row - 1.0 / per_column))


def kernel_distance(x: Features, y: Features, *, level: float = 0.95) -> KernelDistance:
    """Unbiased MMD^2 with kernel ``(x.y/d + 1)^3`` over all pairs (KID on one subset of everything).

    The variance is the full Hoeffding decomposition of the two-sample U-statistic,
    ``4 z_x/n + 4 z_y/m + 2 s_xx/(n(n-1)) + 2 s_yy/(m(m-1)) + 4 s_xy/(nm)``: z the variance of the mean difference seen
    from one row (with the noise of that mean taken out) and s the variances of the doubly centred kernel. The second
    part is what remains where the two distributions are equal; there the estimate is skewed to the right and
    ``kernel_permutation_p_value`` is the sharper answer.

    Args:
        x: ``(n, d)``, n >= 4, rows i.i.d.
        y: ``(m, d)``, m >= 4, rows i.i.d. and independent of x.
        level: Of the two-sided interval.

    Raises:
        DataError: for sets of different width, fewer than four rows, or values that are not finite.

    Source: arXiv:1801.01401 (KID); arXiv:1611.04488 (variance of MMD^2).
    """
    refuse_unusable(x, y, ("first", "second"), "A kernel distance", 4)
    n, m = len(x), len(y)
    xx, yy, xy = _pairs(x, None), _pairs(y, None), _pairs(x, y)
    value = xx.mean + yy.mean - 2.0 * xy.mean
    s_xx, s_yy = xx.degenerate_variance(n - 1, n - 1), yy.degenerate_variance(m - 1, m - 1)
    s_xy = xy.degenerate_variance(m, n)
    z_x = float(np.var(xx.rows / (n - 1) - xy.rows / m, ddof=1)) - s_xx / (n - 1) - s_xy / m
    z_y = float(np.var(yy.rows / (m - 1) - xy.columns / n, ddof=1)) - s_yy / (m - 1) - s_xy / n
    first = 4.0 * max(0.0, z_x) / n + 4.0 * max(0.0, z_y) / m
    second = 2.0 * s_xx / (n * (n - 1)) + 2.0 * s_yy / (m * (m - 1)) + 4.0 * s_xy / (n * m)
    error = math.sqrt(first + second)
    reach = float(ndtri(0.5 + level / 2.0)) * error
    interval = Interval(value - reach, value + reach, level, ESTIMATOR)
    return KernelDistance(value, error, first, second, interval, n, m)


def kernel_permutation_p_value(
    x: Features, y: Features, *, permutations: int, rng: np.random.Generator, block: int = 64
) -> float:
    """P-value of "both sets come from one distribution": the rows are exchanged between the sets at random.

    ``(1 + permutations with an MMD^2 at least as large) / (1 + permutations)``, valid at every n. Holds the pooled
    kernel matrix, ``8 (n + m)^2`` bytes: pass at most a few thousand rows.

    Raises:
        DataError: as ``kernel_distance``.
    """
    refuse_unusable(x, y, ("first", "second"), "A kernel distance", 4)
    n, total = len(x), len(x) + len(y)
    pooled = np.concatenate([x, y]).astype(np.float64)
    kernel = (pooled @ pooled.T / pooled.shape[1] + 1.0) ** 3
    np.fill_diagonal(kernel, 0.0)
    everything = float(kernel.sum())
    labels = np.zeros((total, permutations + 1))
    labels[:n, 0] = 1.0
    for column in range(1, permutations + 1):
        labels[rng.permutation(total)[:n], column] = 1.0
    statistics = [
        _statistics(kernel, everything, labels[:, i : i + block], n) for i in range(0, permutations + 1, block)
    ]
    values = np.concatenate(statistics)
    tolerance = 1e-12 * everything / total**2
    return float(1 + np.count_nonzero(values[1:] >= values[0] - tolerance)) / (1 + permutations)


def polynomial_mmd_of_gaussians(mean1: Array, mean2: Array) -> float:
    """MMD^2 of N(mean1, I) and N(mean2, I) with kernel ``(x.y/d + 1)^3``: the closed form, for known answers."""
    return _expected_kernel(mean1, mean1) + _expected_kernel(mean2, mean2) - 2.0 * _expected_kernel(mean1, mean2)


def _expected_kernel(a: Array, b: Array) -> float:
    d = len(a)
    dot, norms = float(a @ b), float(a @ a + b @ b)
    second = d + norms + dot**2
    third = dot**3 + 3.0 * dot * norms + (3.0 * d + 6.0) * dot
    return 1.0 + 3.0 * dot / d + 3.0 * second / d**2 + third / d**3


def _statistics(kernel: Array, everything: float, labels: Array, n: int) -> Array:
    """MMD^2 for every column of 0/1 labels ``(N, P)``; the kernel's diagonal is zero."""
    m = len(labels) - n
    sums = kernel @ labels
    within_x = np.einsum("ij,ij->j", labels, sums)
    of_x = sums.sum(axis=0)
    across = of_x - within_x
    within_y = everything - within_x - 2.0 * across
    return np.asarray(within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2.0 * across / (n * m), dtype=np.float64)


def _pairs(x: Features, y: Features | None) -> _Pairs:
    """Row, column and square sums of the kernel; ``y`` None: x with itself, diagonal left out."""
    other = x if y is None else y
    exact = len(x) * len(other) <= _EXACT_PAIRS
    left, right = (_as(one, exact) for one in (x, other))
    rows, columns, squares = np.zeros(len(x)), np.zeros(len(other)), 0.0
    for i in range(0, len(x), _TILE):
        down = slice(i, min(len(x), i + _TILE))
        for j in range(i if y is None else 0, len(other), _TILE):
            across = slice(j, min(len(other), j + _TILE))
            kernel = _kernel(left[down] @ right[across].T, x.shape[1])
            mirrored = y is None and i != j
            if y is None and not mirrored:
                np.fill_diagonal(kernel, 0.0)
            by_row, by_column = kernel.sum(axis=1), kernel.sum(axis=0)
            rows[down] += by_row
            columns[across] += by_column
            squares += float(np.vdot(kernel, kernel)) * (2.0 if mirrored else 1.0)
            if mirrored:
                rows[across] += by_column
                columns[down] += by_row
    count = len(x) * (len(x) - 1) if y is None else len(x) * len(other)
    return _Pairs(rows, columns, squares, count)


def _as(features: Features, exact: bool) -> Features:
    """Float64, or float32: float32 features then stay where they are, be it a memory map."""
    return features.astype(np.float64) if exact else features.astype(np.float32, copy=False)


def _kernel(products: Features, dimension: int) -> Array:
    """``(products / dimension + 1)^3`` in float64."""
    plus_one = np.divide(products, dimension, dtype=np.float64)
    plus_one += 1.0
    kernel = np.square(plus_one)
    kernel *= plus_one
    return kernel
