"""How likely is a rule to be decided? The chance that an interval clears a limit, by truth and n, before sampling.

A rule compares the bounds of an interval with a limit: it passes when the whole interval lies on the allowed side,
fails when it lies on the other, and is inconclusive otherwise. A *design* knows how one kind of measurement varies and
how its interval is made; ``chances`` gives the probabilities of the three answers, ``power`` that of the right one, and
``smallest_n`` turns this round. Nothing is simulated. Where the formula is exact (shares with Clopper-Pearson) the
result is; elsewhere it is as good as the normal law that the class names, and ``benchmarks/power_curves.py`` puts it
beside simulations through the real checks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtr, ndtri

from ldm_eval.errors import DataError

__all__ = [
    "LARGEST_N",
    "Allowed",
    "Chances",
    "Design",
    "DifferenceDesign",
    "MeanDesign",
    "ProportionDesign",
    "power",
    "smallest_n",
    "whole_parts",
]

Float = NDArray[np.float64]
Count = NDArray[np.int64]

LARGEST_N = 10**7
"""No n above this is ever called enough."""

_CELLS = 200


@final
@dataclass(frozen=True, slots=True)
class Allowed:
    """The truths that a rule allows, ``lowest <= truth <= highest``; infinite: no limit on that side."""

    lowest: float = -inf
    highest: float = inf

    def holds(self, truth: float) -> bool:
        """True when ``truth`` satisfies the rule."""
        return self.lowest <= truth <= self.highest

    def on_edge(self, truth: float) -> bool:
        """True when ``truth`` is a limit itself, so that no n decides."""
        return truth in (self.lowest, self.highest)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chances:
    """Probabilities of the answers, ``(N,)`` each in the order of the n that were asked for."""

    passes: Float
    fails: Float

    @property
    def inconclusive(self) -> Float:
        """What is left."""
        return np.asarray(np.clip(1 - self.passes - self.fails, 0, 1), dtype=np.float64)


class Design(ABC):
    """How one kind of measurement varies with n, and how its interval is made."""

    resolution: int = 400
    """Most n that ``smallest_n`` evaluates at once; a design whose chances leap from n to n needs all of them."""

    @abstractmethod
    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """Chances of pass and fail for a true value at each n of ``(N,)``."""


def power(design: Design, truth: float, n: ArrayLike, allowed: Allowed) -> Float:
    """``(N,)`` chance of the right answer: pass where the truth is allowed, fail where it is not."""
    found = design.chances(truth, n, allowed)
    return found.passes if allowed.holds(truth) else found.fails


def smallest_n(design: Design, truth: float, allowed: Allowed, target: float = 0.9, least: int = 2) -> int | None:
    """The smallest n from which on the power stays at ``target`` or above; None when no n up to 10^7 does.

    Exact intervals for counts make the power a saw-tooth: one image more can make the answer *less* likely, because
    the count that is still allowed has not grown yet. So the first n that reaches the target is not enough of an
    answer; this is the one after the last that does not. Exact for the designs that leap up to n of about 100,000,
    beyond that within one part in 1,000.

    Args:
        design: How the measurement varies.
        truth: Assumed true value.
        allowed: What the rule allows.
        target: Wanted chance of the right answer, 0 < target < 1.
        least: Smallest n to consider.

    Raises:
        DataError: for a target that is no probability.
    """
    if not 0 < target < 1:
        raise DataError(f"Power is a probability between 0 and 1; found {target}.")
    if allowed.on_edge(truth):
        return None
    grid = np.unique(np.geomspace(least, LARGEST_N, 180).astype(np.int64))
    enough = power(design, truth, grid, allowed) >= target
    if not enough[-1]:
        return None
    bad = np.flatnonzero(~enough)
    start = int(grid[bad[-1]]) if len(bad) else least
    return _first_good(design, truth, allowed, target, start, min(int(1.6 * start) + 10, LARGEST_N))


def _first_good(design: Design, truth: float, allowed: Allowed, target: float, start: int, stop: int) -> int:
    """The n after the last one in ``[start, stop]`` that is not enough; finer and finer where not all were tried."""
    while True:
        step = max(1, (stop - start) // design.resolution)
        tried = np.arange(start, stop + 1, step, dtype=np.int64)
        bad = np.flatnonzero(power(design, truth, tried, allowed) < target)
        if not len(bad):
            return start
        last = int(tried[bad[-1]])
        if step == 1:
            return last + 1
        start, stop = last, last + step


@final
@dataclass(frozen=True, slots=True)
class ProportionDesign(Design):
    """A share of n independent trials with the Clopper-Pearson interval; exact binomial sums.

    Attributes:
        level: Two-sided level of the interval.
        trials: Trials per image: n images make ``floor(trials * n)`` of them.
    """

    level: float = 0.95
    trials: float = 1.0
    resolution: int = field(default=100_000, init=False)

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """Exact. ``truth`` is clipped to [0, 1]."""
        counted = whole_parts(n, self.trials)
        share, tail = min(max(truth, 0.0), 1.0), (1 - self.level) / 2
        most = _most_below(counted, allowed.highest, tail)
        fewest = counted - _most_below(counted, 1 - allowed.lowest, tail)
        passes = _below(most, counted, share) - _below(fewest - 1, counted, share)
        above = 1 - _below(counted - _most_below(counted, 1 - allowed.highest, tail, strict=True) - 1, counted, share)
        below = _below(_most_below(counted, allowed.lowest, tail, strict=True), counted, share)
        return Chances(np.clip(passes, 0, 1), np.clip(above + below, 0, 1))


@final
@dataclass(frozen=True, slots=True)
class DifferenceDesign(Design):
    """A share among n samples minus the share in a control, with Newcombe's interval; binomial sums over both counts.

    Sums over the control's count are exact while it varies over fewer than 200 values, and by cells of it beyond.

    Attributes:
        control: True share in the control.
        controls: Control images per sample.
        level: Two-sided level.
        fixed: Control images, whatever the number of samples; None: ``controls`` per sample.
    """

    control: float
    controls: float
    level: float = 0.95
    fixed: int | None = None

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """``truth`` is the difference; the share among the samples is clipped to [0, 1]."""
        samples, controls = whole_parts(n, 1.0), whole_parts(n, self.controls)
        if self.fixed is not None:
            controls = np.full_like(samples, self.fixed)
        share = min(max(self.control + truth, 0.0), 1.0)
        found = [self._at(share, *pair, allowed) for pair in zip(samples.tolist(), controls.tolist(), strict=True)]
        both = np.array(found, dtype=np.float64).reshape(-1, 2)
        return Chances(both[:, 0], both[:, 1])

    def _at(self, share: float, n: int, m: int, allowed: Allowed) -> tuple[float, float]:
        spread = 8 * np.sqrt(m * self.control * (1 - self.control)) + 12
        first, last = max(0, int(m * self.control - spread)), min(m, int(m * self.control + spread))
        edges = np.unique(np.linspace(first - 1, last, min(_CELLS, last - first + 1) + 1).astype(np.int64))
        counts = (edges[:-1] + 1 + edges[1:]) // 2
        weights = np.diff(_below(edges, np.full(len(edges), m), self.control))
        held = (lambda k: self._bounds(k, n, counts, m), n, len(counts))
        highest, lowest = allowed.highest, allowed.lowest
        passes = _below(_most(*held, 1, highest), n, share) - _below(_most(*held, 0, lowest), n, share)
        fails = 1 - _below(_most(*held, 0, highest), n, share) + _below(_most(*held, 1, lowest), n, share)
        return float(weights @ np.clip(passes, 0, 1)), float(weights @ np.clip(fails, 0, 1))

    def _bounds(self, k: Count, n: int, c: Count, m: int) -> tuple[Float, Float]:
        """Newcombe's bounds, as ``stats.proportions.newcombe``."""
        one, two = _wilson(k / n, n, self.level), _wilson(c / m, m, self.level)
        difference = k / n - c / m
        down, up = np.hypot(k / n - one[0], two[1] - c / m), np.hypot(one[1] - k / n, c / m - two[0])
        return np.maximum(difference - down, -1.0), np.minimum(difference + up, 1.0)


