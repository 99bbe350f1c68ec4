"""Kernel distances (KID, CMMD): MMD^2 of two feature sets under one of two kernels, exact over all pairs, by chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable
from ldm_eval.stats.intervals import normal_interval

__all__ = [
    "CUBIC",
    "ESTIMATOR",
    "CubicKernel",
    "GaussianKernel",
    "Kernel",
    "KernelDistance",
    "kernel_distance",
    "kernel_permutation_p_value",
    "polynomial_mmd_of_gaussians",
    "unit_rows",
]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

ESTIMATOR = "U-statistic standard error, first- and second-order terms"

_EXACT_PAIRS = 4_000_000
"""Up to this many pairs products are taken in float64; above, in float32 (sums stay float64), within 3e-8 relative."""
_TILE = 1024  # rows and columns of one product: as fast as a large one, and the kernel's passes over it stay in cache


class Kernel(Protocol):
    """A kernel that is a function of the scalar product alone, up to a constant, which no MMD^2 sees."""

    @property
    def name(self) -> str:
        """Formula, for the signature."""
        ...

    def of(self, products: Features, dimension: int) -> Array:
        """``float64``, of the scalar products of rows of ``dimension`` features."""
        ...

    def diagonal(self, rows: Features) -> Array:
        """``(N,)``: of each row with itself."""
        ...


@final
@dataclass(frozen=True, slots=True)
class CubicKernel:
    """``(x.y/d + 1)^3``, that of KID."""

    name: ClassVar[str] = "(x.y/d + 1)^3"

    def of(self, products: Features, dimension: int) -> Array:
        """``(products / dimension + 1)^3`` in float64."""
        plus_one = np.divide(products, dimension, dtype=np.float64)
        plus_one += 1.0
        kernel = np.square(plus_one)
        kernel *= plus_one
        return kernel

    def diagonal(self, rows: Features) -> Array:
        """``(|x|^2 / d + 1)^3``."""
        return self.of(np.einsum("ij,ij->i", rows, rows, dtype=np.float64), rows.shape[1])


@final
@dataclass(frozen=True, slots=True)
class GaussianKernel:
    """``exp(-|x - y|^2 / (2 sigma^2))`` of rows of length one, less 1; that of CMMD has sigma 10.

    The distances are so small beside sigma that nothing but the difference from 1 tells two sets apart.
    """

    sigma: float = 10.0

    @property
    def name(self) -> str:
        """With its bandwidth."""
        return f"exp(-|x - y|^2 / (2 x {self.sigma:g}^2)), rows of length one"

    def of(self, products: Features, dimension: int) -> Array:
        """``exp((x.y - 1) / sigma^2) - 1`` in float64: rows of length one are ``2 - 2 x.y`` apart, squared."""
        exponent = np.subtract(products, 1.0, dtype=np.float64)
        exponent /= self.sigma**2
        return np.asarray(np.expm1(exponent, out=exponent), dtype=np.float64)

    def diagonal(self, rows: Features) -> Array:
        """Zero: a row is at no distance from itself."""
        return np.zeros(len(rows))


CUBIC = CubicKernel()


@dataclass(frozen=True, slots=True, eq=False)
class KernelDistance:
    """Unbiased MMD^2 (lower is closer; a negative value is chance, not an error).

    Attributes:
        value: Estimate; its expectation is the population value at every n.
        standard_error: Root of the sum of the two parts below.
        first_order: Variance from the means over pairs (vanishes where the distributions are equal).
        second_order: Variance of the degenerate part (what is left there).
        interval: Normal interval for the population MMD^2, two-sided.
        n, m: Rows of the two sets.
        biased: The same with each row's kernel with itself among the pairs: the V-statistic, never below zero.
        influence_x: ``(n,)``, what each row of the first set adds (mean 0). The variances of these means add up to
            ``first_order + 2 second_order``: no less than the squared standard error, and equal to first order.
        influence_y: ``(m,)``, the same for the second set.
    """

    value: float
    standard_error: float
    first_order: float
    second_order: float
    interval: Interval
    n: int
    m: int
    biased: float
    influence_x: Array
    influence_y: Array


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


def unit_rows(features: Features) -> NDArray[np.float32]:
    """Rows divided by their length, in float32: a few 1e-8 of a scalar product, far below any kernel's noise.

    Raises:
        DataError: for a row of zeros, which has no direction.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64))
    if (zeros := np.flatnonzero(lengths == 0)).size:
        raise DataError(
            f"{zeros.size} of {len(features)} rows are all zeros (first: row {zeros[0]}) and have no direction; "
            "look at these images and at the extractor."
        )
    return np.asarray(features / lengths[:, None].astype(np.float32), dtype=np.float32)


