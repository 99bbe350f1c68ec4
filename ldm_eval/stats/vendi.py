"""Vendi score: the effective number of different items in a set of features, with an error bar from one spectrum.

Notation: the rows of ``X (n, d)`` scaled to unit length are ``U``; the kernel is the cosine, ``K = U U^T``. The
eigenvalues of ``K / n`` that are not zero are those of ``S = U^T U / n``, so the smaller of the two is decomposed. They
sum to one, and the score is the exponential of their Renyi entropy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas
from scipy.special import xlogy

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable
from ldm_eval.stats.intervals import normal_quantile, variance_of_mean

__all__ = ["ESTIMATOR", "ORDERS", "VendiRatio", "VendiScore", "vendi_ratio", "vendi_score", "vendi_scores"]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

ORDERS = (0.5, 1.0, 2.0, math.inf)
"""The orders there are: rare items, the published score, common items, the commonest."""

ESTIMATOR = "leave-one-out jackknife on the log scale; covers the expected score at this n"
"""What the interval is about. The score itself grows with n: see docs/checks."""

_BLOCK = 4096
"""Rows that are projected on the eigenvectors at a time."""
_NOISE = 64.0 * np.finfo(np.float64).eps
"""Eigenvalues below this share of the largest one, times their number, are rounding and not directions."""
_NODES = np.exp(np.arange(-42.0, 43.0))
"""Where the integrals over t are summed: in log t the integrands are analytic in a strip of width pi, so steps of one
give nine digits, and both tails are below 1e-8."""


@dataclass(frozen=True, slots=True, eq=False)
class VendiScore:
    """Effective number of different items (higher is more varied), between 1 and min(n, d); it grows with n.

    Attributes:
        value: ``exp H_q`` of the eigenvalues.
        order: q; infinity looks at the largest eigenvalue only.
        n: Rows.
        dimension: d.
        interval: For the expected score at this n.
        influence: ``(n,)``, what each row adds to the *logarithm* of the score (mean 0).
    """

    value: float
    order: float
    n: int
    dimension: int
    interval: Interval
    influence: Array

    @property
    def standard_error(self) -> float:
        """Standard error of the score."""
        return self.value * math.sqrt(variance_of_mean(self.influence))


@dataclass(frozen=True, slots=True)
class VendiRatio:
    """One score over another of as many rows: 1 for two draws of one distribution, in expectation of the logarithm.

    Attributes:
        value: First over second.
        standard_error: Of the ratio.
        interval: Normal on the log scale.
    """

    value: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True, eq=False)
class _UnitRows:
    """Rows of unit length in float64, a block at a time, so that 100,000 rows are never copied whole."""

    features: Features
    lengths: Array

    def __len__(self) -> int:
        return len(self.features)

    def block(self, start: int, stop: int) -> Array:
        """Rows ``start:stop``."""
        rows: Array = self.features[start:stop].astype(np.float64)
        rows /= self.lengths[start:stop, None]
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class _Spectrum:
    """Eigenvalues of S, those that are rounding left out, with what each row has along every eigenvector.

    Attributes:
        values: ``(r,)``, ascending; they sum to one.
        rows: The unit rows.
        vectors: ``(d, r)`` eigenvectors of S, or ``(n, r)`` of K / n where ``dual``.
        dual: Which of the two.
    """

    values: Array
    rows: _UnitRows
    vectors: Array
    dual: bool

    def energies(self, weights: Array) -> Array:
        """``(n, k)``: ``u^T V diag(w) V^T u`` for every row u and every column w of ``weights (r, k)``."""
        n = len(self.rows)
        out = np.empty((n, weights.shape[1]))
        # in the dual, u_i . v_k is the root of n l_k times the i-th component of the k-th eigenvector of K / n
        scaled = weights * (n * self.values)[:, None] if self.dual else weights
        for start in range(0, n, _BLOCK):
            stop = min(n, start + _BLOCK)
            along = self.vectors[start:stop] if self.dual else self.rows.block(start, stop) @ self.vectors
            np.matmul(np.square(along), scaled, out=out[start:stop])
        return out


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What leaves with each row.

    Attributes:
        changes: ``(n, t)``: by how much the trace of ``(S + t)^-1`` grows when a row leaves, at every node t.
        squares: ``(n,)`` ``u^T S u``.
        firsts: ``(n,)`` square of a row's part along the first eigenvector.
    """

    changes: Array
    squares: Array
    firsts: Array

    @classmethod
    def of(cls, spectrum: _Spectrum) -> _Rows:
        values, count = spectrum.values[:, None], len(_NODES)
        first = np.zeros_like(values)
        first[-1] = 1.0
        # 1 - h(t) is taken as (1 - h(0)) + t * (...): a row alone in its direction has h(0) = 1, and 1 - h cancels
        weights = [1.0 / np.square(values + _NODES), 1.0 / (values * (values + _NODES)), 1.0 / values, values, first]
        energies = spectrum.energies(np.hstack(weights))
        squares, firsts = energies[:, -2].copy(), energies[:, -1].copy()
        energies /= len(spectrum.rows)
        free = np.maximum(1.0 - energies[:, 2 * count, None], 0.0)
        return cls(energies[:, :count] / (free + _NODES * energies[:, count : 2 * count]), squares, firsts)


