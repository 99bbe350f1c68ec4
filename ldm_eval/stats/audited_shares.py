"""What people's labels of some generated images say of all of them, and of the classifier that labelled all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN, AttributeLabels, ConfusionCounts, Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.class_shares import corrected_shares, label_counts, worst_case_shares
from ldm_eval.stats.prediction_powered import AuditCounts, PoweredShare, prediction_powered_share
from ldm_eval.stats.proportions import clopper_pearson, newcombe
from ldm_eval.stats.shares import CorrectedShare

__all__ = ["AuditReport", "AuditedShare", "Recognised", "audit_report"]

MAX_UNLABELLED = 0.20
"""Above this share of classifier's ``"unknown"`` a corrected share is bounded, not corrected (as in the check)."""
MAX_UNTOLD = 0.05
"""Above this share that people could not tell, no corrected share: what such images are called is not in the counts."""


@final
@dataclass(frozen=True, slots=True)
class AuditedShare:
    """One class's share of all images, by people's eyes; ``"unknown"`` is a class of its own here.

    Attributes:
        name: The class, or ``"unknown"``.
        seen: Audited images that people called so.
        people: Clopper-Pearson interval of people's labels alone.
        powered: With the classifier's labels of the other images; None where every image was audited.
    """

    name: str
    seen: int
    people: Interval
    powered: PoweredShare | None


@final
@dataclass(frozen=True, slots=True)
class Recognised:
    """How often the classifier knows a class on generated and on the real images that its errors were counted on.

    Attributes:
        name: The class.
        generated: Of the audited images that people called so, those that the classifier called so.
        generated_total: Audited images that people called so.
        real: The same of real images.
        real_total: Real images of the class.
        difference: Newcombe's interval of generated less real; None without images on one side.
    """

    name: str
    generated: int
    generated_total: int
    real: int
    real_total: int
    difference: Interval | None


@final
@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit shows.

    Attributes:
        classes: What the classifier tells apart, then ``"unknown"``: rows (people) and columns (classifier) of
            ``counts``.
        counts: Audited images by people's and the classifier's label.
        audited: How many were audited.
        unaudited: How many have the classifier's label alone.
        level: At which all the intervals of ``shares`` hold together.
        each_level: Of every single interval (Bonferroni over the classes and ``"unknown"``).
        shares: One per class and ``"unknown"``.
        corrected: One per class: the labels of unaudited images, corrected by the errors on the audited ones.
        uncorrected: Why there are none; empty when there are.
        recognised: One per class.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    audited: int
    unaudited: int
    level: float
    each_level: float
    shares: tuple[AuditedShare, ...]
    corrected: tuple[CorrectedShare, ...]
    uncorrected: str
    recognised: tuple[Recognised, ...]


def audit_report(
    labels: AttributeLabels, rows: Sequence[int], people: NDArray[np.str_], level: float = 0.95
) -> AuditReport:
    """Compare people's labels with the classifier's and carry the difference over to all images.

    Args:
        labels: The classifier's labels of all N images, and its errors on real ones.
        rows: Which of them were audited: a random draw without repetition.
        people: ``(n,)`` what people called these, in the order of ``rows``: classes or ``"unknown"``.
        level: At which the intervals of the shares hold together.

    Raises:
        DataError: for labels that are not among the classes, or counts that do not fit together.
    """
    classes = labels.confusion.classes
    names = (*classes, UNKNOWN)
    label_counts(people, classes)  # refuses other labels
    machine = labels.labels[list(rows)]
    matrix = np.array(
        [[np.count_nonzero((people == seen) & (machine == called)) for called in names] for seen in names],
        dtype=np.int64,
    )
    others = np.ones(len(labels.labels), dtype=bool)
    others[list(rows)] = False
    called = label_counts(labels.labels[others], classes)
    each = 1 - (1 - level) / len(names)
    corrected, why = _corrected(matrix, called, classes, each)
    return AuditReport(
        classes=names,
        counts=_rows(matrix),
        audited=len(people),
        unaudited=int(called.sum()),
        level=level,
        each_level=each,
        shares=tuple(_share(name, index, matrix, called, each) for index, name in enumerate(names)),
        corrected=corrected,
        uncorrected=why,
        recognised=tuple(_recognised(i, name, matrix, labels.confusion, each) for i, name in enumerate(classes)),
    )


def _rows(matrix: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in matrix)


def _share(name: str, index: int, matrix: NDArray[np.int64], called: NDArray[np.int64], level: float) -> AuditedShare:
    total, both = int(matrix.sum()), int(matrix[index, index])
    seen, machine = int(matrix[index].sum()), int(matrix[:, index].sum())
    counts = AuditCounts(both, seen - both, machine - both, total - seen - machine + both)
    unaudited = int(called.sum())
    powered = prediction_powered_share(int(called[index]), unaudited, counts, level) if unaudited else None
    return AuditedShare(name, seen, clopper_pearson(seen, total, level), powered)


def _corrected(
    matrix: NDArray[np.int64], called: NDArray[np.int64], classes: tuple[str, ...], level: float
) -> tuple[tuple[CorrectedShare, ...], str]:
    """Only images that were not audited are counted, so that the counts and the errors are independent."""
    total, untold = int(matrix.sum()), int(matrix[-1].sum())
    if not called.sum():
        return (), "every image was audited; people's labels need no correction"
    if untold > MAX_UNTOLD * total:
        return (), (
            f"people could not tell {untold} of {total} audited images, more than {MAX_UNTOLD:.0%}; what the "
            "classifier calls such images has no place among its errors"
        )
    unseen = [name for name, row in zip(classes, matrix, strict=False) if not row.sum()]
    if unseen:
        return (), f"people saw no {', '.join(unseen)} among the audited images, so its errors cannot be counted"
    confusion = ConfusionCounts(classes, _rows(matrix[:-1]), f"{total - untold} audited generated images")
    open_ended = called[-1] > MAX_UNLABELLED * called.sum()
    try:
        shares = (worst_case_shares if open_ended else corrected_shares)(called, confusion, level)
    except DataError as error:
        return (), str(error)
    if any(share.outside for share in shares):
        return (), "no true shares explain the labels of the other images; audit more images"
    return shares, ""


def _recognised(index: int, name: str, matrix: NDArray[np.int64], real: ConfusionCounts, level: float) -> Recognised:
    right, total = int(matrix[index, index]), int(matrix[index].sum())
    real_right, real_total = real.counts[index][index], sum(real.counts[index])
    difference = newcombe(right, total, real_right, real_total, level) if total and real_total else None
    return Recognised(name, right, total, real_right, real_total, difference)
