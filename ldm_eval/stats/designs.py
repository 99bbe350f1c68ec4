"""Designs of estimates that are normal rather than counted: an AUC, a corrected share, the worst gap of several.

See ``stats.power`` for what a design is. The chances are quadratures over the estimate's normal law, with the bounds
that the check's interval has at each value of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, owens_t

from ldm_eval.errors import DataError
from ldm_eval.stats.power import Allowed, Chances, Design, whole_parts
from ldm_eval.stats.shares import MIN_YOUDEN, BinaryErrors

__all__ = ["AucDesign", "DistanceDesign", "ShareDesign", "WorstGapDesign"]

Float = NDArray[np.float64]
Count = NDArray[np.int64]
Mask = NDArray[np.bool_]

_NODES = np.linspace(-6.5, 6.5, 1301)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
"""A normal variable cut into cells of 1/100 standard deviation: a chance is exact to about 0.004."""

_NEAR_SEPARATION = 5.0  # as in stats.roc.auc_interval, which is the interval that is planned for


@final
@dataclass(frozen=True, slots=True)
class AucDesign(Design):
    """An AUC between n images of each of two sets, with the interval of ``stats.roc.auc_interval``.

    The estimate is normal with the exact variance for scores that are normal with equal spread in both sets (at 1/2
    that of every continuous score); the interval has DeLong's width there, Newcombe's near separation.

    Attributes:
        judged: Share of the images that the AUC is computed on; the others choose the attack.
        chosen: True when those others choose its sign, and may choose it wrongly; their number is the same.
        lost: Chance that the check gives no number.
        level: Two-sided level.
    """

    judged: float = 1.0
    chosen: bool = False
    lost: float = 0.0
    level: float = 0.95

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """By quadrature over the estimate. ``truth`` is an AUC, clipped to [0, 1]."""
        sizes = np.maximum(whole_parts(n, self.judged), 2)
        share = min(max(truth, 0.0), 1.0)
        right = ndtr((share - 0.5) / np.maximum(_auc_error(np.float64(share), sizes), 1e-12)) if self.chosen else 1.0
        straight, turned = self._at(share, sizes, allowed), self._at(1 - share, sizes, allowed)
        mixed = [right * a + (1 - right) * b for a, b in zip(straight, turned, strict=True)]
        return Chances((1 - self.lost) * mixed[0], (1 - self.lost) * mixed[1])

    def _at(self, truth: float, sizes: Count, allowed: Allowed) -> tuple[Float, Float]:
        column = sizes[:, None]
        value = np.clip(truth + _auc_error(np.float64(truth), column) * _NODES, 0.0, 1.0)

        def beyond(limit: float) -> Mask:
            """The limit lies outside the interval of the estimate."""
            if not isfinite(limit):
                return np.ones_like(value, dtype=bool)
            theta = min(max(limit, 0.0), 1.0)
            score = theta * (1 - theta) * (1 + (column - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta)))
            near = np.minimum(value, 1 - value) * column < _NEAR_SEPARATION
            error = np.where(near, np.sqrt(score) / column, _auc_error(value, column))
            return np.asarray(np.abs(value - theta) >= float(ndtri(0.5 + self.level / 2)) * error)

        above, below = beyond(allowed.lowest), beyond(allowed.highest)
        passes = (value >= allowed.lowest) & above & (value <= allowed.highest) & below
        fails = ((value > allowed.highest) & below) | ((value < allowed.lowest) & above)
        return passes @ _WEIGHTS, fails @ _WEIGHTS


@final
@dataclass(frozen=True, slots=True)
class ShareDesign(Design):
    """A share corrected for a classifier's errors, with the Lang-Reiczigel interval.

    The labels' share is normal with the sampling noise of n images and the noise of the error rates, which no n
    removes; bounds are computed with the error counts as they are expected.

    Attributes:
        errors: The classifier's errors for this group, as counted (or as expected to be counted).
        level: Two-sided level of the interval by which a rule passes.
        strict_level: That by which it fails; higher where several groups are judged at once.
    """

    errors: BinaryErrors
    level: float = 0.95
    strict_level: float = 0.95

    def __post_init__(self) -> None:
        """Refuse a classifier that the check would abstain with. Raises DataError."""
        if self.errors.youden < MIN_YOUDEN:
            raise DataError(
                f"A classifier with Youden's J = {self.errors.youden:.2f} tells too little; no n is enough."
            )

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """By quadrature over the share of labels. ``truth`` is the true share, clipped to [0, 1]."""
        images, share = whole_parts(n, 1.0)[:, None], min(max(truth, 0.0), 1.0)
        se, sp = self.errors.sensitivity, self.errors.specificity
        shown = share * se + (1 - share) * (1 - sp)
        fixed = share**2 * se * (1 - se) / self.errors.positives + (1 - share) ** 2 * sp * (1 - sp) / (
            self.errors.negatives
        )
        labels = np.clip(shown + np.sqrt(shown * (1 - shown) / images + fixed) * _NODES, 0.0, 1.0)
        low, high = self._bounds(labels, images, self.level)
        passes = (allowed.lowest <= low) & (high <= allowed.highest)
        low, high = self._bounds(labels, images, self.strict_level)
        fails = (low > allowed.highest) | (high < allowed.lowest)
        return Chances(passes @ _WEIGHTS, fails @ _WEIGHTS)

    def _bounds(self, labels: Float, n: Count, level: float) -> tuple[Float, Float]:
        """As ``stats.shares.lang_reiczigel``, clipped to [0, 1]."""
        z = float(ndtri(0.5 + level / 2))
        n1, n0 = self.errors.positives + 2, self.errors.negatives + 2
        se, sp = (self.errors.true_positives + 1) / n1, (self.errors.true_negatives + 1) / n0
        p = (labels * n + z * z / 2) / (n + z * z)
        share = (p + sp - 1) / (se + sp - 1)
        var_se, var_sp = se * (1 - se) / n1, sp * (1 - sp) / n0
        centre = share + 2 * z * z * (share * var_se - (1 - share) * var_sp)
        noise = np.sqrt(p * (1 - p) / (n + z * z) + share**2 * var_se + (1 - share) ** 2 * var_sp)
        width = z / (se + sp - 1) * noise
        return np.clip(centre - width, 0, 1), np.clip(centre + width, 0, 1)


@final
@dataclass(frozen=True, slots=True)
class WorstGapDesign(Design):
    """The largest distance of several corrected shares from their targets, as ``fairness/representation`` bounds it.

    Two groups mirror each other, so one tells all. With more, the chances are bounds: passing is at least one minus the
    sum of the groups' chances not to, failing at least that of the likeliest.

    Attributes:
        targets: Target share of each group.
        directions: True deviation of each group as a multiple of the worst gap, -1 to 1.
        errors: The classifier's errors for each group.
        level: Two-sided level.
    """

    targets: tuple[float, ...]
    directions: tuple[float, ...]
    errors: tuple[BinaryErrors, ...]
    level: float = 0.95

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """``truth`` is the worst gap, 0 or more; only ``allowed.highest`` is a limit.

        Raises:
            DataError: when the rule wants a gap to be *at least* something.
        """
        if allowed.lowest > 0 or not isfinite(allowed.highest):
            raise DataError("A gap is planned for a rule that limits it from above.")
        strict = 1 - (1 - self.level) / 2 / len(self.targets)
        each = []
        for target, direction, errors in zip(self.targets, self.directions, self.errors, strict=True):
            within = Allowed(target - allowed.highest, target + allowed.highest)
            group = ShareDesign(errors, self.level, strict)
            each.append(group.chances(target + direction * truth, n, _open(within)))
        passes, fails = np.array([one.passes for one in each]), np.array([one.fails for one in each])
        if len(each) == 2:
            return Chances(passes.min(axis=0), fails.max(axis=0))
        return Chances(np.clip(1 - (1 - passes).sum(axis=0), 0, 1), fails.max(axis=0))


@final
@dataclass(frozen=True, slots=True)
class DistanceDesign(Design):
    """A squared distance less its floor, from equal sets of n images: its error is quadratic near zero.

    The estimate is normal with variance ``V = first * truth / n + second / n^2``. The interval's standard error is
    estimated from data whose means already differ by chance: its square is ``first * truth / n + 2 second / n^2`` on
    average, so near zero the alarm is raised less often than the level says. It grows with the estimate, with the slope
    ``3/4 (first / n)^2 truth / V`` that three sets of equal size whose means differ have (the delta method).

    Attributes:
        first: Slope of the variance in the distance.
        second: Variance of n times the estimate where the distance is zero.
        level: Two-sided level of the normal interval.
    """

    first: float
    second: float
    level: float = 0.95

    @classmethod
    def of_pilots(cls, at_zero: float, error: float, truth: float, n: int) -> DistanceDesign:
        """From reported standard errors of two pilots with n images each: no distance, and the distance ``truth``."""
        first = max(error**2 - at_zero**2, 0.0) * n / truth
        return cls(first, at_zero**2 * n**2 / 2)

    def chances(self, truth: float, n: ArrayLike, allowed: Allowed) -> Chances:
        """By quadrature over the estimate."""
        images = whole_parts(n, 1.0)[:, None].astype(np.float64)
        near, far = self.second / images**2, self.first * max(truth, 0.0) / images
        value = truth + np.sqrt(near + far) * _NODES
        slope = 0.75 * self.first / images * far / np.maximum(near + far, 1e-300)
        reported = np.sqrt(np.maximum(far + 2 * near + slope * (value - truth), near))
        half = float(ndtri(0.5 + self.level / 2)) * reported
        passes = (allowed.lowest <= value - half) & (value + half <= allowed.highest)
        fails = (value - half > allowed.highest) | (value + half < allowed.lowest)
        return Chances(passes @ _WEIGHTS, fails @ _WEIGHTS)


def _open(within: Allowed) -> Allowed:
    """Limits outside [0, 1] are none: a clipped bound must not be held against them."""
    return Allowed(within.lowest if within.lowest > 0 else -inf, within.highest if within.highest < 1 else inf)


def _auc_error(value: ArrayLike, n: ArrayLike) -> Float:
    """Standard deviation of the AUC of n against n images whose scores are normal with equal spread.

    The chance that two of one set exceed one of the other is Phi2(a, a; 1/2) = A - 2 T(a, 1/sqrt(3)) with Owen's T.
    """
    auc = np.clip(np.asarray(value, dtype=np.float64), 0, 1)
    a = ndtri(np.clip(auc, 1e-12, 1 - 1e-12))
    both = auc - 2 * owens_t(a, 1 / np.sqrt(3.0))
    size = np.asarray(n, dtype=np.float64)
    variance = (auc * (1 - auc) + 2 * (size - 1) * np.maximum(both - auc**2, 0)) / size**2
    return np.asarray(np.sqrt(np.maximum(variance, 0)), dtype=np.float64)
