"""Shares of classes among images that were labelled by a classifier with known errors.

A classifier that is right 95 % of the time does not show a share of 50 % as 50 %. What is observed is the true share
seen through the classifier's confusion matrix; this module looks back through it, and its intervals carry both the
sampling noise of the images and the uncertainty of the confusion matrix itself.

Sources: Rogan & Gladen 1978 (point), Lang & Reiczigel 2014 (interval), CLEAM arXiv:2302.03883 (known answers; its own
interval covers far below its nominal level and is not used). ``docs/decisions/0050-corrected-shares.md`` says how the
label ``"unknown"`` and more than two classes are treated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ldm_eval.api import UNKNOWN, ConfusionCounts
from ldm_eval.errors import DataError

__all__ = [
    "MIN_YOUDEN",
    "BinaryErrors",
    "ClassShares",
    "CorrectedShare",
    "bootstrap_shares",
    "class_errors",
    "class_shares",
    "corrected_shares",
    "em_shares",
    "label_counts",
    "lang_reiczigel",
    "one_vs_rest",
    "rogan_gladen",
    "worst_case_shares",
]

Floats = NDArray[np.float64]

MIN_YOUDEN = 0.5
"""Below this J = sensitivity + specificity - 1 a classifier says too little for a share to be corrected: abstain."""

_TOLERANCE = 1e-10
_MAX_STEPS = 20_000


@final
@dataclass(frozen=True, slots=True)
class BinaryErrors:
    """How often a two-way classifier was right on labelled images; counts may be effective (fractional) sizes.

    Attributes:
        true_positives: Images of the class that were called the class.
        positives: Images of the class, more than 0.
        true_negatives: Other images that were not called the class.
        negatives: Other images, more than 0.
    """

    true_positives: float
    positives: float
    true_negatives: float
    negatives: float

    def __post_init__(self) -> None:
        """Refuse counts that cannot be.

        Raises:
            DataError: when a side has no labelled images, or more were right than there were.
        """
        for right, total in ((self.true_positives, self.positives), (self.true_negatives, self.negatives)):
            if not (total > 0 and 0 <= right <= total * (1 + 1e-12)):
                raise DataError(
                    f"A classifier's errors need labelled images on both sides; found {right} right out of {total}. "
                    "Label more images of the missing class."
                )

    @property
    def sensitivity(self) -> float:
        """P(called the class | is the class)."""
        return self.true_positives / self.positives

    @property
    def specificity(self) -> float:
        """P(not called the class | is not the class)."""
        return self.true_negatives / self.negatives

    @property
    def youden(self) -> float:
        """Youden's J: 1 for a perfect classifier, 0 for one that says nothing."""
        return self.sensitivity + self.specificity - 1


@final
@dataclass(frozen=True, slots=True)
class CorrectedShare:
    """A share corrected for the classifier's errors.

    Attributes:
        value: Rogan-Gladen point estimate, moved into ``[low, high]``.
        low: Lower bound of the two-sided Lang-Reiczigel interval.
        high: Upper bound.
        level: Its confidence level.
        raw: Share of images that were called the class, uncorrected.
        adjusted: Lang and Reiczigel's pi' (shrunk counts), before clipping.
        youden: J of the classifier for this class.
        clipped: True when the point or a bound fell outside [0, 1] and was clipped: the classifier's errors on the
            labelled images do not fit these images well, or the share is at the border.
    """

    value: float
    low: float
    high: float
    level: float
    raw: float
    adjusted: float
    youden: float
    clipped: bool


@final
@dataclass(frozen=True, slots=True, eq=False)
class ClassShares:
    """Maximum-likelihood shares of all classes together.

    Attributes:
        shares: ``(K,)`` float64, on the simplex.
        labelled_rate: Share of images expected to get a label at all (not ``"unknown"``) by the confusion counts.
    """

    shares: Floats
    labelled_rate: float


def rogan_gladen(raw: float, sensitivity: float, specificity: float) -> float:
    """Share corrected for classifier error, (p + Sp - 1)/(Se + Sp - 1). Unclipped: noise can carry it outside [0, 1].

    Raises:
        DataError: when Youden's J is below ``MIN_YOUDEN``.
    """
    youden = sensitivity + specificity - 1
    _refuse_uninformative(youden)
    return (raw + specificity - 1) / youden


