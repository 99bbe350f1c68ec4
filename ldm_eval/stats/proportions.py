"""Intervals for shares, and for the difference of two shares. All take counts, never rates."""

from __future__ import annotations

import math

from scipy.special import betaincinv, ndtri

from ldm_eval.api import Interval, Sided
from ldm_eval.errors import DataError

__all__ = ["clopper_pearson", "detectable_excess", "detectable_share", "newcombe", "wilson"]


def clopper_pearson(k: int, n: int, level: float = 0.95, sided: Sided = "two") -> Interval:
    """The exact interval for a binomial share: coverage is at least ``level`` for every true share and every n.

    Known values: 0 of 10,000 gives an upper bound of 3.0e-4 one-sided (the "rule of three") and 3.7e-4 two-sided.

    Args:
        k: Successes, 0 <= k <= n.
        n: Trials, n >= 1.
        level: Confidence level.
        sided: ``"two"`` spends half of 1-level on each side; ``"upper"`` and ``"lower"`` spend all on one bound and
            put the other at 0 or 1.

    Raises:
        DataError: for counts that cannot be.
    """
    _refuse(k, n)
    tail = (1 - level) / (2 if sided == "two" else 1)
    low = 0.0 if k == 0 or sided == "upper" else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n or sided == "lower" else float(betaincinv(k + 1, n - k, 1 - tail))
    return Interval(low, high, level, "Clopper-Pearson", sided)


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """The score interval for a binomial share (two-sided): near-nominal on average, not guaranteed at every share.

    Raises:
        DataError: for counts that cannot be.
    """
    _refuse(k, n)
    low, high = _score_bounds(k / n, n, level)
    return Interval(0.0 if k == 0 else low, 1.0 if k == n else high, level, "Wilson")


def newcombe(k1: int, n1: int, k2: int, n2: int, level: float = 0.95) -> Interval:
    """Interval for the difference k1/n1 - k2/n2 of two independent shares (two-sided).

    Newcombe's hybrid score interval (Statistics in Medicine 17:873, 1998, method 10) built from Wilson bounds. Never
    leaves [-1, 1] and does not collapse when both counts are zero.

    Raises:
        DataError: for counts that cannot be.
    """
    one, two = wilson(k1, n1, level), wilson(k2, n2, level)
    p1, p2 = k1 / n1, k2 / n2
    difference = p1 - p2
    down = math.hypot(p1 - one.low, two.high - p2)
    up = math.hypot(one.high - p1, p2 - two.low)
    return Interval(max(-1.0, difference - down), min(1.0, difference + up), level, "Newcombe hybrid score")


def detectable_share(n: int, power: float = 0.95) -> float:
    """Smallest true share that shows at least one success in ``n`` trials with probability ``power``.

    Raises:
        DataError: for n < 1.
    """
    _refuse(0, n)
    return -math.expm1(math.log1p(-power) / n)


def detectable_excess(n: int, false: int, controls: int, power: float = 0.95, level: float = 0.95) -> float | None:
    """Smallest excess over a control's share that lifts Newcombe's lower bound above 0 with this probability.

    Given ``false`` of ``controls`` in the control and n images. None: no excess at all could.

    Raises:
        DataError: for counts that cannot be.
    """
    _refuse(0, n)
    low, high = 0, n + 1
    while low + 1 < high:  # the fewest that raise it; the bound grows with the count
        middle = (low + high) // 2
        low, high = (low, middle) if newcombe(middle, n, false, controls, level).low > 0 else (middle, high)
    if high > n:
        return None
    return float(betaincinv(high, n - high + 1, power)) - false / controls


def _score_bounds(p: float, n: float, level: float) -> tuple[float, float]:
    z = float(ndtri(0.5 + level / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _refuse(k: int, n: int) -> None:
    if n < 1 or not 0 <= k <= n:
        raise DataError(f"A share needs 0 <= k <= n and n >= 1; found k = {k}, n = {n}.")
