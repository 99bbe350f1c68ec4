"""Shares of several classes among images that were labelled by a classifier with a known confusion matrix.

Each class gets an interval of its own, against the rest (``corrected_shares``); all together are estimated by EM
(``class_shares``). ``docs/decisions/0050-corrected-shares.md`` says how the label ``"unknown"`` is treated, and why the
specificity of one class against the rest is weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN, ConfusionCounts
from ldm_eval.errors import DataError
from ldm_eval.stats.shares import BinaryErrors, CorrectedShare, lang_reiczigel

__all__ = [
    "ClassShares",
    "bootstrap_shares",
    "class_errors",
    "class_shares",
    "corrected_shares",
    "em_shares",
    "label_counts",
    "one_vs_rest",
    "worst_case_shares",
]

Floats = NDArray[np.float64]

_TOLERANCE = 1e-10
_MAX_STEPS = 20_000


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
    bounds without this assumption. With more than two classes the weights of the others are themselves estimated, and
    an interval is widened where the delta method over all classes together says that this matters.

    Args:
        counts: ``(K + 1,)`` labels given, the last ``"unknown"``.
        confusion: Errors on labelled images.
        level: Two-sided confidence level of each interval alone (not simultaneous).

    Raises:
        DataError: when Youden's J of a class is below ``MIN_YOUDEN``, or the counts cannot be.
    """
    together = class_shares(counts, confusion)
    n = max(float(counts[:-1].sum()) / together.labelled_rate, float(counts[:-1].max()))
    joint = _joint_variance(together.shares, n, _matrix(confusion))
    found = []
    for index in range(len(confusion.classes)):
        errors = one_vs_rest(confusion, index, together.shares)
        alone = _variance(float(together.shares[index]), n, errors)
        inflation = sqrt(max(joint[index] / alone, 1.0)) if len(joint) > 2 and alone > 0 else 1.0
        share = lang_reiczigel(float(counts[index]), n, errors, level, inflation=inflation)
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


def _joint_variance(shares: Floats, n: float, matrix: Floats) -> Floats:
    """``(K,)`` delta-method variances of the shares of all classes together: inverse of the confusion matrix."""
    sizes = matrix.sum(axis=1)
    rates = matrix[:, :-1] / sizes[:, None]
    shown = shares @ rates
    covariance = (np.diag(shown) - np.outer(shown, shown)) / n
    for share, row, size in zip(shares, rates, sizes, strict=True):
        covariance += share**2 * (np.diag(row) - np.outer(row, row)) / size
    inverse = np.linalg.pinv(rates.T)
    variance: Floats = np.einsum("ij,jk,ik->i", inverse, covariance, inverse)
    return variance


def _variance(share: float, n: float, errors: BinaryErrors) -> float:
    """Delta-method variance of a share against the rest, the other classes' weights taken as known."""
    se, sp = errors.sensitivity, errors.specificity
    shown = share * se + (1 - share) * (1 - sp)
    noise = share**2 * se * (1 - se) / errors.positives + (1 - share) ** 2 * sp * (1 - sp) / errors.negatives
    return (shown * (1 - shown) / n + noise) / max(errors.youden, 1e-9) ** 2


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
