"""How well a score tells two groups apart: AUC, error rates at a fixed threshold, and what could have been seen.

Throughout, *positive* scores are of the group that should score high (members), *negative* of the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.proportions import clopper_pearson

__all__ = [
    "AucEstimate",
    "RatesAtThreshold",
    "RocCurve",
    "auc",
    "auc_interval",
    "detectable_auc",
    "rates_at",
    "roc_curve",
    "threshold_at",
]

Float = NDArray[np.float64]

_NEAR_SEPARATION = 5.0


@dataclass(frozen=True, slots=True)
class AucEstimate:
    """Area under the ROC curve: P(positive > negative) + P(equal)/2, with its interval and the counts behind it."""

    value: float
    interval: Interval
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True)
class RatesAtThreshold:
    """Both error rates of ``score > threshold``, as counts with exact intervals.

    Attributes:
        threshold: Scores above it are called positive.
        true_positives: Positives above it, out of ``positives``.
        false_positives: Negatives above it, out of ``negatives``.
        true_positive_rate: Clopper-Pearson.
        false_positive_rate: Clopper-Pearson.
    """

    threshold: float
    true_positives: int
    positives: int
    false_positives: int
    negatives: int
    true_positive_rate: Interval
    false_positive_rate: Interval


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """The empirical ROC curve: ``false_positive_rate`` and ``true_positive_rate``, ``(P,)`` from (0, 0) to (1, 1)."""

    false_positive_rate: Float
    true_positive_rate: Float


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Mann-Whitney estimate of P(positive > negative) + P(equal)/2; unbiased; 1/2 when the score says nothing."""
    return float(_placements(_scores(positive), _scores(negative)).mean())


def auc_interval(positive: ArrayLike, negative: ArrayLike, level: float = 0.95) -> AucEstimate:
    """AUC with a two-sided interval that does not collapse.

    DeLong's variance (Biometrics 44:837, 1988) is zero once the groups are separated, and the bootstrap is no better:
    both say [1, 1] on ten images. So where fewer than about five of the smaller group are misranked
    (``min(AUC, 1 - AUC) * min(P, N) < 5``) the bound is Newcombe's instead (Statistics in Medicine 25:559, 2006,
    method 5: the score equation with the Hanley-McNeil variance at the hypothesised AUC). The estimator is named.

    Args:
        positive: ``(P,)`` scores, P >= 2.
        negative: ``(N,)`` scores, N >= 2.
        level: Confidence level.

    Raises:
        DataError: for fewer than two scores on a side, or scores that are not finite.
    """
    pos, neg = _scores(positive), _scores(negative)
    ranks = _placements(pos, neg)
    value = float(ranks.mean())
    if min(value, 1 - value) * min(len(pos), len(neg)) < _NEAR_SEPARATION:
        interval = _newcombe(value, len(pos), len(neg), level)
    else:
        variance = ranks.var(ddof=1) / len(pos) + _placements(neg, pos).var(ddof=1) / len(neg)
        half = float(ndtri(0.5 + level / 2)) * math.sqrt(float(variance))
        interval = Interval(max(0.0, value - half), min(1.0, value + half), level, "DeLong")
    return AucEstimate(value, interval, len(pos), len(neg))


def threshold_at(negative: ArrayLike, rate: float) -> float:
    """The lowest observed score that a *new* negative exceeds with probability ``rate`` at most; never interpolated.

    A new one exceeds the k-th largest of N with probability k/(N+1), so k = floor(rate (N+1)): the sample quantile,
    which ``rate`` of *these* negatives exceed, would be exceeded by up to twice as many new ones (1.6 % instead of 1 %
    at N = 128). With fewer than ``1/rate - 1`` negatives it is their largest score, and that probability 1/(N+1).

    Use it on *other* scores than these: a threshold judged where it was chosen flatters itself.
    """
    ordered = np.sort(_scores(negative))
    return float(ordered[len(ordered) - max(1, math.floor(rate * (len(ordered) + 1) + 1e-9))])


def rates_at(positive: ArrayLike, negative: ArrayLike, threshold: float, level: float = 0.95) -> RatesAtThreshold:
    """Count both groups above ``threshold``, with Clopper-Pearson intervals on both rates."""
    pos, neg = _scores(positive), _scores(negative)
    hits, alarms = int((pos > threshold).sum()), int((neg > threshold).sum())
    return RatesAtThreshold(
        threshold,
        hits,
        len(pos),
        alarms,
        len(neg),
        clopper_pearson(hits, len(pos), level),
        clopper_pearson(alarms, len(neg), level),
    )


def roc_curve(positive: ArrayLike, negative: ArrayLike) -> RocCurve:
    """The empirical ROC curve, one point per distinct score, for drawing."""
    pos, neg = np.sort(_scores(positive)), np.sort(_scores(negative))
    cuts = np.unique(np.concatenate([pos, neg]))[::-1]
    true = 1 - np.searchsorted(pos, cuts, side="left") / len(pos)
    false = 1 - np.searchsorted(neg, cuts, side="left") / len(neg)
    return RocCurve(np.concatenate([[0.0], false]), np.concatenate([[0.0], true]))


def detectable_auc(positives: int, negatives: int, level: float = 0.95, power: float = 0.95) -> float:
    """Smallest AUC whose lower bound exceeds 1/2 with probability ``power``, by the null variance; at most 1."""
    sd = math.sqrt((positives + negatives + 1) / (12 * positives * negatives))
    return min(1.0, 0.5 + (float(ndtri(0.5 + level / 2)) + float(ndtri(power))) * sd)


def _newcombe(value: float, positives: int, negatives: int, level: float) -> Interval:
    z = float(ndtri(0.5 + level / 2))
    star = (positives + negatives) / 2 - 1

    def beyond(theta: float) -> bool:
        spread = theta * (1 - theta) * (1 + star * (1 - theta) / (2 - theta) + star * theta / (1 + theta))
        return abs(value - theta) > z * math.sqrt(spread / (positives * negatives))

    def edge(outside: float) -> float:
        inside = value
        for _ in range(80):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if beyond(middle) else (middle, outside)
        return inside

    # The estimate itself satisfies the equation with equality at 0 and 1; bisect from it towards the far ends.
    return Interval(edge(0.0), edge(1.0), level, "Newcombe score (Hanley-McNeil variance)")


def _placements(of: Float, among: Float) -> Float:
    """For each score the share of ``among`` below it, ties counted half."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, of, side="left")
    up_to = np.searchsorted(ordered, of, side="right")
    return np.asarray((below + up_to) / (2 * len(ordered)), dtype=np.float64)


def _scores(values: ArrayLike) -> Float:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or len(scores) < 2 or not np.isfinite(scores).all():
        raise DataError(f"An ROC needs two or more finite scores in each group; found shape {scores.shape}.")
    return scores
