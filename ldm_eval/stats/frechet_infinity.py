"""Fréchet distance at infinite n: the bias that falls as 1/n is measured on the data itself and taken off.

Both sets lose the same share of their rows again and again, each row once. To first order every row then keeps one and
the same weight in the extrapolation, so the limit is no noisier than the distance and has its influence function; a
chain of nested subsets, or one draw for each size, weighs rows unequally and is (``docs/decisions/0032``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.stats.intervals import normal_interval

__all__ = ["ESTIMATOR", "UPPER_ESTIMATOR", "FrechetLimit", "frechet_limit"]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]
Index = NDArray[np.int64]

ESTIMATOR = "influence function, both sets random; bias in 1/n removed by a tenfold jackknife"
"""Covers the distance of the two distributions, not that of finite sets."""

UPPER_ESTIMATOR = "upper bound only: with fewer than 2 x dimension rows part of the bias is left, and it is upward"

_GROUPS = 10
_BLOCK = 4096
_ROUNDING = 1e-15
"""An eigenvalue below this times the largest and the number of rows is rounding."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FrechetLimit:
    """Squared Fréchet distance of two distributions (lower is closer), about unbiased; may fall below zero by chance.

    Attributes:
        value: The distance with its 1/n bias taken off.
        standard_error: That of the distance at these sizes, to first order.
        interval: For the limit; sided ``upper`` where n or m is below twice the dimension.
        at_n: The distance of all rows.
        without_tenth: Mean distance where a tenth of both sets is left out.
        of_halves: Mean distance of two halves of both sets.
        n, m: Rows of the two sets.
        dimension: d.
        groups: How many parts were left out one after another.
        influence_x: ``(n,)``, what each row of the first set adds (mean 0).
        influence_y: ``(m,)``, the same for the second set.
    """

    value: float
    standard_error: float
    interval: Interval
    at_n: float
    without_tenth: float
    of_halves: float
    n: int
    m: int
    dimension: int
    groups: int
    influence_x: Array
    influence_y: Array

    @property
    def from_halves(self) -> float:
        """The limit that the halves alone would give; further from ``value`` the less the bias falls as 1/n."""
        return 2.0 * self.at_n - self.of_halves


def frechet_limit(
    x: Features, y: Features, *, rng: np.random.Generator, groups: int = _GROUPS, level: float = 0.95
) -> FrechetLimit:
    """The squared Fréchet distance at infinite n and m: linear in 1/n through all rows and all but a tenth of them.

    ``FD + (groups - 1) (FD - mean of FD without each group)``, groups of both sets left out together: the
    delete-a-group jackknife, a line against 1/n through n and 0.9 n. What is left of the bias is of order 1/n^2; with
    fewer than d rows it can be half of the value, always upward, so that below 2 d only the upper bound counts.

    Args:
        x: ``(n, d)``, n >= 20, rows i.i.d.
        y: ``(m, d)``, m >= 20, rows i.i.d. and independent of x.
        rng: Decides which rows are left out together.
        groups: How many parts each set is cut into.
        level: Of the two-sided interval.

    Raises:
        DataError: for sets of different width, fewer than two rows a group, or values that are not finite.

    Source: arXiv:1911.07023 (extrapolation in 1/n, with other subsets); the jackknife, Quenouille 1956.
    """
    n, m, d = len(x), len(y), int(x.shape[1])
    if groups < 2 or min(n, m) < 2 * groups:
        raise DataError(f"{groups} groups of at least two rows were asked of {n} and {m} rows; give more images.")
    whole = frechet_distance(x, y, level=level)
    parts = _Parts(x, y, rng)
    all_rows = parts.distance((), ())
    cuts = [_cut(n, m, k / groups, (k + 1) / groups) for k in range(groups)]
    tenth = float(np.mean([parts.distance(*cut) for cut in cuts]))
    halves = float(np.mean([parts.distance(*cut) for cut in (_cut(n, m, 0.0, 0.5), _cut(n, m, 0.5, 1.0))]))
    value = whole.value + (groups - 1) * (all_rows - tenth)
    enough = min(n, m) >= 2 * d
    interval = normal_interval(value, whole.standard_error, level, ESTIMATOR)
    if not enough:
        interval = replace(interval, level=0.5 + level / 2.0, estimator=UPPER_ESTIMATOR, sided="upper")
    return FrechetLimit(
        value=value,
        standard_error=whole.standard_error,
        interval=interval,
        at_n=whole.value,
        without_tenth=whole.value + tenth - all_rows,
        of_halves=whole.value + halves - all_rows,
        n=n,
        m=m,
        dimension=d,
        groups=groups,
        influence_x=whole.influence_x,
        influence_y=whole.influence_y,
    )


def _cut(n: int, m: int, start: float, stop: float) -> tuple[range, range]:
    """The same share of both sets, as places in their shuffled order."""
    return range(round(start * n), round(stop * n)), range(round(start * m), round(stop * m))


@final
class _Shuffled:
    """A set in a random order, its mean taken off, read block by block; sums of all rows are made once."""

    def __init__(self, features: Features, rng: np.random.Generator) -> None:
        self._features = features
        self._order: Index = rng.permutation(len(features)).astype(np.int64)
        self.mean: Array = (
            sum(  # type: ignore[assignment]  # sum() of arrays is an array
                np.sum(features[i : i + _BLOCK], axis=0, dtype=np.float64) for i in range(0, len(features), _BLOCK)
            )
            / len(features)
        )
        self.energy = sum(float(np.vdot(block, block)) for block in self.blocks(range(len(features))))

    def __len__(self) -> int:
        return len(self._features)

    def blocks(self, places: range) -> Iterator[Array]:
        """Centred rows at these places of the order."""
        for start in range(places.start, places.stop, _BLOCK):
            rows = self._order[start : min(places.stop, start + _BLOCK)]
            yield self._features[rows].astype(np.float64) - self.mean

    def rows(self, places: range) -> Array:
        """All centred rows at these places."""
        return np.concatenate([*self.blocks(places), np.zeros((0, len(self.mean)))])