def vendi_score(features: Features, *, order: float = 1.0, level: float = 0.95) -> VendiScore:
    """Vendi score of one order; see ``vendi_scores``."""
    return vendi_scores(features, (order,), level=level)[order]


def vendi_scores(features: Features, orders: Sequence[float], *, level: float = 0.95) -> Mapping[float, VendiScore]:
    """Vendi scores of ``features (n, d)`` with the cosine kernel, for several orders q from one decomposition.

    ``H_1 = -sum l log l``, ``H_q = log(sum l^q) / (1 - q)``, ``H_inf = -log max l``. Small q listens to rare items,
    large q to the common ones; order 2 is the inverse of the mean squared similarity and converges fastest in n.

    The error is the jackknife: the exact entropy without each row, for no further decomposition. With
    ``A = S - u u^T / n`` and ``h(t) = u^T (S + t)^-1 u / n`` the trace of ``(A + t)^-1`` is that of ``(S + t)^-1`` plus
    ``u^T (S + t)^-2 u / (n (1 - h(t)))``, and ``x log x`` and the square root are integrals of ``1 / (x + t)`` over t.
    The influence function of the spectrum (the limit of this for large n) is up to three times too narrow where n < d,
    so it serves for order infinity only, whose largest eigenvalue no single row owns.
    The plug-in score is biased downward by about c / n and no interval mends that: compare equal n only.

    Args:
        features: ``(n, d)``, n >= 3, rows i.i.d., none of them zero (a zero row has no cosine).
        orders: Out of ``ORDERS``.
        level: Of the two-sided intervals.

    Raises:
        DataError: for fewer than three rows, zero rows, values that are not finite, or another order.

    Source: arXiv:2210.02410 (the score); arXiv:2310.12952 (orders); arXiv:2410.21719 (growth with n).
    """
    refuse_unusable(features, features, ("given", "given"), "A Vendi score", 3)
    for order in orders:
        if order not in ORDERS:
            raise DataError(
                f"A Vendi score of order {order} was asked for; the orders are {', '.join(f'{q:g}' for q in ORDERS)}."
            )
    spectrum = _spectrum(_unit_rows(features))
    rows = _Rows.of(spectrum)
    found = {}
    for order in orders:
        entropy = max(0.0, _entropy(spectrum.values, order))
        influence = _influence(spectrum.values, rows, order)
        influence -= influence.mean()
        n, d = features.shape
        error = math.sqrt(variance_of_mean(influence))
        interval = _log_interval(math.exp(entropy), error, level, 1.0, float(min(n, d)))
        found[order] = VendiScore(math.exp(entropy), order, n, d, interval, influence)
    return found


