"""Precision, recall, density and coverage from k-nearest-neighbour manifolds, exact over all pairs, by chunks.

The manifold of a set is the union of the balls around its points, each reaching that point's k-th nearest neighbour in
the same set (the point itself excluded by index, so exact duplicates count as neighbours at distance zero).
Comparisons of a distance with a radius that float32 cannot decide are decided again in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable
from ldm_eval.stats.intervals import normal_interval, variance_of_mean
from ldm_eval.stats.self_neighbours import Pairs, Rows, nearest_others, pair_squares, pairs_within, prepare, tiles

__all__ = ["ManifoldOverlap", "ManifoldShare", "manifold_overlap", "neighbour_radii"]

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Features = NDArray[np.float32] | NDArray[np.float64]

SHARE_ESTIMATOR = "Clopper-Pearson at the effective sample size, leave-one-out over both sets"
MEAN_ESTIMATOR = "normal, leave-one-out over both sets"


@dataclass(frozen=True, slots=True)
class ManifoldShare:
    """One number about the overlap, with its interval at these set sizes.

    Attributes:
        value: Point estimate.
        standard_error: Of it, both sets random.
        interval: Two-sided.
        influence_real: ``(n_real,)``, what each real row adds to it (mean 0), as the interval counts it.
        influence_generated: ``(n_generated,)``, the same for the generated rows.
    """

    value: float
    standard_error: float
    interval: Interval
    influence_real: Array = field(compare=False, repr=False)
    influence_generated: Array = field(compare=False, repr=False)


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
    """A set with every ball: squared radius, the next larger one, and who sets it.

    ``wider (N,)`` is the squared distance to neighbour k + 1, ``neighbours (N, k)`` are the rows within the radius.
    """

    rows: Rows
    radii: Array
    wider: Array
    neighbours: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Cover:
    """Counts of one family of balls over the points of the other set.

    Attributes:
        per_point: ``(points,)`` balls around each point.
        per_ball: ``(balls,)`` points in each ball.
        per_wider: ``(balls,)`` points in each ball when it reaches to neighbour k + 1.
        only_ball: ``(balls,)`` points that lie in this ball and in no other.
        only_point: ``(points,)`` balls that hold this point and no other.
    """

    per_point: Counts
    per_ball: Counts
    per_wider: Counts
    only_ball: Counts
    only_point: Counts


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
    of_balls = _loss_of_ball(by_real, right.neighbours) * (m / (k * n))
    return ManifoldOverlap(
        precision=_share(by_real.per_point > 0, by_real.only_ball, level, judged="generated"),
        recall=_share(by_generated.per_point > 0, by_generated.only_ball, level, judged="real"),
        density=_mean(float(counts.mean()), counts, of_balls, level),
        coverage=_share(by_real.per_ball > 0, by_real.only_point, level, judged="real"),
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
    rows = prepare(features, centre)
    found = nearest_others(rows, min(k + 1, len(features) - 1))
    return _Set(rows, found.squares[:, k - 1], found.squares[:, -1], found.indices[:, :k])


def _loss_of_ball(cover: _Cover, neighbours: NDArray[np.int64]) -> Array:
    """``(balls,)`` pairs (point, ball) lost without each ball, less those won by the balls it was a neighbour of."""
    gain = np.repeat(cover.per_wider - cover.per_ball, neighbours.shape[1])
    won = np.bincount(neighbours.ravel(), weights=gain, minlength=len(neighbours))
    return np.asarray(cover.per_ball - won, dtype=np.float64)


def _covers(points: _Set, balls: _Set) -> tuple[_Cover, _Cover]:
    """Cover of ``points`` by ``balls`` and of ``balls`` by the balls around ``points``, in one pass over the pairs."""
    n, m = len(points.radii), len(balls.radii)
    forward, backward = _Counter(points, balls), _Counter(balls, points)
    balls_reach, points_reach = forward.reach, backward.reach
    for down in tiles(n):
        for across in tiles(m):
            squared = points.rows.squares_to(balls.rows, down, across)
            forward.add(pairs_within(squared, balls_reach[across], down, across))
            backward.add(pairs_within(squared, points_reach[down, None], down, across).exchanged())
    return forward.cover(), backward.cover()


class _Counter:
    """Counts of one family of balls over the points of the other set, tile by tile."""

    def __init__(self, points: _Set, balls: _Set) -> None:
        self._points, self._balls = points, balls
        self._doubt = balls.rows.error_against(points.rows)
        n, m = len(points.radii), len(balls.radii)
        self._per_point = np.zeros(n, dtype=np.int64)
        self._per_ball, self._per_wider = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
        # where exactly one id was added, the sum of the ids is that id
        self._ids_of_points, self._ids_of_balls = np.zeros(m), np.zeros(n)

    @property
    def reach(self) -> Array:
        """``(balls,)`` float32 squared distance beyond which nothing lies in a ball, nor in the wider one."""
        return self._balls.wider + self._doubt

    def add(self, near: Pairs) -> None:
        """Count pairs (point, ball) within reach; those that float32 leaves open are decided in float64."""
        point, ball, distance = near.i, near.j, near.squared.astype(np.float64)
        radii, wider, doubt = self._balls.radii[ball], self._balls.wider[ball], self._doubt[ball]
        open_ = np.flatnonzero((np.abs(distance - radii) <= doubt) | (np.abs(distance - wider) <= doubt))
        distance[open_] = pair_squares(self._points.rows.given, point[open_], self._balls.rows.given, ball[open_])
        self._per_wider += np.bincount(ball[distance <= wider], minlength=len(self._per_wider))
        inside = distance <= radii
        point, ball = point[inside], ball[inside]
        self._per_point += np.bincount(point, minlength=len(self._per_point))
        self._per_ball += np.bincount(ball, minlength=len(self._per_ball))
        self._ids_of_points += np.bincount(ball, weights=point, minlength=len(self._per_ball))
        self._ids_of_balls += np.bincount(point, weights=ball, minlength=len(self._per_point))

    def cover(self) -> _Cover:
        """Sum up."""
        alone_in_ball = self._ids_of_points[self._per_ball == 1].astype(np.int64)
        alone_on_point = self._ids_of_balls[self._per_point == 1].astype(np.int64)
        return _Cover(
            per_point=self._per_point,
            per_ball=self._per_ball,
            per_wider=self._per_wider,
            only_ball=np.bincount(alone_on_point, minlength=len(self._per_ball)),
            only_point=np.bincount(alone_in_ball, minlength=len(self._per_point)),
        )


def _share(hits: Mask, lost: Counts, level: float, judged: Literal["real", "generated"]) -> ManifoldShare:
    """Share of ``hits`` among the ``judged`` set; ``lost``: hits gone without each member of the other set."""
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
    own: Array = hits.astype(np.float64) - value
    theirs: Array = (lost.astype(np.float64) - float(lost.mean())) * (len(lost) / n)
    real, generated = (own, theirs) if judged == "real" else (theirs, own)
    interval = Interval(min(low, value), max(high, value), level, SHARE_ESTIMATOR)
    return ManifoldShare(value, error, interval, real, generated)


def _mean(value: float, counts: Array, of_balls: Array, level: float) -> ManifoldShare:
    """Mean of ``counts`` over generated rows; ``of_balls``: what each real row adds to it."""
    error = math.sqrt(variance_of_mean(counts) + variance_of_mean(of_balls))
    interval = normal_interval(value, error, level, MEAN_ESTIMATOR, smallest=0.0)
    of_real: Array = of_balls - float(of_balls.mean())
    of_generated: Array = counts - value
    return ManifoldShare(value, error, interval, of_real, of_generated)


def _validate(real: Features, generated: Features, k: int) -> None:
    if k < 1:
        raise DataError(f"A manifold of k={k} neighbours was asked for; k must be at least 1.")
    refuse_unusable(real, generated, ("real", "generated"), f"A manifold of k={k} neighbours", k + 1)
