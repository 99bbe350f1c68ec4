"""How many different things were seen in n draws, how many fewer draws would have shown, and how many there may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, gammaincinv, gammaln

from ldm_eval.api import Interval
from ldm_eval.errors import DataError

__all__ = ["Accumulation", "Richness", "accumulation", "least_richness"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Accumulation:
    """The curve of different kinds against draws.

    Attributes:
        draws: ``(P,)`` int64.
        expected: ``(P,)`` kinds that so many of the draws show on average.
        low, high: ``(P,)`` bounds, point by point, of what so many new draws show on average.
    """

    draws: NDArray[np.int64]
    expected: Float
    low: Float
    high: Float


@dataclass(frozen=True, slots=True)
class Richness:
    """A lower bound on how many kinds there are: ``value``, and what it exceeds with the stated confidence."""

    value: float
    seen: int
    once: int
    twice: int
    interval: Interval


def accumulation(counts: ArrayLike, n: int, of: int, draws: ArrayLike, level: float = 0.95) -> Accumulation:
    """Expected number of different kinds among m of the n draws, for each m, without drawing anything.

    A kind seen f times is missed by m of n draws with probability C(n-f, m)/C(n, m), so the mean over all choices is
    the sum of 1 - that (Hurlbert, Ecology 52:577, 1971; Good and Toulmin 1956): exact and unbiased. At m = n it is the
    number seen.

    The bounds are Clopper-Pearson's for a share of ``of`` kinds, at the expected count. That is conservative: which
    kinds turn up are events that hinder each other, of unequal probability, and their number varies less than a
    binomial one of the same mean (Hoeffding, Ann. Math. Stat. 27:713, 1956); an average over choices varies less.

    Args:
        counts: How often each kind was seen, kinds seen 0 times left out or not.
        n: Draws in all; some may have shown no kind.
        of: How many kinds there are, at least as many as were seen.
        draws: ``(P,)`` values of m, 0 <= m <= n.
        level: Confidence level of the bounds.

    Raises:
        DataError: for counts that cannot be.
    """
    seen = _seen(counts, n)
    m = np.asarray(draws, dtype=np.int64)
    if of < max(1, len(seen)) or ((m < 0) | (m > n)).any():
        raise DataError(f"{len(seen)} kinds of {of} and {m.min()} to {m.max()} of {n} draws cannot be.")
    values, times = np.unique(seen, return_counts=True)
    expected = np.array([float((times * (1 - _missed(values, n, int(one)))).sum()) for one in m])
    tail = (1 - level) / 2
    rest = of - expected
    low = np.where(expected > 0, betaincinv(np.maximum(expected, 1e-12), rest + 1, tail), 0.0)
    high = np.where(rest > 0, betaincinv(expected + 1, np.maximum(rest, 1e-12), 1 - tail), 1.0)
    return Accumulation(m, expected, of * low, of * np.where(m > 0, high, 0.0))


def least_richness(counts: ArrayLike, n: int, of: int, level: float = 0.95) -> Richness:
    """Chao's lower bound on the number of kinds that could turn up at all (Chao1, Scand. J. Statist. 11:265, 1984).

    With f1 kinds seen once and f2 twice in n draws, about (n-1)/n · f1²/(2 f2) kinds or more were not seen;
    f1(f1-1)/(2(f2+1)) where f2 = 0. Nothing is said from above: kinds that turn up once in a million draws leave no
    trace, so the interval is one-sided, with ``of`` as its upper end.

    The usual log-normal bound (Biometrics 43:783, 1987) errs in up to 8 % of the runs instead of 5 %, rounded down as
    here. So the lower end is built from the two counts, each about a Poisson number: E f1/E f2 from
    Clopper-Pearson's bound of the share f1/(f1+f2) and E f1 from Garwood's, each with half of the error, and the sum
    rounded down to a number of kinds. It erred in at most 3.9 % of 1,500 runs for each of 36 laws (20, 100 and 1,000
    kinds, equal and Zipf, 60 to 5,000 draws).

    Args:
        counts: How often each kind was seen.
        n: Draws in all.
        of: How many kinds there are.
        level: Confidence level of the lower end.

    Raises:
        DataError: for counts that cannot be.
    """
    seen = _seen(counts, n)
    if of < max(1, len(seen)):
        raise DataError(f"{len(seen)} kinds were seen of {of}; that cannot be.")
    once, twice, kinds = int((seen == 1).sum()), int((seen == 2).sum()), len(seen)
    factor = (n - 1) / n
    unseen = factor * (once**2 / (2 * twice) if twice else once * (once - 1) / 2)
    value = kinds + min(unseen, float(of - kinds))
    low = math.floor(min(value, kinds + factor * _least_unseen(once, twice, level)))
    interval = Interval(float(low), float(of), level, "Chao1 with exact bounds of f1 and f1/f2", "lower")
    return Richness(value, kinds, once, twice, interval)


def _least_unseen(once: int, twice: int, level: float) -> float:
    """A lower bound of (E f1)²/(2 E f2)."""
    if once == 0:
        return 0.0
    tail = (1 - level) / 2
    share = float(betaincinv(once, twice + 1, tail))
    return share / (1 - share) * float(gammaincinv(once, tail)) / 2


def _missed(values: NDArray[np.int64], n: int, m: int) -> Float:
    """C(n-f, m)/C(n, m) for each f of ``values``."""
    left = n - values - m
    log = gammaln(n - values + 1) - gammaln(np.maximum(left, 0) + 1) - gammaln(n + 1) + gammaln(n - m + 1)
    return np.asarray(np.where(left >= 0, np.exp(np.minimum(log, 0.0)), 0.0))


def _seen(counts: ArrayLike, n: int) -> NDArray[np.int64]:
    given = np.asarray(counts, dtype=np.int64)
    if n < 1 or (given < 0).any() or given.sum() > n:
        raise DataError(f"Counts of kinds are not negative and add up to at most n >= 1; found {given.sum()} of {n}.")
    return given[given > 0]