def lang_reiczigel(positives: float, n: float, errors: BinaryErrors, level: float = 0.95) -> CorrectedShare:
    """Share corrected for classifier error, with an interval that carries the uncertainty of the errors too.

    Measured coverage over a grid of shares, sizes and classifiers is in ``docs/checks/fairness-representation.md``.

    Args:
        positives: Images called the class, 0 <= positives <= n.
        n: Images.
        errors: Counts on labelled images that are independent of the n.
        level: Two-sided confidence level.

    Raises:
        DataError: when Youden's J is below ``MIN_YOUDEN``, or the counts cannot be.
    """
    if not (n > 0 and 0 <= positives <= n * (1 + 1e-12)):
        raise DataError(f"A share needs 0 <= positives <= n with n > 0; found {positives} of {n}.")
    _refuse_uninformative(errors.youden)
    z = float(ndtri(0.5 + level / 2))
    n_adjusted = n + z * z
    p = (positives + z * z / 2) / n_adjusted
    n1, n0 = errors.positives + 2, errors.negatives + 2
    se, sp = (errors.true_positives + 1) / n1, (errors.true_negatives + 1) / n0
    youden = se + sp - 1
    share = (p + sp - 1) / youden
    var_se, var_sp = se * (1 - se) / n1, sp * (1 - sp) / n0
    centre = share + 2 * z * z * (share * var_se - (1 - share) * var_sp)
    width = z / youden * sqrt(p * (1 - p) / n_adjusted + share**2 * var_se + (1 - share) ** 2 * var_sp)
    point = rogan_gladen(positives / n, errors.sensitivity, errors.specificity)
    low, high = _clip(centre - width), _clip(centre + width)
    return CorrectedShare(
        value=min(max(_clip(point), low), high),
        low=low,
        high=high,
        level=level,
        raw=positives / n,
        adjusted=share,
        youden=errors.youden,
        clipped=(centre - width < 0 or centre + width > 1 or not 0 <= point <= 1),
    )


def em_shares(observed: Floats, rates: Floats) -> Floats:
    """Maximum-likelihood shares on the simplex from observed shares, by EM. Never negative, always sums to one.

    p_i <- sum_j o_j p_i C_ij / sum_k p_k C_kj, from the uniform start. Biased towards the interior at the border, as
    every estimate on the simplex is.

    Args:
        observed: ``(..., K)`` observed shares, each row sums to one.
        rates: ``(..., K, K)`` with ``rates[i, j]`` = P(called j | is i); rows sum to one.

    Returns:
        ``(..., K)`` shares.

    Raises:
        DataError: when a class is observed that no class can be called as.
    """
    observed = np.asarray(observed, dtype=np.float64)
    rates = np.asarray(rates, dtype=np.float64)
    if np.any((rates.sum(axis=-2) <= 0) & (observed > 0)):
        raise DataError("A class is observed that the confusion counts never show; label more real images of it.")
    shape = np.broadcast_shapes(observed.shape, rates.shape[:-1])
    shares = np.full(shape, 1.0 / shape[-1])
    for _ in range(_MAX_STEPS):
        expected = np.einsum("...i,...ij->...j", shares, rates)
        ratio = np.divide(observed, expected, out=np.zeros(shape), where=expected > 0)
        updated = shares * np.einsum("...ij,...j->...i", rates, ratio)
        change = float(np.max(np.abs(updated - shares)))
        shares = updated
        if change < _TOLERANCE:
            break
    return shares


def label_counts(labels: NDArray[np.str_], classes: Sequence[str]) -> NDArray[np.int64]:
    """Count labels: ``(K + 1,)``, one per class in order, the last for ``"unknown"``.

    Raises:
        DataError: when a label is neither a class nor ``"unknown"``.
    """
    names = (*classes, UNKNOWN)
    counts = np.array([np.count_nonzero(labels == name) for name in names], dtype=np.int64)
    if int(counts.sum()) != len(labels):
        strange = sorted(set(map(str, labels.tolist())) - set(names))
        raise DataError(f"Labels {strange[:3]} are not among the classes {list(classes)} of the confusion counts.")
    return counts