@final
@dataclass(frozen=True, slots=True)
class MeanDesign(Design):
    """Whatever is normal about its expectation, by a pilot's standard error scaled with 1/sqrt(n).

    Every set behind the number must grow as n does. An estimate whose expectation itself moves with n (a Fréchet
    distance without its floor subtracted) is planned wrongly by this; so is one whose error at the truth is not the
    pilot's.

    Attributes:
        error: Standard error of the pilot, above 0.
        pilot_n: Its n.
        level: Two-sided level of the normal interval.
        curved: True for squared distances, whose error near zero falls as 1/n: how much of the pilot's does is not
            known, so fewer images than the pilot's are planned with 1/n and more with 1/sqrt(n): never too few.
    """

    error: float
    pilot_n: int
    level: float = 0.95
    curved: bool = False

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """Closed form."""
        ratio = self.pilot_n / whole_parts(n, 1.0)
        error = self.error * np.where((ratio > 1) & self.curved, ratio, np.sqrt(ratio))
        z = float(ndtri(0.5 + self.level / 2))
        passes = ndtr((allowed.highest - truth) / error - z) - ndtr((allowed.lowest - truth) / error + z)
        fails = ndtr((truth - allowed.highest) / error - z) + ndtr((allowed.lowest - truth) / error - z)
        return Chances(np.clip(passes, 0, 1), np.clip(fails, 0, 1))