def vendi_ratio(first: VendiScore, second: VendiScore, *, level: float = 0.95) -> VendiRatio:
    """``first / second`` of two independent sets of equal size and one order.

    At equal n both scores have the same bias where the two distributions are the same, so the logarithm of the ratio is
    then zero in expectation at every n.

    Raises:
        DataError: when sizes, dimensions or orders differ.
    """
    mine, theirs = ((one.n, one.dimension, one.order) for one in (first, second))
    if mine != theirs:
        raise DataError(
            f"Vendi scores of (n, d, order) {mine} and {theirs} do not compare: the score grows with n. "
            "Take equally many rows of both, in one space and order."
        )
    value = first.value / second.value
    error = math.sqrt(variance_of_mean(first.influence) + variance_of_mean(second.influence))
    return VendiRatio(value, value * error, _log_interval(value, error, level, 0.0, math.inf))


def _unit_rows(features: Features) -> _UnitRows:
    squares = np.empty(len(features))
    for start in range(0, len(features), _BLOCK):
        block = features[start : start + _BLOCK].astype(np.float64)
        squares[start : start + _BLOCK] = np.einsum("ij,ij->i", block, block)
    if not squares.all():
        empty = np.flatnonzero(squares == 0.0)
        raise DataError(
            f"{len(empty)} of {len(features)} feature vectors are zero (first: row {empty[0]}) and have no cosine with "
            "another; look at these images."
        )
    return _UnitRows(features, np.sqrt(squares))


def _spectrum(rows: _UnitRows) -> _Spectrum:
    n, d = rows.features.shape
    dual = n < d
    # the lower triangle of the smaller of K / n and S, which is all that is read
    if dual:
        matrix = blas.dsyrk(1.0 / n, rows.block(0, n).T, trans=1, lower=1)
    else:
        matrix = np.zeros((d, d), order="F")
        for start in range(0, n, _BLOCK):
            matrix = blas.dsyrk(1.0 / n, rows.block(start, start + _BLOCK).T, 1.0, matrix, lower=1, overwrite_c=1)
    values, vectors = linalg.eigh(matrix, lower=True, check_finite=False, driver="evd", overwrite_a=True)
    kept = values > _NOISE * len(values) * values[-1]
    values = np.asarray(values[kept], dtype=np.float64)
    return _Spectrum(values / values.sum(), rows, np.asarray(vectors[:, kept], dtype=np.float64), dual)


def _influence(values: Array, rows: _Rows, order: float) -> Array:
    """``(n,)``: n - 1 times the entropy of all rows less that without each row (first order where q is infinite)."""
    n = len(rows.squares)
    if math.isinf(order):
        return np.asarray(-rows.firsts / values[-1], dtype=np.float64)
    rescale = n / (n - 1.0)  # the rows that stay weigh 1 / (n - 1) each
    if order == 2.0:
        power = float(np.square(values).sum()) - 2.0 * rows.squares / n + 1.0 / n**2
        left = -np.log(rescale**2 * power)
    elif order == 1.0:
        change = (rows.changes * _NODES - 1.0 / (n * (1.0 + _NODES))) @ _NODES
        left = -math.log(rescale) - rescale * (float(xlogy(values, values).sum()) + change)
    else:
        root = float(np.sqrt(values).sum()) - rows.changes @ _NODES**1.5 / math.pi
        left = math.log(rescale) + 2.0 * np.log(root)
    return np.asarray((n - 1.0) * (_entropy(values, order) - left), dtype=np.float64)


def _entropy(values: Array, order: float) -> float:
    if math.isinf(order):
        return -math.log(float(values[-1]))
    if order == 1.0:
        return -float(xlogy(values, values).sum())
    return math.log(float(np.sum(values**order))) / (1.0 - order)


def _log_interval(value: float, error: float, level: float, smallest: float, largest: float) -> Interval:
    reach = normal_quantile(level) * error
    low, high = max(smallest, value * math.exp(-reach)), min(largest, value * math.exp(reach))
    return Interval(min(low, value), max(high, value), level, ESTIMATOR)