def kernel_distance(x: Features, y: Features, *, kernel: Kernel = CUBIC, level: float = 0.95) -> KernelDistance:
    """Unbiased MMD^2 over all pairs; with the cubic kernel that is KID on one subset of everything.

    The variance is the full Hoeffding decomposition of the two-sample U-statistic,
    ``4 z_x/n + 4 z_y/m + 2 s_xx/(n(n-1)) + 2 s_yy/(m(m-1)) + 4 s_xy/(nm)``: z the variance of the mean difference seen
    from one row (with the noise of that mean taken out) and s the variances of the doubly centred kernel. The second
    part is what remains where the two distributions are equal; there the estimate is skewed to the right and
    ``kernel_permutation_p_value`` is the sharper answer.

    Args:
        x: ``(n, d)``, n >= 4, rows i.i.d.
        y: ``(m, d)``, m >= 4, rows i.i.d. and independent of x.
        kernel: For ``GaussianKernel`` the rows are those of ``unit_rows``.
        level: Of the two-sided interval.

    Raises:
        DataError: for sets of different width, fewer than four rows, or values that are not finite.

    Source: arXiv:1801.01401 (KID); arXiv:2401.09603 (CMMD); arXiv:1611.04488 (variance of MMD^2).
    """
    refuse_unusable(x, y, ("first", "second"), "A kernel distance", 4)
    n, m = len(x), len(y)
    xx, yy, xy = _pairs(x, None, kernel), _pairs(y, None, kernel), _pairs(x, y, kernel)
    value = xx.mean + yy.mean - 2.0 * xy.mean
    s_xx, s_yy = xx.degenerate_variance(n - 1, n - 1), yy.degenerate_variance(m - 1, m - 1)
    s_xy = xy.degenerate_variance(m, n)
    seen_x, seen_y = xx.rows / (n - 1) - xy.rows / m, yy.rows / (m - 1) - xy.columns / n
    z_x = float(np.var(seen_x, ddof=1)) - s_xx / (n - 1) - s_xy / m
    z_y = float(np.var(seen_y, ddof=1)) - s_yy / (m - 1) - s_xy / n
    first = 4.0 * max(0.0, z_x) / n + 4.0 * max(0.0, z_y) / m
    second = 2.0 * s_xx / (n * (n - 1)) + 2.0 * s_yy / (m * (m - 1)) + 4.0 * s_xy / (n * m)
    error = math.sqrt(first + second)
    interval = normal_interval(value, error, level, ESTIMATOR)
    alone_x, alone_y = float(kernel.diagonal(x).sum()), float(kernel.diagonal(y).sum())
    biased = (xx.rows.sum() + alone_x) / n**2 + (yy.rows.sum() + alone_y) / m**2 - 2.0 * xy.mean
    return KernelDistance(
        value=value,
        standard_error=error,
        first_order=first,
        second_order=second,
        interval=interval,
        n=n,
        m=m,
        biased=float(biased),
        influence_x=2.0 * (seen_x - seen_x.mean()),
        influence_y=2.0 * (seen_y - seen_y.mean()),
    )


def kernel_permutation_p_value(
    x: Features,
    y: Features,
    *,
    permutations: int,
    rng: np.random.Generator,
    kernel: Kernel = CUBIC,
    block: int = 64,
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
    values_of = kernel.of(pooled @ pooled.T, pooled.shape[1])
    np.fill_diagonal(values_of, 0.0)
    everything = float(values_of.sum())
    labels = np.zeros((total, permutations + 1))
    labels[:n, 0] = 1.0
    for column in range(1, permutations + 1):
        labels[rng.permutation(total)[:n], column] = 1.0
    statistics = [
        _statistics(values_of, everything, labels[:, i : i + block], n) for i in range(0, permutations + 1, block)
    ]
    values = np.concatenate(statistics)
    tolerance = 1e-12 * abs(everything) / total**2
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


def _pairs(x: Features, y: Features | None, kernel: Kernel) -> _Pairs:
    """Row, column and square sums of the kernel; ``y`` None: x with itself, diagonal left out."""
    other = x if y is None else y
    exact = len(x) * len(other) <= _EXACT_PAIRS
    left, right = (_as(one, exact) for one in (x, other))
    rows, columns, squares = np.zeros(len(x)), np.zeros(len(other)), 0.0
    for i in range(0, len(x), _TILE):
        down = slice(i, min(len(x), i + _TILE))
        for j in range(i if y is None else 0, len(other), _TILE):
            across = slice(j, min(len(other), j + _TILE))
            tile = kernel.of(left[down] @ right[across].T, x.shape[1])
            mirrored = y is None and i != j
            if y is None and not mirrored:
                np.fill_diagonal(tile, 0.0)
            by_row, by_column = tile.sum(axis=1), tile.sum(axis=0)
            rows[down] += by_row
            columns[across] += by_column
            squares += float(np.vdot(tile, tile)) * (2.0 if mirrored else 1.0)
            if mirrored:
                rows[across] += by_column
                columns[down] += by_row
    count = len(x) * (len(x) - 1) if y is None else len(x) * len(other)
    return _Pairs(rows, columns, squares, count)


def _as(features: Features, exact: bool) -> Features:
    """Float64, or float32: float32 features then stay where they are, be it a memory map."""
    return features.astype(np.float64) if exact else features.astype(np.float32, copy=False)
