"""Images that a classifier called a group, and how many of them are of it: which groups can be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN, AttributeLabels, ConfusionCounts, Evidence, Invalid, NotApplicable, Role
from ldm_eval.errors import DataError
from ldm_eval.stats.class_shares import class_errors, class_shares, label_counts
from ldm_eval.stats.shares import MIN_YOUDEN

__all__ = ["MAX_IMPURE", "MAX_UNKNOWN", "Group", "judged_groups", "purities", "too_poor"]

MAX_UNKNOWN = 0.2
"""Above this share of unlabelled images nothing is said of those that are labelled: the answer is inconclusive."""

MAX_IMPURE = 0.05
"""A group is left out where its images are truly of it more often in one set than in the other by more than this: what
else is in them would then read as a fault of the drawing. Up to it that adds at most 0.0025 of the squared distance
between two groups."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One perceived group.

    Attributes:
        name: Of the class.
        samples: ``(n,)`` rows of the samples that were called it.
        reference: ``(m,)`` rows of the reference.
        purity_samples: Share of the former that are of it, by the classifier's counted errors.
        purity_reference: The same of the latter; counted where the real images' own labels are known.
        reason: Why it is not compared; empty when it is.
    """

    name: str
    samples: NDArray[np.int64]
    reference: NDArray[np.int64]
    purity_samples: float
    purity_reference: float
    reason: str = ""


def purities(counts: NDArray[np.int64], confusion: ConfusionCounts) -> NDArray[np.float64]:
    """``(K,)``: P(is the class | was called it) in the set that ``counts (K + 1,)`` come from; 0 where never called.

    Raises:
        DataError: as ``class_shares``.
    """
    matrix = np.array(confusion.counts, dtype=np.float64)
    rates = (matrix / matrix.sum(axis=1, keepdims=True))[:, :-1]
    joint = class_shares(counts, confusion).shares[:, None] * rates
    called = joint.sum(axis=0)
    pure: NDArray[np.float64] = np.divide(joint.diagonal(), called, out=np.zeros(len(called)), where=called > 0)
    return pure


def too_poor(labels: AttributeLabels, counts: NDArray[np.int64], role: Role) -> Invalid | None:
    """Why the labels of a set cannot be used at all, or None when they can."""
    if counts[-1] > MAX_UNKNOWN * counts.sum():
        missing, shown = counts[-1] / counts.sum(), "generated" if role == "samples" else role
        return Invalid(
            f"Inconclusive: '{labels.classifier}' put no label on {missing:.0%} of the {shown} images, more than "
            f"{MAX_UNKNOWN:.0%}, and those may be other than the rest. Use a classifier that knows them."
        )
    try:
        errors = class_errors(counts, labels.confusion)
    except DataError as error:
        return Invalid(str(error))
    name, weakest = min(zip(labels.confusion.classes, errors, strict=True), key=lambda pair: pair[1].youden)
    if weakest.youden < MIN_YOUDEN:
        return Invalid(
            f"The classifier '{labels.classifier}' tells '{name}' too poorly: Youden's J is {weakest.youden:.2f}, at "
            f"least {MIN_YOUDEN} is needed. More samples do not help; a better classifier does."
        )
    return None


def judged_groups(evidence: Evidence, fewest: int) -> tuple[Group, ...] | NotApplicable | Invalid:
    """All groups of the samples and the reference, each with the reason where it cannot be compared."""
    called: dict[Role, AttributeLabels] = {role: evidence.attributes(role) for role in ("samples", "reference")}
    confusion = called["samples"].confusion
    pure = {}
    for role, labels in called.items():
        try:
            counts = label_counts(labels.labels, confusion.classes)
        except DataError as error:
            return Invalid(str(error))
        refused = too_poor(labels, counts, role)
        if refused is not None:
            return refused
        pure[role] = purities(counts, confusion)
    truth = evidence.images("reference").groups.get(called["reference"].attribute)
    groups = []
    for index, name in enumerate(confusion.classes):
        samples = np.flatnonzero(called["samples"].labels == name)
        reference = np.flatnonzero(called["reference"].labels == name)
        counted = pure["reference"][index] if truth is None else _counted(truth[reference], name)
        one = Group(name, samples, reference, float(pure["samples"][index]), float(counted))
        groups.append(replace(one, reason=_reason(one, fewest)))
    if sum(not one.reason for one in groups) < 2:
        listed = "; ".join(f"'{one.name}': {one.reason}" for one in groups if one.reason)
        return NotApplicable(f"Fewer than two groups can be compared ({listed}).")
    return tuple(groups)


def _counted(truth: NDArray[np.str_], name: str) -> float:
    known = truth[truth != UNKNOWN]
    return float(np.mean(known == name)) if len(known) else 0.0


def _reason(group: Group, fewest: int) -> str:
    n, m = len(group.samples), len(group.reference)
    if n < fewest:
        return f"{n} samples, fewer than {fewest}" if n else "no samples of this group"
    if m < 2 * fewest:
        return f"{m} reference images, fewer than {2 * fewest}" if m else "no reference images of this group"
    if abs(group.purity_samples - group.purity_reference) > MAX_IMPURE:
        return (
            f"{group.purity_samples:.0%} of the samples called so are of it and {group.purity_reference:.0%} of the "
            "reference images, so that what else is among them would read as a fault of the drawing"
        )
    return ""
