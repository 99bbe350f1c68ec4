"""How the shares of classes differ between two sets of images that one classifier with known errors labelled.

The classifier's errors enter both sets alike, so that most of their uncertainty cancels: what is left of it is
proportional to the change itself. Two intervals of one share each, subtracted, would count it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ConfusionCounts, Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.class_shares import class_shares
from ldm_eval.stats.intervals import normal_interval

__all__ = ["ShareChanges", "changes_from_known", "changes_from_labels"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_ESTIMATOR = "delta method over labels of both sets and confusion counts"


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShareChanges:
    """Shares of K classes in new images beside those in a fixed set.

    Attributes:
        before: ``(K,)`` shares in the fixed set.
        after: ``(K,)`` shares among what the new images are drawn from.
        covariance: ``(K, K)`` of ``after - before``.
    """

    before: Floats
    after: Floats
    covariance: Floats

    @property
    def changes(self) -> Floats:
        """``(K,)``: ``after - before``; sums to zero."""
        return self.after - self.before

    def change(self, index: int) -> float:
        """Change of one class."""
        return float(self.changes[index])

    def together(self, chosen: NDArray[np.bool_], level: float = 0.95) -> Interval:
        """Two-sided interval for the change of the ``chosen (K,)`` classes' joint share, within [-1, 1]."""
        weights = chosen.astype(np.float64)
        error = sqrt(max(float(weights @ self.covariance @ weights), 0.0))
        found = normal_interval(float(weights @ self.changes), error, level, _ESTIMATOR)
        return Interval(max(found.low, -1.0), min(found.high, 1.0), level, _ESTIMATOR)


def changes_from_labels(after: Counts, before: Counts, confusion: ConfusionCounts) -> ShareChanges:
    """Both sets labelled by the same classifier.

    The set ``before`` is fixed: only the classifier's errors on it are random, not what it holds. The images of
    ``after`` are i.i.d. Rates of labels in the variances are shrunk by two images a class (as Lang and Reiczigel's), so
    that no error counted is not taken for none possible.

    Args:
        after: ``(K + 1,)`` labels of the new images, the last ``"unknown"`` (see ``class_shares.label_counts``).
        before: The same of the fixed set.
        confusion: Errors on labelled images that are in neither set.

    Raises:
        DataError: as ``class_shares``.
    """
    old, new = class_shares(before, confusion), class_shares(after, confusion)
    rates, inverse = _rates(confusion), _inverse(confusion)
    size = before[:-1].sum() / old.labelled_rate
    noise = np.zeros_like(inverse)
    for share, row in zip(old.shares, rates, strict=True):
        noise += share * _multinomial(row) / size
    noise += _drawn(new.shares, float(after[:-1].sum() / new.labelled_rate), rates)
    noise += _errors(new.shares - old.shares, confusion, rates)
    return ShareChanges(old.shares, new.shares, inverse @ noise @ inverse.T)


def changes_from_known(after: Counts, before: Floats, confusion: ConfusionCounts) -> ShareChanges:
    """The fixed set's ``before (K,)`` shares are known, and only the new images labelled; nothing cancels.

    Raises:
        DataError: as ``class_shares``, or for shares that are not ``(K,)`` on the simplex.
    """
    if before.shape != (len(confusion.classes),) or np.any(before < 0) or abs(float(before.sum()) - 1) > 1e-6:
        raise DataError(f"{len(confusion.classes)} shares that sum to 1 are needed; found {before.tolist()}.")
    new = class_shares(after, confusion)
    rates, inverse = _rates(confusion), _inverse(confusion)
    noise = _drawn(new.shares, float(after[:-1].sum() / new.labelled_rate), rates)
    noise += _errors(new.shares, confusion, rates)
    return ShareChanges(before, new.shares, inverse @ noise @ inverse.T)


def _drawn(shares: Floats, n: float, rates: Floats) -> Floats:
    """Covariance of the observed shares of n images, their classes drawn and labelled."""
    classes = len(shares)
    return _multinomial((n * shares + 1) / (n + classes) @ rates) / n


def _errors(weights: Floats, confusion: ConfusionCounts, rates: Floats) -> Floats:
    """Covariance of ``sum_i weights_i row_i`` when each row of the confusion rates is itself counted."""
    sizes = np.array(confusion.counts, dtype=np.float64).sum(axis=1)
    total = np.zeros_like(rates)
    for weight, row, size in zip(weights, rates, sizes, strict=True):
        total += weight**2 * _multinomial(row) / size
    return total


def _multinomial(chances: Floats) -> Floats:
    """``(K, K)`` covariance of one draw; chances may sum to less than one."""
    covariance: Floats = np.diag(chances) - np.outer(chances, chances)
    return covariance


def _rates(confusion: ConfusionCounts) -> Floats:
    """``(K, K)``: P(called j | is i), shrunk by two images a class spread over all labels."""
    matrix = np.array(confusion.counts, dtype=np.float64)
    shrunk = matrix + 2.0 / matrix.shape[1]
    rates: Floats = (shrunk / shrunk.sum(axis=1, keepdims=True))[:, :-1]
    return rates


def _inverse(confusion: ConfusionCounts) -> Floats:
    """``(K, K)``: from observed shares to true ones."""
    matrix = np.array(confusion.counts, dtype=np.float64)
    rates = (matrix / matrix.sum(axis=1, keepdims=True))[:, :-1]
    inverse: Floats = np.linalg.pinv(rates.T)
    return inverse
