"""Precision, recall, density and coverage from k-nearest-neighbour manifolds, exact over all pairs, by chunks.

The manifold of a set is the union of the balls around its points, each reaching that point's k-th nearest neighbour in
the same set (the point itself excluded by index, so exact duplicates count as neighbours at distance zero).
Comparisons of a distance with a radius that float32 cannot decide are decided again in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from ldm_eval.api import Interval
from ldm_eval.errors import DataError

__all__ = ["ManifoldOverlap", "ManifoldShare", "manifold_overlap", "neighbour_radii"]

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Mask = NDArray[np.bool_]
Features = NDArray[np.float32] | NDArray[np.float64]

SHARE_ESTIMATOR = "Clopper-Pearson at the effective sample size, leave-one-out over both sets"
MEAN_ESTIMATOR = "normal, leave-one-out over both sets"

_BLOCK_PAIRS = 1 << 23


@dataclass(frozen=True, slots=True)
class ManifoldShare:
    """One number about the overlap, with its interval at these set sizes."""

    value: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class ManifoldOverlap:
    """How two sets of features overlap; all four depend on the set sizes and on k.

    Attributes:
        precision: Share of the generated set inside the real manifold (higher is better).
        recall: Share of the real set inside the generated manifold (higher is better).
        density: Mean number of real balls around a generated point, over k (higher; may exceed 1).
        coverage: Share of the real balls that hold a generated point (higher is better).
        k: Neighbours behind every radius.
        n_real, n_generated: Rows of the two sets.
    """

    precision: ManifoldShare
    recall: ManifoldShare
    density: ManifoldShare
    coverage: ManifoldShare
    k: int
    n_real: int
    n_generated: int


@dataclass(frozen=True, slots=True, eq=False)
class _Set:
    """A centred set in both precisions, with every ball: squared radius, the next larger one, and who sets it.

    ``wider (N,)`` is the squared distance to neighbour k + 1, ``neighbours (N, k)`` are the rows within the radius.
    """

    exact: Array
    fast: Single
    norms: Array
    radii: Array
    wider: Array
    neighbours: NDArray[np.int64]


@dataclass(slots=True, eq=False)
class _Cover:
    """Counts of one family of balls over the points of the other set.

    Attributes:
        per_point: ``(points,)`` balls around each point.
        per_ball: ``(balls,)`` points in each ball.
        per_wider: ``(balls,)`` points in each ball when it reaches to neighbour k + 1.
        only_ball: ``(balls,)`` points that lie in this ball and in no other.
        only_point: ``(points,)`` balls that hold this point and no other.
    """

    per_point: Array
    per_ball: Array
    per_wider: Array
    only_ball: Array
    only_point: Array


def manifold_overlap(real: Features, generated: Features, *, k: int = 5, level: float = 0.95) -> ManifoldOverlap:
    """Improved precision and recall, density and coverage of ``generated`` against ``real``.

    The intervals add two parts: the points that are judged (binomial, or the variance of a mean) and the points that
    make up the balls, by leaving out one at a time. For density that includes the radii which grow when a neighbour is
    left out; for the shares it is ignored, which errs on the wide side (``benchmarks/manifold_interval.py``). A share
    then gets a Clopper-Pearson interval at the sample size that a binomial share with that variance would have.

    Args:
        real: ``(n_real, d)``, rows i.i.d.
        generated: ``(n_generated, d)``, rows i.i.d.
        k: Neighbours behind each radius: 5 here, 3 in the ADM evaluator.
        level: Of the two-sided intervals.

    Raises:
        DataError: for sets of different width, no more than k rows, or values that are not finite.

    Source: arXiv:1904.06991 (precision, recall); arXiv:2002.09797 (density, coverage).
    """
    _validate(real, generated, k)
    centre = real.mean(axis=0, dtype=np.float64)
    left, right = _prepare(generated, centre, k), _prepare(real, centre, k)
    by_real, by_generated = _covers(left, right)
    n, m = len(generated), len(real)
    counts = by_real.per_point / k
    of_balls = m * float(np.var(_loss_of_ball(by_real, right.neighbours), ddof=1)) / (k * n) ** 2
    density_variance = float(np.var(counts, ddof=1)) / n + of_balls
    return ManifoldOverlap(
        precision=_share(by_real.per_point > 0, by_real.only_ball, level),
        recall=_share(by_generated.per_point > 0, by_generated.only_ball, level),
        density=_mean(float(counts.mean()), density_variance, level),
        coverage=_share(by_real.per_ball > 0, by_real.only_point, level),
        k=k,
        n_real=m,
        n_generated=n,
    )


def neighbour_radii(features: Features, k: int) -> Array:
    """``(N,)`` distance of each row to its k-th nearest other row, recomputed exactly in float64.

    Raises:
        DataError: when there are no more than k rows, or values that are not finite.
    """
    _validate(features, features, k)
    return np.sqrt(_prepare(features, features.mean(axis=0, dtype=np.float64), k).radii)


def _prepare(features: Features, centre: Array, k: int) -> _Set:
    exact = features.astype(np.float64) - centre
    fast = exact.astype(np.float32)
    norms = np.asarray(np.einsum("ij,ij->i", exact, exact), dtype=np.float64)
    total = len(exact)
    radii, wider, neighbours = np.empty(total), np.empty(total), np.empty((total, k), dtype=np.int64)
    step = max(1, _BLOCK_PAIRS // total)
    keep = min(total - 1, 4 * k + 16)
    for start in range(0, total, step):
        rows = np.arange(start, min(total, start + step))
        distances = (-2.0 * fast[rows]) @ fast.T
        distances += norms.astype(np.float32)
        distances[rows - start, rows] = np.inf
        candidates = np.argpartition(distances, keep - 1, axis=1)[:, :keep]
        for row, near in zip(rows, candidates, strict=True):
            gaps = exact[near] - exact[row]
            squares = np.einsum("ij,ij->i", gaps, gaps)
            order = np.argsort(squares, kind="stable")
            neighbours[row] = near[order[:k]]
            radii[row] = squares[order[k - 1]]
            wider[row] = squares[order[min(k, keep - 1)]]
    return _Set(exact, fast, norms, radii, wider, neighbours)


def _loss_of_ball(cover: _Cover, neighbours: NDArray[np.int64]) -> Array:
    """``(balls,)`` pairs (point, ball) lost without each ball, less those won by the balls it was a neighbour of."""
    gain = np.repeat(cover.per_wider - cover.per_ball, neighbours.shape[1])
    return cover.per_ball - np.bincount(neighbours.ravel(), weights=gain, minlength=len(neighbours))


def _covers(points: _Set, balls: _Set) -> tuple[_Cover, _Cover]:
    """Cover of ``points`` by ``balls`` and of ``balls`` by the balls around ``points``, in one pass over the pairs."""
    n, m = len(points.exact), len(balls.exact)
    forward = _Cover(np.zeros(n), np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(n))
    backward = _Cover(np.zeros(m), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(m))
    sole_point, sole_ball = np.zeros(m), np.zeros(m)
    step = max(1, _BLOCK_PAIRS // m)
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        squared = np.asarray((-2.0 * points.fast[rows]) @ balls.fast.T, dtype=np.float32)
        squared += points.norms[rows, None].astype(np.float32)
        squared += balls.norms.astype(np.float32)
        in_ball = _inside(squared, balls.radii[None, :], points, balls, rows)
        in_point = _inside(squared, points.radii[rows, None], points, balls, rows)
        ids = np.arange(rows.start, rows.stop, dtype=np.float64)
        forward.per_point[rows] = in_ball.sum(axis=1)
        forward.per_ball += in_ball.sum(axis=0)
        forward.per_wider += _inside(squared, balls.wider[None, :], points, balls, rows).sum(axis=0)
        forward.only_ball += in_ball[forward.per_point[rows] == 1].sum(axis=0)
        sole_point += ids @ in_ball
        backward.per_ball[rows] = in_point.sum(axis=1)
        backward.per_point += in_point.sum(axis=0)
        sole_ball += ids @ in_point
    # where exactly one id was added, the sum of the ids is that id
    once = sole_point[forward.per_ball == 1].astype(np.int64)
    forward.only_point += np.bincount(once, minlength=n)
    alone = sole_ball[backward.per_point == 1].astype(np.int64)
    backward.only_ball += np.bincount(alone, minlength=n)
    return forward, backward


def _inside(squared: Single, radii: Array, points: _Set, balls: _Set, rows: slice) -> Mask:
    """``squared <= radii``, with pairs that float32 cannot decide taken again in float64."""
    # rounding of a float32 product of d terms is about sqrt(d) eps |x||y|; sixteen times that is never met
    reach = 16.0 * math.sqrt(points.exact.shape[1]) * float(np.finfo(np.float32).eps)
    bound = reach * math.sqrt(float(points.norms[rows].max(initial=0.0) * balls.norms.max())) + 1e-30
    inside: Mask = squared <= (radii + bound).astype(np.float32)
    doubtful = inside & (squared >= (radii - bound).astype(np.float32))
    row, column = np.nonzero(doubtful)
    limits = np.broadcast_to(radii, squared.shape)
    for start in range(0, len(row), 4096):
        i, j = row[start : start + 4096], column[start : start + 4096]
        gaps = points.exact[rows][i] - balls.exact[j]
        inside[i, j] = np.einsum("ij,ij->i", gaps, gaps) <= limits[i, j]
    return inside


def _share(hits: Mask, lost: Array, level: float) -> ManifoldShare:
    """Share of ``hits``; ``lost``: hits that would be gone without each member of the other set."""
    n, count = len(hits), int(hits.sum())
    value = count / n
    binomial = value * (1.0 - value) / n
    other = float(np.sum(np.square(lost - lost.mean()))) / n**2
    effective = n * binomial / (binomial + other) if binomial > 0 else float(n)
    tail = (1.0 - level) / 2.0
    successes, failures = effective * value, effective * (1.0 - value)
    low = 0.0 if count == 0 else float(betaincinv(successes, failures + 1.0, tail))
    high = 1.0 if count == n else float(betaincinv(successes + 1.0, failures, 1.0 - tail))
    error = math.sqrt(binomial + other)
    return ManifoldShare(value, error, Interval(min(low, value), max(high, value), level, SHARE_ESTIMATOR))


def _mean(value: float, variance: float, level: float) -> ManifoldShare:
    error = math.sqrt(variance)
    reach = float(ndtri(0.5 + level / 2.0)) * error
    return ManifoldShare(value, error, Interval(max(0.0, value - reach), value + reach, level, MEAN_ESTIMATOR))


def _validate(real: Features, generated: Features, k: int) -> None:
    if k < 1:
        raise DataError(f"A manifold of k={k} neighbours was asked for; k must be at least 1.")
    for name, values in (("real", real), ("generated", generated)):
        if values.ndim != 2 or values.shape[0] <= k or values.shape[1] < 1:
            raise DataError(
                f"A manifold of k={k} neighbours was asked of a {name} set of shape {values.shape}; "
                f"it needs (N >= {k + 1}, D >= 1)."
            )
        if not np.isfinite(values).all():
            raise DataError(f"The {name} feature set holds values that are not finite; check the images and extractor.")
    if real.shape[1] != generated.shape[1]:
        raise DataError(
            f"Features of {real.shape[1]} and {generated.shape[1]} dimensions cannot be compared; use one extractor."
        )
