"""The widest gap between groups: how much worse the worst of them is than the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import final

from ldm_eval.api import Interval
from ldm_eval.errors import DataError

__all__ = ["WidestGap", "level_of_each", "widest_gap"]


@final
@dataclass(frozen=True, slots=True)
class WidestGap:
    """Largest less smallest of several values, never below zero (lower: the groups are more alike).

    Attributes:
        highest: Index of the largest value.
        lowest: Index of the smallest.
        value: Their difference; the largest of several noisy differences, and so biased upward.
        interval: For the largest difference of what the values estimate; it is not biased by the choice.
    """

    highest: int
    lowest: int
    value: float
    interval: Interval


def level_of_each(groups: int, level: float = 0.95) -> float:
    """Level that the interval of each group must have for ``widest_gap`` to hold at ``level`` (Bonferroni over pairs).

    Raises:
        DataError: for fewer than two groups.
    """
    if groups < 2:
        raise DataError(f"A gap between groups needs two of them at least; found {groups}.")
    return 1.0 - (1.0 - level) / (groups * (groups - 1) // 2)


def widest_gap(values: Sequence[float], intervals: Sequence[Interval], level: float = 0.95) -> WidestGap:
    """Bound the largest difference between any two of several independent estimates.

    Each ordered pair has a difference with an interval by square-and-add (the method of variance estimates recovery:
    the distance of each bound from its own estimate is what the other's is added to in squares). With ``K(K-1)/2``
    pairs at ``level_of_each`` all of them hold together, and then the largest true difference lies between the
    largest lower and the largest upper bound. Two groups need no correction.

    Args:
        values: K estimates, independent of each other.
        intervals: Their intervals, two-sided, at ``level_of_each(K, level)``.
        level: Of the result.

    Raises:
        DataError: for fewer than two groups, unequal numbers, or intervals of another level.

    Source: Zou and Donner, Statistics in Medicine 27:1693 (2008).
    """
    own = level_of_each(len(values), level)
    if len(values) != len(intervals) or any(abs(one.level - own) > 1e-9 for one in intervals):
        raise DataError(
            f"{len(values)} values need as many intervals of level {own:.6g} each to hold together at {level:g}; found "
            f"{len(intervals)} of {sorted({one.level for one in intervals})}."
        )
    low, high = 0.0, 0.0
    for i, j in permutations(range(len(values)), 2):
        gap, one, other = values[i] - values[j], intervals[i], intervals[j]
        low = max(low, gap - math.hypot(values[i] - one.low, other.high - values[j]))
        high = max(high, gap + math.hypot(one.high - values[i], values[j] - other.low))
    highest = max(range(len(values)), key=values.__getitem__)
    lowest = min(range(len(values)), key=values.__getitem__)
    estimator = f"square-and-add over all pairs, which hold together (Bonferroni): {intervals[0].estimator}"
    return WidestGap(highest, lowest, values[highest] - values[lowest], Interval(low, high, level, estimator))
