"""Classifier two-sample test: can a fresh classifier tell two sets of images apart?

One half of both sets fits the classifier, the other half judges it, once (arXiv:1610.06545). Cross-validation would
judge every image, but its folds share training data, so their count of right answers is not binomial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.linear import fit_logistic
from ldm_eval.stats.proportions import clopper_pearson

__all__ = ["MIN_PER_SET", "DisjointSubsets", "TwoSampleResult", "classifier_two_sample_test", "disjoint_subsets"]

MIN_PER_SET = 20
"""Fewer images of each set than this fit and judge nothing."""


@final
@dataclass(frozen=True, slots=True)
class TwoSampleResult:
    """How well a classifier that never saw them told the judged images apart.

    Attributes:
        per_set: Images of each set that were used (fitted and judged).
        judged: Judged images, both sets together, equally many of each.
        correct: How many were told right.
        accuracy: ``correct / judged``; 1/2 when nothing tells the sets apart.
        interval: Clopper-Pearson, two-sided; conservative, as both sets are judged in fixed number.
        p_value: P[Bin(judged, 1/2) >= correct]: conservative below 1/2 when both sets come from one distribution.
        false_alarms: Judged images of the first set that were called the second.
        false_alarm_interval: Clopper-Pearson for their share.
    """

    per_set: int
    judged: int
    correct: int
    accuracy: float
    interval: Interval
    p_value: float
    false_alarms: int
    false_alarm_interval: Interval

    @property
    def false_alarm_rate(self) -> float:
        """Share of judged images of the first set that were called the second."""
        return self.false_alarms / (self.judged // 2)


def classifier_two_sample_test(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    *,
    generator: np.random.Generator,
    penalty: float = 0.1,
    level: float = 0.95,
) -> TwoSampleResult:
    """Fit a logistic classifier on half of both sets and judge it once on the other half.

    It sees linear differences only: two sets that differ in covariance alone pass for equal in a linear space. The
    count of right answers is a sum of independent trials whose chance averages 1/2 under equality; beyond its mean its
    upper tail is never above the binomial's (Hoeffding 1956), hence a p that is conservative wherever it is below 1/2.

    Args:
        first: ``(N, D)`` features, rows i.i.d. (real images).
        second: ``(M, D)`` features, rows i.i.d. (generated images).
        generator: Chooses which rows are used (equally many of each) and which half fits.
        penalty: Ridge penalty on standardised features; fixed beforehand, never tuned on these sets.
        level: Level of the intervals.

    Raises:
        DataError: for fewer than ``MIN_PER_SET`` rows, or widths that differ.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise DataError(f"Both sets need (N, D) features of one D; found {first.shape} and {second.shape}.")
    per_set = min(len(first), len(second))
    if per_set < MIN_PER_SET:
        raise DataError(f"A two-sample test needs {MIN_PER_SET} images of each set at least; found {per_set}.")
    fitted = per_set // 2
    rows_first = generator.permutation(len(first))[:per_set]
    rows_second = generator.permutation(len(second))[:per_set]
    x = np.concatenate([first[rows_first[:fitted]], second[rows_second[:fitted]]])
    classifier = fit_logistic(x, np.repeat([0, 1], fitted), penalty=penalty)
    called_first = classifier.predict(first[rows_first[fitted:]])
    called_second = classifier.predict(second[rows_second[fitted:]])
    judged = per_set - fitted
    false_alarms = int(np.count_nonzero(called_first == 1))
    correct = judged - false_alarms + int(np.count_nonzero(called_second == 1))
    return TwoSampleResult(
        per_set=per_set,
        judged=2 * judged,
        correct=correct,
        accuracy=correct / (2 * judged),
        interval=clopper_pearson(correct, 2 * judged, level),
        p_value=float(bdtrc(correct - 1, 2 * judged, 0.5)) if correct > 0 else 1.0,
        false_alarms=false_alarms,
        false_alarm_interval=clopper_pearson(false_alarms, judged, level),
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class DisjointSubsets:
    """Row numbers ``(n,) int64`` of two subsets of one set that share no row."""

    one: NDArray[np.int64]
    other: NDArray[np.int64]


def disjoint_subsets(total: int, size: int, generator: np.random.Generator) -> DisjointSubsets:
    """Two random disjoint subsets of ``size`` rows each out of ``total``: what real-against-real floors are made of.

    Raises:
        DataError: when there are fewer than ``2 * size`` rows.
    """
    if 2 * size > total:
        raise DataError(f"Two disjoint subsets of {size} images need {2 * size}; there are {total}.")
    order = generator.permutation(total)
    return DisjointSubsets(order[:size], order[size : 2 * size])