def class_shares(counts: NDArray[np.int64], confusion: ConfusionCounts) -> ClassShares:
    """Shares of all classes together, corrected for confusion and for labels withheld (``"unknown"``).

    Among images that got a label the shares are found by EM; then each class is divided by its own chance of getting
    a label. An overall rate of ``"unknown"`` that differs from the labelled images' does not matter, as long as it
    differs by one factor for all classes.

    Args:
        counts: ``(K + 1,)`` labels given, the last ``"unknown"`` (see ``label_counts``).
        confusion: Errors on labelled images.

    Raises:
        DataError: when nothing was labelled, or a class was never labelled in the confusion counts.
    """
    if len(counts) != len(confusion.classes) + 1:
        raise DataError(f"{len(counts)} counts for {len(confusion.classes)} classes and 'unknown'; one each is needed.")
    if counts[:-1].sum() == 0:
        raise DataError("Every image was labelled 'unknown'; there is no share to estimate.")
    return _shares(counts.astype(np.float64), _matrix(confusion))


def one_vs_rest(confusion: ConfusionCounts, index: int, shares: Floats) -> BinaryErrors:
    """Errors of "is it class ``index``?": ``"unknown"`` counts as not called the class.

    The other classes are not equally easily mistaken for this one, so the specificity is weighted by what they
    make up of ``shares`` rather than of the labelled images; the number of negatives is the effective one, Kish's or
    the smaller that the weighted errors allow. With two classes both are the plain counts.

    Args:
        confusion: Errors on labelled images.
        index: The class.
        shares: ``(K,)`` shares of all classes in the images at hand.
    """
    matrix = _matrix(confusion)
    sizes = matrix.sum(axis=1)
    others = np.arange(len(sizes)) != index
    weights = np.where(others, shares, 0.0)
    if weights.sum() <= 0:
        weights = np.where(others, sizes, 0.0)
    weights = weights[others] / weights.sum()
    false_rates = matrix[others, index] / sizes[others]
    false_rate = float(weights @ false_rates)
    negatives = 1.0 / float(np.sum(weights**2 / sizes[others]))
    variance = float(np.sum(weights**2 * false_rates * (1 - false_rates) / sizes[others]))
    if variance > 0:
        negatives = min(negatives, false_rate * (1 - false_rate) / variance)
    return BinaryErrors(
        true_positives=float(matrix[index, index]),
        positives=float(sizes[index]),
        true_negatives=negatives * (1 - false_rate),
        negatives=negatives,
    )


def class_errors(counts: NDArray[np.int64], confusion: ConfusionCounts) -> tuple[BinaryErrors, ...]:
    """Errors of "is it class c?" for every class c, weighted to the shares that ``counts`` show (see ``one_vs_rest``).

    Raises:
        DataError: as ``class_shares``.
    """
    shares = class_shares(counts, confusion).shares
    return tuple(one_vs_rest(confusion, index, shares) for index in range(len(confusion.classes)))


def corrected_shares(
    counts: NDArray[np.int64], confusion: ConfusionCounts, level: float = 0.95
) -> tuple[CorrectedShare, ...]:
    """Each class against the rest: Rogan-Gladen point, Lang-Reiczigel interval; ``raw`` is among all images.

    Images labelled ``"unknown"`` count as not called the class, in as great a number as the confusion counts predict;
    more (or fewer) than that are taken as missing in equal proportion from all classes. ``worst_case_shares`` gives the
    bounds without this assumption.

    Args:
        counts: ``(K + 1,)`` labels given, the last ``"unknown"``.
        confusion: Errors on labelled images.
        level: Two-sided confidence level of each interval alone (not simultaneous).

    Raises:
        DataError: when Youden's J of a class is below ``MIN_YOUDEN``, or the counts cannot be.
    """
    labelled_rate = class_shares(counts, confusion).labelled_rate
    n = max(float(counts[:-1].sum()) / labelled_rate, float(counts[:-1].max()))
    found = []
    for index, errors in enumerate(class_errors(counts, confusion)):
        share = lang_reiczigel(float(counts[index]), n, errors, level)
        found.append(replace(share, raw=float(counts[index]) / float(counts.sum())))
    return tuple(found)


