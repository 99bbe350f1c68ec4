"""One share among images that were labelled by a two-way classifier with known errors.

A classifier that is right 95 % of the time does not show a share of 50 % as 50 %. What is observed is the true share
seen through the classifier's errors; this module looks back through them, and its interval carries both the sampling
noise of the images and the uncertainty of the error rates themselves. ``class_shares`` does it for several classes.

Sources: Rogan & Gladen 1978 (point), Lang & Reiczigel 2014 (interval), CLEAM arXiv:2302.03883 (known answers; its own
interval covers far below its nominal level and is not used).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import final

from scipy.special import betaincinv, ndtri

from ldm_eval.errors import DataError

__all__ = ["MIN_YOUDEN", "BinaryErrors", "CorrectedShare", "lang_reiczigel", "rogan_gladen"]

MIN_YOUDEN = 0.5
"""Below this J = sensitivity + specificity - 1 a classifier says too little for a share to be corrected: abstain."""


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
        outside: True when the whole interval fell outside [0, 1]: no share explains what was seen, so the errors on
            the labelled images are not the errors on these. The bounds then mean nothing.
    """

    value: float
    low: float
    high: float
    level: float
    raw: float
    adjusted: float
    youden: float
    clipped: bool
    outside: bool = False


def rogan_gladen(raw: float, sensitivity: float, specificity: float) -> float:
    """Share corrected for classifier error, (p + Sp - 1)/(Se + Sp - 1). Unclipped: noise can carry it outside [0, 1].

    Raises:
        DataError: when Youden's J is below ``MIN_YOUDEN``.
    """
    youden = sensitivity + specificity - 1
    _refuse_uninformative(youden)
    return (raw + specificity - 1) / youden


def lang_reiczigel(
    positives: float, n: float, errors: BinaryErrors, level: float = 0.95, *, inflation: float = 1.0
) -> CorrectedShare:
    """Share corrected for classifier error, with an interval that carries the uncertainty of the errors too.

    Measured coverage over a grid of shares, sizes and classifiers is in ``docs/checks/fairness-representation.md``.

    Args:
        positives: Images called the class, 0 <= positives <= n.
        n: Images.
        errors: Counts on labelled images that are independent of the n.
        level: Two-sided confidence level.
        inflation: Factor on the width for variance that these counts do not show; 1 is the published interval.

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
    noise = sqrt(p * (1 - p) / n_adjusted + share**2 * var_se + (1 - share) ** 2 * var_sp)
    width = z / youden * noise * inflation
    point = rogan_gladen(positives / n, errors.sensitivity, errors.specificity)
    low, high = _clip(centre - width), _clip(centre + width)
    if high == 0.0:
        high = _clip(_largest_share(positives, n, level) / se)
    elif low == 1.0:
        low = _clip(1.0 - _largest_share(n - positives, n, level) / sp)
    return CorrectedShare(
        value=min(max(_clip(point), low), high),
        low=low,
        high=high,
        level=level,
        raw=positives / n,
        adjusted=share,
        youden=errors.youden,
        clipped=(centre - width < 0 or centre + width > 1 or not 0 <= point <= 1),
        outside=(centre + width < 0 or centre - width > 1),
    )


def _largest_share(count: float, n: float, level: float) -> float:
    """Upper Clopper-Pearson bound of ``count`` in ``n``.

    Where the published interval lies wholly outside [0, 1], the classifier errs less on these images than on the
    labelled ones. Clipping would leave an interval of no width, on which any rule is decided; the share that the labels
    allow if the classifier made no such error at all is the honest bound.
    """
    return 1.0 if count >= n else float(betaincinv(count + 1, n - count, 0.5 + level / 2))


def _refuse_uninformative(youden: float) -> None:
    if youden < MIN_YOUDEN:
        raise DataError(
            f"The classifier tells too little to correct a share: Youden's J is {youden:.2f}, at least {MIN_YOUDEN} is "
            "needed. Use a better classifier."
        )


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
