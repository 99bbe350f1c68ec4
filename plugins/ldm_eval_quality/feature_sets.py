"""The sets of features that a distance is taken between: which are there, and usable."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from ldm_eval.api import Evidence, Invalid, NotApplicable, Role
from ldm_eval.errors import EvidenceError
from ldm_eval.stats.feature_sets import LARGEST, rows_not_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MINIMUM",
    "REAL_COMPANIONS",
    "companions",
    "refusal",
    "repeats_note",
    "usable_features",
]

MINIMUM = 50
"""Fewest images on each side. Below it the bias of a distance is larger than most differences between models."""

_REPEATS = 0.05
"""Share of repeated reference images from which the reader is told; one in twenty moves nothing yet."""

REAL_COMPANIONS: tuple[Role, ...] = ("training", "holdout")
"""The other real sets a distance is taken to, where they are there."""


def refusal(evidence: Evidence, minimum: int = MINIMUM) -> NotApplicable | Invalid | None:
    """Why samples and reference cannot be compared, or None when they can.

    Raises:
        EvidenceError: when features are not finite: that is a fault of the extractor or the images, not an answer.
    """
    for role in ("samples", "reference"):
        count = len(usable_features(evidence, role))
        if count < minimum:
            return NotApplicable(
                f"The {role} set has {count} images and this check needs at least {minimum}; give it more images."
            )
    reference = usable_features(evidence, "reference")
    if not np.ptp(reference, axis=0).any():
        return Invalid(
            f"All {len(reference)} reference images have one and the same feature vector; "
            "check that the reference holds different images and that the extractor sees them."
        )
    return None


def usable_features(evidence: Evidence, role: Role) -> NDArray[np.float32]:
    """The features of a role, refused when a value is not finite.

    Raises:
        EvidenceError: naming the images whose features are not finite.
    """
    features = evidence.features(role)
    bad = rows_not_finite(features)
    if len(bad):
        raise EvidenceError(
            f"{len(bad)} of {len(features)} feature vectors of the {role} set are not finite or beyond {LARGEST:g} "
            f"(first: image {bad[0]}); "
            f"look at these images and at the extractor '{evidence.extractor().name}'."
        )
    return features


def companions(evidence: Evidence, minimum: int = MINIMUM) -> tuple[Role, ...]:
    """Training and holdout, those of them that are there with at least ``minimum`` images."""
    return tuple(role for role in REAL_COMPANIONS if evidence.has(role) and len(evidence.images(role)) >= minimum)


def repeats_note(reference: NDArray[np.float32]) -> str:
    """A sentence where many reference images repeat another, which no interval here allows for; else nothing.

    The parts of the reference then share images: real looks closer to real than it is, and a perfect model too far.
    """
    repeats = len(reference) - len({blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(reference)})
    if repeats <= _REPEATS * len(reference):
        return ""
    return (
        f" {repeats} of the {len(reference)} reference images repeat another one, so the floor reads too good and the "
        "interval is too narrow: give each image once."
    )
