"""Fréchet distance between two sets of features, with an error bar that costs no resampling.

Notation: ``X (n, d)`` and ``Y (m, d)`` are the two sets, rows i.i.d., S1 and S2 their covariances (divided by n - 1
and m - 1), and ``X_c = B_x R_x sqrt(n - 1)`` a centred set written as orthonormal columns times a small root. All that
the distance and its error need is the singular value decomposition of ``R_x R_y^T``, because
``Tr (S1 S2)^(1/2)`` is its nuclear norm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable
from ldm_eval.stats.intervals import normal_interval, variance_of_mean
from ldm_eval.stats.roots import CentredRows, Root, centred, root_of

__all__ = [
    "ESTIMATOR",
    "PAIRED_ESTIMATOR",
    "FrechetDifference",
    "FrechetDistance",
    "difference",
    "frechet_distance",
    "gaussian_frechet",
]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

ESTIMATOR = "influence function, both sets random; covers the expected distance at these set sizes"
"""What the interval is about. The estimate itself is biased upward by about (c1/n + c2/m): see docs/checks."""

PAIRED_ESTIMATOR = "influence function, rows paired; covers the expected distance at this set size"
"""The same for two sets whose rows belong together, such as images and what an autoencoder makes of them."""


@dataclass(frozen=True, slots=True, eq=False)
class FrechetDistance:
    """Squared Fréchet distance of two feature sets (lower is closer), biased upward at finite n.

    Attributes:
        value: ``|mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``, never below zero.
        mean_term: ``|mu1 - mu2|^2``.
        covariance_term: The rest.
        negative_mass: Share of the eigenvalues' absolute sum that came out negative by rounding (0 for the SVD route).
        n, m: Rows of the two sets.
        dimension: d.
        interval: For the expected distance at these n and m (not for its limit at infinite n).
        influence_x: ``(n,)``, what each row of the first set adds to the distance (mean 0).
        influence_y: ``(m,)``, the same for the second set.
        paired: Row i of both sets is one image; what it adds is then the sum of its two influences.
    """

    value: float
    mean_term: float
    covariance_term: float
    negative_mass: float
    n: int
    m: int
    dimension: int
    interval: Interval
    influence_x: Array
    influence_y: Array
    paired: bool = False

    @property
    def standard_error(self) -> float:
        """Standard error of the distance, both sets random; with paired rows, the pairs."""
        return _standard_error(self.influence_x, self.influence_y, self.paired)


@dataclass(frozen=True, slots=True, eq=False)
class FrechetDifference:
    """One Fréchet distance minus another that shares a set with it; the shared rows are paired."""

    value: float
    standard_error: float
    interval: Interval


class _Energies(Protocol):
    """What the transport map makes of each row: ``r^T A r``."""

    def of(self, rows: slice, block: Array) -> Array:
        """``(len(block),)`` for the centred rows numbered ``rows``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Transport:
    """The nuclear norm ``Tr (S1 S2)^(1/2)`` and each row's part in it.

    Attributes:
        nuclear: Sum of the singular values of ``R_x R_y^T``.
        energies_x: ``x_c^T A x_c`` with A the optimal transport map from S1 to S2, rows divided by sqrt(n - 1).
        energies_y: The same for the second set and the map back.
        negative_mass: Seen on the way.
    """

    nuclear: float
    energies_x: _Energies
    energies_y: _Energies
    negative_mass: float


@dataclass(frozen=True, slots=True, eq=False)
class _Influence:
    """``values (n,)``: what each row adds, mean 0; ``trace``: of the set's covariance."""

    values: Array
    trace: float


