"""Shares from many labels of a classifier and a few of people, valid whatever the classifier's errors are.

The classifier's share on images that nobody looked at, plus what people changed on those they looked at (the
*rectifier*). Nothing is assumed of the errors, only that the images looked at were drawn at random from the same
source: where ``shares`` trusts error rates that were counted on other images, this does not.

Source: Angelopoulos et al. arXiv:2301.09633 (estimator). Its normal interval has no width left where the people found
few errors or none; here both parts have intervals that hold for small counts: Wilson's, and Bonett and Price's for a
difference of paired shares (J. Educ. Behav. Stat. 37:479, 2012), joined as Zou and Donner do (Stat. Med. 27:1693,
2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt
from typing import final

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.intervals import normal_quantile
from ldm_eval.stats.proportions import wilson

__all__ = ["AuditCounts", "PoweredShare", "paired_difference", "prediction_powered_share"]


@final
@dataclass(frozen=True, slots=True)
class AuditCounts:
    """What people and the classifier said of the audited images, for one class against the rest.

    Attributes:
        both: Images that both called the class.
        only_people: Images that people called the class and the classifier did not.
        only_classifier: Images that the classifier called the class and people did not.
        neither: All others.
    """

    both: int
    only_people: int
    only_classifier: int
    neither: int

    def __post_init__(self) -> None:
        """Refuse counts that cannot be.

        Raises:
            DataError: when one is negative, or there are no images.
        """
        if min(self.both, self.only_people, self.only_classifier, self.neither) < 0 or self.images < 1:
            raise DataError(f"An audit needs counts of at least 0 and one image; found {self}.")

    @property
    def images(self) -> int:
        """How many images were audited."""
        return self.both + self.only_people + self.only_classifier + self.neither

    @property
    def rectifier(self) -> float:
        """Share that people saw, less the share that the classifier saw on the same images."""
        return (self.only_people - self.only_classifier) / self.images


@final
@dataclass(frozen=True, slots=True)
class PoweredShare:
    """A share with its prediction-powered interval.

    Attributes:
        value: Unbiased before it was moved into [0, 1].
        interval: Two-sided.
        called: Share that the classifier called the class among images that were not audited.
        rectifier: What people changed, see ``AuditCounts.rectifier``.
    """

    value: float
    interval: Interval
    called: float
    rectifier: float


def paired_difference(counts: AuditCounts, level: float = 0.95) -> Interval:
    """Interval for people's share less the classifier's on the same images (Bonett and Price), two-sided.

    One image is added to each kind of disagreement, so that an audit without any still leaves room for some.
    """
    n = counts.images + 2
    more, fewer = (counts.only_people + 1) / n, (counts.only_classifier + 1) / n
    centre = more - fewer
    half = normal_quantile(level) * sqrt((more + fewer - centre**2) / n)
    low, high = max(centre - half, -1.0), min(centre + half, 1.0)
    return Interval(min(low, counts.rectifier), max(high, counts.rectifier), level, "Bonett-Price")


def prediction_powered_share(called: int, unaudited: int, counts: AuditCounts, level: float = 0.95) -> PoweredShare:
    """The share of a class by people's eyes among all that the source gives: ``called / unaudited + rectifier``.

    The audited images must be a random draw, and none of them among the ``unaudited``. Narrower than people's labels
    alone where the classifier agrees with them and ``unaudited`` is large; wider where it often does not. Coverage at
    50 and more audited images: ``benchmarks/prediction_powered_coverage.py``.

    Args:
        called: Images that the classifier called the class, among those that were not audited.
        unaudited: How many were not audited, at least 1.
        counts: What people and the classifier said of the audited ones.
        level: Two-sided confidence level.

    Raises:
        DataError: for counts that cannot be.
    """
    seen = wilson(called, unaudited, level)
    raw, change = called / unaudited, paired_difference(counts, level)
    value = raw + counts.rectifier
    low = value - hypot(raw - seen.low, counts.rectifier - change.low)
    high = value + hypot(seen.high - raw, change.high - counts.rectifier)
    bounds = Interval(_within(low), _within(high), level, "prediction-powered (Wilson and Bonett-Price, joined)")
    return PoweredShare(_within(value), bounds, raw, counts.rectifier)


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)
