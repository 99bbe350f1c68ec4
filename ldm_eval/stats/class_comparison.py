"""One class of samples and as many real images of it, each against the same other real images of that class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.frechet import FrechetDifference, FrechetDistance, difference, frechet_distance
from ldm_eval.stats.intervals import normal_quantile
from ldm_eval.stats.manifolds import ManifoldShare, manifold_overlap

__all__ = ["ClassComparison", "WorstOf", "compare_class", "worst_of"]

Features = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassComparison:
    """How samples of one class compare with real images of it, at equal sizes.

    All intervals hold together for every class that is compared, at the level asked for.

    Attributes:
        matched: Fréchet distance of the samples to the other real images.
        real: Fréchet distance of as many real images to the same others: the floor.
        excess: The first less the second; zero in expectation for a perfect model at every n (lower is better).
        coverage: Share of the balls around the other real images that hold a sample (higher is better).
        real_coverage: The same for as many real images: what can be reached.
        shortfall: ``real_coverage - coverage`` (lower is better).
        shortfall_interval: Its interval (square-and-add of both).
    """

    matched: FrechetDistance
    real: FrechetDistance
    excess: FrechetDifference
    coverage: ManifoldShare
    real_coverage: ManifoldShare
    shortfall: float
    shortfall_interval: Interval


@dataclass(frozen=True, slots=True)
class WorstOf:
    """The largest of several estimates, with an interval for the largest of what they estimate."""

    index: int
    value: float
    interval: Interval


def compare_class(
    samples: Features, real: Features, others: Features, *, k: int, classes: int, level: float = 0.95
) -> ClassComparison:
    """Compare ``samples (n, d)`` and ``real (n, d)`` of one class, each against the same ``others (m, d)``.

    For a model that draws from the class's law, samples and real images are exchangeable: the excess and the shortfall
    are zero in expectation, however small n is. Distances have Student's quantiles with n - 1 degrees of freedom: many
    classes ask for quantiles far out, where those of the normal law are too small for a few dozen images. The two
    coverages share the balls, which the interval of their difference does not use: it is a little too wide.

    Args:
        samples: Rows i.i.d.
        real: As many rows, i.i.d.
        others: Rows i.i.d., none of them in ``real``.
        k: Neighbours behind each radius.
        classes: Classes compared in all; each interval has the level ``1 - (1 - level) / classes`` of its own.
        level: At which all intervals hold together (Bonferroni).

    Raises:
        DataError: for unequal n, no more than k rows, or features that cannot be used.
    """
    if len(samples) != len(real):
        raise DataError(
            f"{len(samples)} samples and {len(real)} real images of one class were given; give equally many."
        )
    n, own = len(samples), 1.0 - (1.0 - level) / classes
    matched, floor = frechet_distance(samples, others, level=own), frechet_distance(real, others, level=own)
    excess = difference(matched, floor, shared="y", level=own)
    reached = manifold_overlap(others, samples, k=k, level=own).coverage
    reachable = manifold_overlap(others, real, k=k, level=own).coverage
    shortfall = reachable.value - reached.value
    above, below = reachable.interval, reached.interval
    low = shortfall - math.hypot(reachable.value - above.low, below.high - reached.value)
    high = shortfall + math.hypot(above.high - reachable.value, reached.value - below.low)
    together = Interval(max(-1.0, low), min(1.0, high), own, "square-and-add of the intervals of both coverages")
    return ClassComparison(
        matched=replace(
            matched, interval=_all_classes(_student(matched.interval, matched.value, n, 0), level, classes)
        ),
        real=replace(floor, interval=_all_classes(_student(floor.interval, floor.value, n, 0), level, classes)),
        excess=replace(excess, interval=_all_classes(_student(excess.interval, excess.value, n), level, classes)),
        coverage=replace(reached, interval=_all_classes(reached.interval, level, classes)),
        real_coverage=replace(reachable, interval=_all_classes(reachable.interval, level, classes)),
        shortfall=shortfall,
        shortfall_interval=_all_classes(together, level, classes),
    )


def worst_of(values: Sequence[float], intervals: Sequence[Interval]) -> WorstOf:
    """The largest value, with the interval from the largest low to the largest high bound.

    When the intervals hold together at their level, this one holds the largest of the true values at that level. The
    largest of several noisy values is itself too large on average, by more the more there are; the interval is not.

    Raises:
        DataError: when there is nothing to choose from.
    """
    if not values or len(values) != len(intervals):
        raise DataError(f"The worst of {len(values)} values with {len(intervals)} intervals was asked for.")
    index = int(np.argmax(values))
    first = intervals[index]
    low, high = max(one.low for one in intervals), max(one.high for one in intervals)
    estimator = f"largest bounds of intervals that hold together: {first.estimator}"
    return WorstOf(index, float(values[index]), Interval(low, high, first.level, estimator))


def _student(interval: Interval, value: float, n: int, smallest: float = -math.inf) -> Interval:
    """The interval with Student's quantile in the place of the normal one, but never below ``smallest``."""
    tail = 0.5 + interval.level / 2.0
    factor = float(stdtrit(n - 1.0, tail)) / normal_quantile(interval.level)
    low, high = value - factor * (value - interval.low), value + factor * (interval.high - value)
    return replace(interval, low=max(smallest, low), high=high)


def _all_classes(interval: Interval, level: float, classes: int) -> Interval:
    if classes == 1:
        return interval
    return replace(
        interval, level=level, estimator=f"{interval.estimator}; all {classes} classes together (Bonferroni)"
    )