def frechet_distance(x: Features, y: Features, *, paired: bool = False, level: float = 0.95) -> FrechetDistance:
    """Squared Fréchet distance between the Gaussians fitted to two feature sets; lower is closer.

    With n and m at least d the root is taken by ``Cholesky`` and a symmetric eigenproblem, otherwise (and when a
    covariance is singular) by the SVD of ``R_x R_y^T``, the nuclear norm of ``X_c Y_c^T``.
    No jitter, no complex numbers. Rows are read block by block (the sets may be memory maps), so memory depends on d
    alone.

    The error is the delta method: the influence of x on the distance is
    ``2 (mu1 - mu2)^T x_c + x_c^T (I - A) x_c`` (centred) with A the optimal transport map from S1 to S2,
    whose quadratic form is read off the singular vectors also when S1 has no inverse. Near equality the distance is a
    degenerate quadratic form and the error is up to sqrt(2) too wide (``benchmarks/frechet_interval.py``).

    With ``paired`` rows the error is that of the mean of both influences together. For a reconstruction y of x they
    nearly cancel: taken as independent sets, the interval would be many times too wide.

    Args:
        x: ``(n, d)``, n >= 2, rows i.i.d.
        y: ``(m, d)``, m >= 2, rows i.i.d. and independent of x unless ``paired``.
        paired: Row i of y was made from row i of x (m = n), and only the pairs are i.i.d.
        level: Of the two-sided interval.

    Raises:
        DataError: for sets of different width, fewer than two rows, values that are not finite, or paired sets of
            different sizes.

    Source: arXiv:1706.08500 (the distance); Fréchet derivative of the Bures term, e.g. arXiv:1805.09114.
    """
    refuse_unusable(x, y, ("first", "second"), "A Fréchet distance", 2)
    if paired and len(x) != len(y):
        raise DataError(f"Paired rows were announced, and the sets have {len(x)} and {len(y)} rows.")
    n, m = len(x), len(y)
    first, second = centred(x), centred(y)
    shift = first.mean - second.mean
    root_x, root_y = root_of(first), root_of(second)
    transport = _by_eigh(root_x, root_y) if root_x.regular and root_y.regular else _by_svd(root_x, root_y)
    of_x, of_y = _influence(first, transport.energies_x, shift), _influence(second, transport.energies_y, -shift)
    influence_x, influence_y = of_x.values, of_y.values
    mean_term = float(shift @ shift)
    covariance_term = float(of_x.trace + of_y.trace - 2.0 * transport.nuclear)
    value = max(0.0, mean_term + covariance_term)
    error = _standard_error(influence_x, influence_y, paired)
    estimator = PAIRED_ESTIMATOR if paired else ESTIMATOR
    return FrechetDistance(
        value=value,
        mean_term=mean_term,
        covariance_term=covariance_term,
        negative_mass=transport.negative_mass,
        n=n,
        m=m,
        dimension=int(x.shape[1]),
        interval=normal_interval(value, error, level, estimator, smallest=0.0),
        influence_x=influence_x,
        influence_y=influence_y,
        paired=paired,
    )


def difference(
    first: FrechetDistance, second: FrechetDistance, *, shared: Literal["x", "y"], level: float = 0.95
) -> FrechetDifference:
    """``first - second`` for two distances that share their x (or y) rows, in the same order.

    The error pairs the shared rows. With equal set sizes the bias of the two distances cancels where the unshared sets
    have the same distribution: the difference is then zero in expectation at every n.

    Raises:
        DataError: when the shared sets are not of one size.
    """
    mine, theirs = (first.influence_x, second.influence_x) if shared == "x" else (first.influence_y, second.influence_y)
    if len(mine) != len(theirs):
        raise DataError(
            f"Two distances do not share '{shared}': it has {len(mine)} rows in one, {len(theirs)} in the other."
        )
    own = (first.influence_y, second.influence_y) if shared == "x" else (first.influence_x, second.influence_x)
    variance = variance_of_mean(mine - theirs) + sum(variance_of_mean(part) for part in own)
    value, error = first.value - second.value, math.sqrt(variance)
    interval = normal_interval(value, error, level, ESTIMATOR)
    return FrechetDifference(value, error, interval)