@final
class _Scatter:
    """Covariance, mean and trace of a shuffled set without some of its rows, in the space itself or seen in a frame.

    Args:
        rows: The set.
        frame: ``(r, d)`` onto whose rows it is projected; None: nothing is projected.
    """

    def __init__(self, rows: _Shuffled, frame: Array | None) -> None:
        self._rows, self._frame = rows, frame
        size = len(rows.mean) if frame is None else len(frame)
        self._size = size
        self._whole = self._products(range(len(rows)))

    def covariance(self, out: range) -> Array:
        """``(r, r)``, upper triangle and mirror: the frame's view of the covariance without the rows ``out``."""
        left = len(self._rows) - len(out)
        shift = self._seen(self.shift(out))
        found = (self._whole - self._products(out)) if len(out) else self._whole.copy()
        found -= left * np.outer(shift, shift)
        found /= left - 1
        return np.asarray(np.triu(found) + np.triu(found, 1).T, dtype=np.float64)

    def shift(self, out: range) -> Array:
        """``(d,)``: how far the mean moves when the rows ``out`` are left out."""
        total = np.zeros(len(self._rows.mean))
        for block in self._rows.blocks(out):
            total -= block.sum(axis=0)
        return total / (len(self._rows) - len(out))

    def trace(self, out: range) -> float:
        """Trace of the covariance in the space itself."""
        left, moved = len(self._rows) - len(out), self.shift(out)
        gone = sum(float(np.vdot(block, block)) for block in self._rows.blocks(out))
        return (self._rows.energy - gone - left * float(moved @ moved)) / (left - 1)

    def _products(self, places: range) -> Array:
        """Upper triangle of the sum of outer products, as the frame sees them."""
        total = np.zeros((self._size, self._size), order="F")
        for block in self._rows.blocks(places):
            total = blas.dsyrk(1.0, self._seen(block).T, beta=1.0, c=total, overwrite_c=1)
        return total

    def _seen(self, block: Array) -> Array:
        return block if self._frame is None else block @ self._frame.T


@final
class _Parts:
    """Distances of what is left of two sets; products of all rows are made once and those left out taken off."""

    def __init__(self, x: Features, y: Features, rng: np.random.Generator) -> None:
        first, second = _Shuffled(x, rng), _Shuffled(y, rng)
        self._exchanged = len(first) < len(second)
        large, small = (second, first) if self._exchanged else (first, second)
        self._small = small
        # halves are the least that is left: where half of the smaller set is fewer rows than d, its rows are the frame
        frame = small.rows(range(len(small))) if len(small) <= 2 * len(small.mean) else None
        self._frame = frame
        self._large = _Scatter(large, frame)
        self._other = _Scatter(small, None if frame is None else np.zeros((1, len(small.mean))))
        self._apart = large.mean - small.mean

    def distance(self, x_out: range | tuple[()], y_out: range | tuple[()]) -> float:
        """The squared Fréchet distance without the rows at these places."""
        outs = [range(0) if isinstance(out, tuple) else out for out in (x_out, y_out)]
        of_large, of_small = reversed(outs) if self._exchanged else outs
        moved = self._apart + self._large.shift(of_large) - self._other.shift(of_small)
        traces = self._large.trace(of_large) + self._other.trace(of_small)
        return float(moved @ moved) + traces - 2.0 * self._nuclear(of_large, of_small)

    def _nuclear(self, of_large: range, of_small: range) -> float:
        seen = self._large.covariance(of_large)
        if self._frame is None:
            upper = _root(self._other.covariance(of_small))
            product = blas.dtrmm(1.0, upper, seen, lower=0)
            return _trace_of_root(blas.dtrmm(1.0, upper, product, side=1, lower=0, trans_a=1))
        kept = np.delete(np.arange(len(self._small)), np.arange(of_small.start, of_small.stop))
        seen = seen[np.ix_(kept, kept)]
        seen -= seen.mean(axis=0)
        seen -= seen.mean(axis=1, keepdims=True)
        return _trace_of_root(seen / (len(kept) - 1))


def _root(covariance: Array) -> Array:
    """Upper triangular root; a millionth of a millionth of the mean variance is added where there is none."""
    try:
        return np.asarray(linalg.cholesky(covariance, check_finite=False), dtype=np.float64)
    except linalg.LinAlgError:
        lift = 1e-12 * float(np.trace(covariance)) / len(covariance) + np.finfo(np.float64).tiny
        for _ in range(4):
            try:
                lifted = covariance + lift * np.eye(len(covariance))
                return np.asarray(linalg.cholesky(lifted, check_finite=False), dtype=np.float64)
            except linalg.LinAlgError:
                lift *= 100.0
    values, vectors = linalg.eigh(covariance, check_finite=False)
    _, upper = linalg.qr((vectors * np.sqrt(np.maximum(values, 0.0))).T, mode="economic", check_finite=False)
    return np.asarray(upper, dtype=np.float64)


def _trace_of_root(symmetric: Array) -> float:
    values = linalg.eigvalsh(symmetric, check_finite=False)
    floor = _ROUNDING * len(values) * float(values[-1])
    return float(np.sqrt(values[values > floor]).sum()) if values[-1] > 0 else 0.0
