"""Is a share near enough to its target? Equivalence tests, descriptions of a distribution, and the n that is needed.

A significance test cannot show fairness: few images never reject. Equivalence turns it round: the claim is that the
gap is smaller than a margin, and too few images leave it open (Schuirmann 1987; the interval form of two one-sided
tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

from ldm_eval.errors import DataError
from ldm_eval.stats.shares import BinaryErrors

__all__ = [
    "ChiSquare",
    "GapBounds",
    "chi_square",
    "equivalence",
    "gap_bounds",
    "tost_margin",
    "tost_sample_size",
    "total_variation",
    "worst_gap",
]

Decision = Literal["equivalent", "different", "inconclusive"]


@final
@dataclass(frozen=True, slots=True)
class GapBounds:
    """Bounds of a distance ``|share - target|``, both >= 0."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True, slots=True)
class ChiSquare:
    """Pearson's statistic, its degrees of freedom, and the p-value of the asymptotic distribution."""

    statistic: float
    degrees: int
    p_value: float


def equivalence(low: float, high: float, target: float, margin: float) -> Decision:
    """Two one-sided tests at alpha through the 1 - 2 alpha interval ``[low, high]`` of a share.

    ``"equivalent"`` when the whole interval lies within ``target ± margin``; ``"different"`` when it lies outside
    entirely; else ``"inconclusive"``.

    Raises:
        DataError: for a margin that is not above zero.
    """
    if not margin > 0:
        raise DataError(f"An equivalence margin must be above zero; found {margin}.")
    if target - margin < low and high < target + margin:
        return "equivalent"
    if high < target - margin or low > target + margin:
        return "different"
    return "inconclusive"


def gap_bounds(value: float, low: float, high: float, target: float) -> GapBounds:
    """Turn an interval of a share into bounds of its distance from ``target``."""
    return GapBounds(
        value=abs(value - target),
        low=max(low - target, target - high, 0.0),
        high=max(abs(low - target), abs(high - target)),
    )


def worst_gap(upper: Sequence[GapBounds], lower: Sequence[GapBounds]) -> GapBounds:
    """Bounds of the largest of several gaps from bounds of each.

    The upper bound needs no correction for their number: the largest of the upper bounds exceeds the bound of
    whichever gap is truly the largest (intersection-union). The lower bound does: it is false as soon as one of the
    K is. So ``upper`` holds intervals at level 1 - 2a and ``lower`` at level 1 - a/K, and each bound errs with
    probability a at most. The point, a maximum, is biased upward: by noise some class is always off.

    Args:
        upper: Bounds of each gap at the uncorrected level.
        lower: Bounds of each gap at the corrected level, in the same order.
    """
    low = max(gap.low for gap in lower)
    high = max(gap.high for gap in upper)
    return GapBounds(value=min(max(max(gap.value for gap in upper), low), high), low=low, high=high)


def total_variation(shares: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Half the summed absolute differences of two distributions ``(K,)``: 0 equal, 1 disjoint. A description."""
    return float(0.5 * np.abs(np.asarray(shares) - np.asarray(targets)).sum())


def chi_square(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> ChiSquare:
    """Pearson's chi-square of counts against expected shares: it can show a difference, never the absence of one.

    Args:
        counts: ``(K,)`` observed counts; the asymptotic p is poor when an expected count is below about 5.
        expected: ``(K,)`` expected shares, summing to one; taken as exact.

    Raises:
        DataError: when a class is observed that is not expected at all.
    """
    total = float(counts.sum())
    if np.any((expected <= 0) & (counts > 0)):
        raise DataError("Chi-square: a class is observed whose expected share is zero.")
    cells = expected > 0
    means = total * expected[cells]
    statistic = float(np.sum((counts[cells] - means) ** 2 / means))
    degrees = max(int(cells.sum()) - 1, 1)
    return ChiSquare(statistic, degrees, float(chdtrc(degrees, statistic)))


def tost_sample_size(
    target: float,
    margin: float,
    errors: BinaryErrors,
    *,
    errors_known: bool = False,
    alpha: float = 0.05,
    power: float = 0.9,
) -> int | None:
    """Images needed to show a share within ``target ± margin`` when it is exactly on target.

    Solves (z_{1-alpha} + z_{(1+power)/2})^2 Var = margin^2 for n, with the variance of the corrected share: sampling
    noise falls with n, the noise of the classifier's error rates does not.

    Args:
        target: Target share, 0 < target < 1.
        margin: Equivalence margin.
        errors: The classifier's errors.
        errors_known: True to treat the error rates as exact.
        alpha: Level of each one-sided test.
        power: Chance of showing it.

    Returns:
        n, or None when no n is enough: more labelled images are needed, not more samples.

    Raises:
        DataError: for a margin that is not above zero, or errors that say nothing.
    """
    room = _room(target, errors, errors_known=errors_known, variance=(margin / _quantiles(alpha, power, margin)) ** 2)
    if room <= 0:
        return None
    shown = target * errors.sensitivity + (1 - target) * (1 - errors.specificity)
    return ceil(shown * (1 - shown) / room - 1e-9)


def tost_margin(target: float, n: float, errors: BinaryErrors, *, alpha: float = 0.05, power: float = 0.9) -> float:
    """Smallest margin that n images could show with this power, when the share is exactly on target.

    Args:
        target: Target share.
        n: Images.
        errors: The classifier's errors; their uncertainty counts.
        alpha: Level of each one-sided test.
        power: Chance of showing it.
    """
    shown = target * errors.sensitivity + (1 - target) * (1 - errors.specificity)
    variance = shown * (1 - shown) / n - _room(target, errors, errors_known=False, variance=0.0)
    return _quantiles(alpha, power, 1.0) * sqrt(variance) / errors.youden


def _quantiles(alpha: float, power: float, margin: float) -> float:
    if not margin > 0:
        raise DataError(f"An equivalence margin must be above zero; found {margin}.")
    return float(ndtri(1 - alpha) + ndtri((1 + power) / 2))


def _room(target: float, errors: BinaryErrors, *, errors_known: bool, variance: float) -> float:
    """What a variance budget for the corrected share leaves for sampling noise of the raw share."""
    youden = errors.youden
    if youden <= 0:
        raise DataError(f"A classifier with Youden's J = {youden:.2f} tells nothing; no n is enough.")
    room = variance * youden**2
    if not errors_known:
        se, sp = errors.sensitivity, errors.specificity
        room -= target**2 * se * (1 - se) / errors.positives + (1 - target) ** 2 * sp * (1 - sp) / errors.negatives
    return room