def gaussian_frechet(mean1: Array, covariance1: Array, mean2: Array, covariance2: Array) -> float:
    """Squared Fréchet distance of two Gaussians given by their moments: the closed form, for known answers."""
    try:
        half = linalg.cholesky(covariance1, lower=True)
    except linalg.LinAlgError:
        values, vectors = linalg.eigh(covariance1)
        half = vectors * np.sqrt(np.maximum(values, 0.0))
    inner = linalg.eigvalsh(half.T @ covariance2 @ half)
    root = float(np.sqrt(np.maximum(inner, 0.0)).sum())
    shift = np.asarray(mean1) - np.asarray(mean2)
    return float(shift @ shift + np.trace(covariance1) + np.trace(covariance2) - 2.0 * root)


def _influence(rows: CentredRows, energies: _Energies, shift: Array) -> _Influence:
    n = len(rows)
    own, values = np.empty(n), np.empty(n)
    for at, block in rows.blocks():
        own[at] = np.einsum("ij,ij->i", block, block)
        values[at] = (n - 1) * (own[at] - energies.of(at, block)) + 2.0 * math.sqrt(n - 1) * (block @ shift)
    values -= values.mean()
    return _Influence(values, float(own.sum()))


def _by_eigh(x: Root, y: Root) -> _Transport:
    """Both covariances are regular: the squares of the singular values are eigenvalues, half the work of an SVD.

    With ``R_x R_y^T = U diag(s) V^T`` the map from S1 to S2 is ``R_x^-1 U diag(s) U^T R_x^-T``, and the map back is
    ``R_x^T U diag(1 / s) U^T R_x``.
    """
    product = blas.dtrmm(1.0, y.root, x.root.T, lower=0)  # R_y R_x^T
    squares, left = linalg.eigh(
        blas.dsyrk(1.0, product, trans=1, lower=1), check_finite=False, driver="evd", overwrite_a=True
    )
    total = float(np.abs(squares).sum())
    negative = float(np.maximum(-squares, 0.0).sum()) / total if total else 0.0
    values = np.sqrt(np.maximum(squares, 0.0))
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
    there = linalg.solve_triangular(x.root, left * np.sqrt(values), check_finite=False, overwrite_b=True)
    back = blas.dtrmm(1.0, x.root, left * np.sqrt(inverse), lower=0, trans_a=1, overwrite_b=1)
    return _Transport(float(values.sum()), _quadratic(there), _quadratic(back), negative)


def _by_svd(x: Root, y: Root) -> _Transport:
    left, values, right = linalg.svd(x.root @ y.root.T, full_matrices=False, check_finite=False)
    return _Transport(float(values.sum()), _squares(x, left, values), _squares(y, right.T, values), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Quadratic:
    """``r^T M r`` for the symmetric M of which the upper triangle is held, its diagonal halved: half of a product."""

    upper: Array

    def of(self, rows: slice, block: Array) -> Array:
        half = blas.dtrmm(1.0, self.upper, block.T, lower=0, trans_a=1).T
        return np.asarray(2.0 * np.einsum("ij,ij->i", half, block), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Squares:
    """Sum over k of ``weights[k] * (r[columns] @ half)[k]**2``."""

    columns: NDArray[np.intp]
    half: Array
    weights: Array

    def of(self, rows: slice, block: Array) -> Array:
        return np.asarray(np.square(block[:, self.columns] @ self.half) @ self.weights, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Energies that are known already."""

    values: Array

    def of(self, rows: slice, block: Array) -> Array:
        return self.values[rows]


def _quadratic(half: Array) -> _Energies:
    upper = blas.dsyrk(1.0, half)
    np.fill_diagonal(upper, np.diagonal(upper) / 2.0)
    return _Quadratic(upper)


def _squares(root: Root, vectors: Array, weights: Array) -> _Energies:
    if root.columns is None or root.corner is None:
        return _Known(np.asarray(np.square(vectors) @ weights, dtype=np.float64))
    half = linalg.solve_triangular(root.corner, vectors, check_finite=False)
    return _Squares(root.columns, half, weights)


def _standard_error(influence_x: Array, influence_y: Array, paired: bool) -> float:
    if paired:
        return math.sqrt(variance_of_mean(influence_x + influence_y))
    return math.sqrt(variance_of_mean(influence_x) + variance_of_mean(influence_y))
