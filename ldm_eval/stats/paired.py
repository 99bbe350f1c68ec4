"""The difference of two models' measurements whose images are shared: the same seeds, the same reference.

A measurement keeps what each image contributes to it (``Evidence.keep_contributions``). Two models sampled from the
same seeds start from the same noise, and are held against the same real images; what chance does to both of them then
cancels in the difference, and its interval is the narrower the more the two have in common.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Interval, Role
from ldm_eval.errors import DataError
from ldm_eval.stats.intervals import normal_interval

__all__ = ["PAIRED_ESTIMATOR", "Contributed", "PairedDifference", "contributed_variance", "paired_difference"]

Array = NDArray[np.float64]

PAIRED_ESTIMATOR = "influence functions, shared images paired"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Contributed:
    """One measurement with what each image contributes to it.

    Attributes:
        value: The estimate.
        contributions: Role -> ``(n,) float64``, the estimate's influence function at each image, NaN where an image was
            not used: the estimate is, to first order, its expectation plus the sum over roles of the mean contribution.
    """

    value: float
    contributions: Mapping[Role, Array]


@final
@dataclass(frozen=True, slots=True)
class PairedDifference:
    """``first - second``, with the interval of the shared images paired.

    Attributes:
        value: The difference.
        standard_error: Of the difference, shared images paired.
        unpaired_error: What it would be if nothing were shared; never compared with, only to say what pairing gained.
        interval: Two-sided and normal, for the difference of the two expectations at these set sizes.
    """

    value: float
    standard_error: float
    unpaired_error: float
    interval: Interval


def contributed_variance(contributions: Array) -> float:
    """Variance of the mean of ``contributions (n,)``, images i.i.d.; those that are NaN were not used."""
    weights = _weights(contributions)
    return float(weights @ weights)


def paired_difference(
    first: Contributed, second: Contributed, shared_roles: Collection[Role], *, level: float = 0.95
) -> PairedDifference:
    """Difference of one measure of two models, with the images that both share paired one by one.

    Args:
        first: The measure of one model.
        second: The same measure, by the same protocol, of the other.
        shared_roles: Roles whose image i is the same draw in both: ``samples`` when both models began from the same
            seeds, a set of real images when its digest is the same in both. All other roles count as independent.
        level: Of the two-sided interval.

    The variance is ``sum over images of (c1_i / n1 - c2_i / n2)^2`` over a shared role, an image unused on one side
    counting as zero there, and ``var(c1) / n1 + var(c2) / n2`` over any other; c centred, with n - 1 in the divisor.
    Order of the images matters; set sizes may differ only in roles that are not shared. It needs about 50 images.
    Where a measure is degenerate (two perfect models), contributions overstate its error by up to sqrt(2).

    Raises:
        DataError: when a shared role has contributions of different lengths, a role is missing on one side, or fewer
            than two images were used, or a value is not finite.
    """
    if set(first.contributions) != set(second.contributions):
        raise DataError(
            f"Two measurements with contributions of {sorted(first.contributions)} and {sorted(second.contributions)} "
            "cannot be compared; measure both with the same check."
        )
    if not (math.isfinite(first.value) and math.isfinite(second.value)):
        raise DataError(f"A difference was asked for of {first.value} and {second.value}; both must be finite.")
    paired = unpaired = 0.0
    for role, given in first.contributions.items():
        mine, theirs = _weights(given), _weights(second.contributions[role])
        apart = float(mine @ mine + theirs @ theirs)
        unpaired += apart
        paired += _together(mine, theirs, role) if role in shared_roles else apart
    value, error = first.value - second.value, math.sqrt(paired)
    interval = normal_interval(value, error, level, PAIRED_ESTIMATOR)
    return PairedDifference(value, error, math.sqrt(unpaired), interval)


def _together(mine: Array, theirs: Array, role: Role) -> float:
    if len(mine) != len(theirs):
        raise DataError(
            f"The {role} sets of two measurements are said to be the same images, and they hold {len(mine)} and "
            f"{len(theirs)}; compare them unpaired."
        )
    return float(np.square(mine - theirs).sum())


def _weights(contributions: Array) -> Array:
    """``(n,)``: centred contributions whose squares sum to the variance of their mean; zero where not used."""
    used = ~np.isnan(contributions)
    count = int(used.sum())
    if contributions.ndim != 1 or count < 2 or not np.isfinite(contributions[used]).all():
        raise DataError(
            f"Contributions of shape {contributions.shape}, {count} of them used, say nothing about an error: "
            "at least two images must have finite ones."
        )
    centred = np.where(used, contributions - contributions[used].mean(), 0.0)
    return np.asarray(centred / math.sqrt(count * (count - 1.0)), dtype=np.float64)
