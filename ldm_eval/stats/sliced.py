"""Sliced 2-Wasserstein distance of two feature sets (MIND), with the error that images and directions leave.

Notation: ``X (n, d)`` and ``Y (n, d)`` are two sets of one size, ``u_1 .. u_M`` unit directions. Along one direction
the optimal coupling pairs the sorted projections ``a_1 <= .. <= a_n`` and ``b_1 <= .. <= b_n``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable
from ldm_eval.stats.intervals import normal_interval, variance_of_mean

__all__ = ["ESTIMATOR", "SlicedDifference", "SlicedDistance", "difference", "sliced_distance", "unit_directions"]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

ESTIMATOR = "influence function over images and spread over directions; covers the expected distance at this set size"
"""What the interval is about. The distance itself is biased upward at finite n: see docs/checks."""

_CELLS = 8_000_000
"""Projections of one set that are held at a time."""
_ROWS = 4096
"""Rows that are converted to float64 at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class SlicedDistance:
    """``3 d`` times the mean squared 2-Wasserstein distance along the directions; lower is closer.

    Attributes:
        value: The distance, never below zero.
        by_direction: ``(M,)``, the same for each direction; ``value`` is their mean.
        n: Rows of each set.
        dimension: d.
        interval: For the expected distance at this n over all directions.
        influence_x: ``(n,)``, what each row of the first set adds to the distance (mean 0).
        influence_y: ``(n,)``, the same for the second set.
    """

    value: float
    by_direction: Array
    n: int
    dimension: int
    interval: Interval
    influence_x: Array
    influence_y: Array


@dataclass(frozen=True, slots=True, eq=False)
class SlicedDifference:
    """One sliced distance minus another that shares a set and the directions with it."""

    value: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True, eq=False)
class _Slices:
    """Some directions of one set: projections sorted along the last axis, and where each came from."""

    sorted: Array
    order: NDArray[np.int64]


def unit_directions(count: int, dimension: int, rng: np.random.Generator) -> Array:
    """``(count, dimension)`` directions, independent and uniform on the unit sphere."""
    drawn = rng.standard_normal((count, dimension))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def sliced_distance(x: Features, y: Features, directions: Array, *, level: float = 0.95) -> SlicedDistance:
    """``3 d / (n M) * sum over directions and ranks of (a_k - b_k)^2``; lower is closer.

    Two Gaussians N(0, I) and N(mu, I) are ``3 |mu|^2`` apart. At finite n two draws of one distribution are apart as
    well; subtract a floor of equal n, or compare equal n only.

    The error has two parts. Over images it is the delta method: the influence of a row is its Kantorovich potential,
    along one direction ``p(a_1) = 0, p(a_k+1) - p(a_k) = a_k+1^2 - a_k^2 - (b_k + b_k+1) (a_k+1 - a_k)``, averaged over
    directions. Over directions it is the spread of their distances over root M. Where the two distributions
    are equal the first vanishes in the limit and the estimate of it errs on the wide side.

    Args:
        x: ``(n, d)``, n >= 2, rows i.i.d.
        y: ``(n, d)``, rows i.i.d. and independent of x.
        directions: ``(M, d)``, M >= 2, of length one (``unit_directions``).
        level: Of the two-sided interval.

    Raises:
        DataError: for sets of different size or width, fewer than two rows, values that are not finite, or directions
            of another width.

    Source: arXiv:2605.06797 (MIND: alpha = 3 d); the potential is the dual of optimal transport on the line.
    """
    refuse_unusable(x, y, ("first", "second"), "A sliced distance", 2)
    if len(x) != len(y):
        raise DataError(f"A sliced distance is taken between sets of one size; found {len(x)} and {len(y)} rows.")
    if directions.ndim != 2 or len(directions) < 2 or directions.shape[1] != x.shape[1]:
        raise DataError(
            f"A sliced distance in {x.shape[1]} dimensions was asked for along directions of shape {directions.shape}; "
            "it needs at least two, of that width."
        )
    n, d = x.shape
    count, factor = len(directions), 3.0 * d
    by_direction, influence_x, influence_y = np.empty(count), np.zeros(n), np.zeros(n)
    step = max(1, _CELLS // n)
    for start in range(0, count, step):
        part = directions[start : start + step]
        first, second = _slices(x, part), _slices(y, part)
        by_direction[start : start + step] = factor * np.square(first.sorted - second.sorted).mean(axis=1)
        influence_x += _potential(first, second.sorted)
        influence_y += _potential(second, first.sorted)
    influence_x *= factor / count
    influence_y *= factor / count
    influence_x -= influence_x.mean()
    influence_y -= influence_y.mean()
    value = float(by_direction.mean())
    error = math.sqrt(sum(variance_of_mean(part) for part in (by_direction, influence_x, influence_y)))
    interval = normal_interval(value, error, level, ESTIMATOR, smallest=0.0)
    return SlicedDistance(value, by_direction, n, d, interval, influence_x, influence_y)


def difference(
    first: SlicedDistance, second: SlicedDistance, *, shared: Literal["x", "y"], level: float = 0.95
) -> SlicedDifference:
    """``first - second`` for two distances along the same directions that share their x (or y) rows, in one order.

    Where the unshared sets have the same distribution both distances have the same bias, so that their difference is
    zero in expectation at every n. The error pairs the shared rows and the directions.

    Raises:
        DataError: when sizes or directions differ.
    """
    if first.n != second.n or len(first.by_direction) != len(second.by_direction):
        raise DataError(
            f"Two sliced distances with n = {first.n} and {second.n} along {len(first.by_direction)} and "
            f"{len(second.by_direction)} directions have no paired difference."
        )
    x = (first.influence_x, second.influence_x)
    y = (first.influence_y, second.influence_y)
    together, apart = (x, y) if shared == "x" else (y, x)
    parts = [together[0] - together[1], *apart, first.by_direction - second.by_direction]
    value, error = first.value - second.value, math.sqrt(sum(variance_of_mean(part) for part in parts))
    return SlicedDifference(value, error, normal_interval(value, error, level, ESTIMATOR))


def _slices(features: Features, directions: Array) -> _Slices:
    projected = np.empty((len(directions), len(features)))
    for start in range(0, len(features), _ROWS):
        rows = features[start : start + _ROWS].astype(np.float64)
        projected[:, start : start + _ROWS] = directions @ rows.T
    order = np.argsort(projected, axis=1)
    return _Slices(np.take_along_axis(projected, order, axis=1), order)


def _potential(mine: _Slices, theirs: Array) -> Array:
    """``(n,)``: centred potential of every row, in the order of the rows, summed over the directions."""
    steps = np.diff(mine.sorted, axis=1)
    # a'^2 - a^2 - (b + b')(a' - a) = (a' - a)((a + a') - (b + b')): no squares that cancel
    steps *= mine.sorted[:, 1:] + mine.sorted[:, :-1] - theirs[:, 1:] - theirs[:, :-1]
    rising = np.zeros_like(mine.sorted)
    np.cumsum(steps, axis=1, out=rising[:, 1:])
    rising -= rising.mean(axis=1, keepdims=True)
    summed = np.bincount(mine.order.ravel(), weights=rising.ravel(), minlength=mine.order.shape[1])
    return np.asarray(summed, dtype=np.float64)