def whole_parts(n: ArrayLike, per_image: float) -> Count:
    """``(N,)`` whole numbers: the trials that each n makes, at least 1."""
    images = np.atleast_1d(np.asarray(n, dtype=np.float64))
    return np.maximum(np.floor(images * per_image + 1e-9), 1).astype(np.int64)


def _below(k: ArrayLike, n: ArrayLike, share: float) -> Float:
    """P(Bin(n, share) <= k); 0 for a negative k."""
    counts = np.asarray(k, dtype=np.int64)
    found = bdtr(np.minimum(np.maximum(counts, 0), n).astype(np.float64), np.asarray(n, dtype=np.int64), share)
    return np.where(counts < 0, 0.0, found)


def _most_below(n: Count, share: float, tail: float, *, strict: bool = False) -> Count:
    """The largest k whose upper Clopper-Pearson bound is ``share`` at most: P(Bin(n, share) <= k) <= tail; or -1.

    ``strict``: below ``share`` rather than at most; that matters where the bound is cut off at 1.
    """
    if share >= 1:
        return n - 1 if strict and share == 1 else n
    low, high = np.full_like(n, -1), n.copy()
    if share <= 0:
        return low
    while np.any(low + 1 < high):
        middle = (low + high) // 2
        fits = _below(middle, n, share) <= tail
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low


def _most(bounds: Callable[[Count], tuple[Float, Float]], n: int, width: int, side: int, limit: float) -> Count:
    """The largest k whose bound (0 lower, 1 upper) is ``limit`` at most, for each of ``width`` controls; or -1."""
    low, high = np.full(width, -1, dtype=np.int64), np.full(width, n + 1, dtype=np.int64)
    if not isfinite(limit):
        return low if limit < 0 else high - 1
    while np.any(low + 1 < high):
        middle = (low + high) // 2
        fits = bounds(np.maximum(middle, 0))[side] <= limit
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low


def _wilson(p: Float, n: int, level: float) -> tuple[Float, Float]:
    z = float(ndtri(0.5 + level / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.where(p <= 0, 0.0, np.maximum(centre - half, 0)), np.where(p >= 1, 1.0, np.minimum(centre + half, 1))