def worst_case_shares(
    counts: NDArray[np.int64], confusion: ConfusionCounts, level: float = 0.95
) -> tuple[CorrectedShare, ...]:
    """Each class against the rest, widened by all that the unlabelled images could hold (Manski bounds).

    The share among labelled images lies in [l, h]; with u of N images unlabelled the share among all lies in
    [l (N-u)/N, (h (N-u) + u)/N] whatever the unlabelled ones are. Without unlabelled images this is
    ``corrected_shares``.

    Args:
        counts: ``(K + 1,)`` labels given, the last ``"unknown"``.
        confusion: Errors on labelled images.
        level: Two-sided confidence level of each interval alone (not simultaneous).

    Raises:
        DataError: as ``corrected_shares``.
    """
    labelled_only = np.append(counts[:-1], 0)
    rows = tuple((*row[:-1], 0) for row in confusion.counts)
    among_labelled = corrected_shares(labelled_only, replace(confusion, counts=rows), level)
    known = float(counts[:-1].sum() / counts.sum())
    found = []
    for share in among_labelled:
        low, high = share.low * known, min(share.high * known + 1 - known, 1.0)
        value = min(max(share.value, low), high)
        found.append(replace(share, value=value, low=low, high=high, raw=share.raw * known))
    return tuple(found)


def bootstrap_shares(
    counts: NDArray[np.int64], confusion: ConfusionCounts, *, resamples: int, generator: np.random.Generator
) -> Floats:
    """Draw shares of all classes together: the counts *and* the rows of the confusion matrix are resampled.

    For descriptions of all classes at once. A cell of the confusion counts that is empty stays empty in every draw,
    so that a class's own interval is better taken from ``corrected_shares``.

    Args:
        counts: ``(K + 1,)`` labels given, the last ``"unknown"``.
        confusion: Errors on labelled images.
        resamples: How many draws.
        generator: Source of randomness.

    Returns:
        ``(resamples, K)`` shares; draws in which a class was never labelled are left out.
    """
    matrix = _matrix(confusion)
    sizes = matrix.sum(axis=1).astype(np.int64)
    total = int(counts.sum())
    observed = generator.multinomial(total, counts / total, size=resamples).astype(np.float64)
    rows = [
        generator.multinomial(size, row / row.sum(), size=resamples) for size, row in zip(sizes, matrix, strict=True)
    ]
    drawn = np.stack(rows, axis=1).astype(np.float64)
    reachable = np.all((drawn[..., :-1].sum(axis=1) > 0) | (observed[:, :-1] == 0), axis=1)
    usable = np.all(drawn[..., :-1].sum(axis=2) > 0, axis=1) & (observed[:, :-1].sum(axis=1) > 0) & reachable
    return _batch(observed[usable], drawn[usable])


def _batch(observed: Floats, matrices: Floats) -> Floats:
    labelled = matrices[..., :-1]
    label_rate = labelled.sum(axis=-1) / matrices.sum(axis=-1)
    known = observed[..., :-1] / observed[..., :-1].sum(axis=-1, keepdims=True)
    shares = em_shares(known, labelled / labelled.sum(axis=-1, keepdims=True)) / label_rate
    normalised: Floats = shares / shares.sum(axis=-1, keepdims=True)
    return normalised


def _shares(counts: Floats, matrix: Floats) -> ClassShares:
    if np.any(matrix[:, :-1].sum(axis=1) == 0):
        raise DataError(
            "A class has no labelled image that the classifier put a name to; label more real images of it."
        )
    shares = _batch(counts, matrix)
    label_rate = matrix[:, :-1].sum(axis=1) / matrix.sum(axis=1)
    return ClassShares(shares=shares, labelled_rate=float(shares @ label_rate))


def _matrix(confusion: ConfusionCounts) -> Floats:
    matrix = np.array(confusion.counts, dtype=np.float64)
    wanted = (len(confusion.classes), len(confusion.classes) + 1)
    if len(confusion.classes) < 2 or matrix.shape != wanted:
        raise DataError(
            f"Confusion counts need two or more classes and one row each with a column per class and one for "
            f"'unknown', {wanted} in all; found {matrix.shape}."
        )
    if np.any(matrix < 0) or np.any(matrix.sum(axis=1) == 0):
        raise DataError("Every class of the confusion counts needs labelled images; a row is empty or negative.")
    return matrix


def _refuse_uninformative(youden: float) -> None:
    if youden < MIN_YOUDEN:
        raise DataError(
            f"The classifier tells too little to correct a share: Youden's J is {youden:.2f}, at least {MIN_YOUDEN} is "
            "needed. Use a better classifier."
        )


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
