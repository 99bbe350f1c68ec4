"""Generators that draw one group less well than another, or change the shares of groups, by a chosen amount."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_eval.api import AttributeLabels, ConfusionCounts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.testing.evidence import PhantomEvidence

__all__ = ["amplified_share", "drawn_groups"]

_CLASSES = ("a", "b")


def drawn_groups(
    seed: int,
    *,
    shift_a: float = 0.0,
    shift_b: float = 0.0,
    share: float = 0.5,
    right: float = 0.96,
    n: int = 500,
    m: int = 1000,
    dimension: int = 8,
    distance: float = 2.0,
) -> PhantomEvidence:
    """Two groups N(c, I), of which the model draws each with every feature off by its own shift.

    The kernel distance of N(c + shift, I) to N(c, I) has a closed form M(shift), the same for both groups, whose
    centres ``distance e_1`` and ``distance e_2`` are mirror images. At ``share`` 0.5 the images called "b" are "b" with
    chance ``right`` on both sides, what is mistaken in them cancels, and with ``shift_a = 0`` the distance of those
    called "b" is ``right^2 M`` and of those called "a" ``(1 - right)^2 M``: the gap is ``(2 right - 1) M``.

    Args:
        seed: Seed of the phantom.
        shift_a: Standard deviations by which every feature of generated "a" is off.
        shift_b: The same for "b".
        share: True share of "a" among generated images; it is a half of the real ones.
        right: Chance of either group to be called by its name, in all sets alike.
        n: Generated images.
        m: Real images.
        dimension: Features.
        distance: Of each centre from the origin.
    """
    import numpy as np

    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 70))
    generated, real = (rng.random(n) >= share).astype(np.int64), (rng.random(m) >= 0.5).astype(np.int64)
    centres = distance * np.eye(2, dimension)
    shifts = np.array([shift_a, shift_b])
    features = {
        "samples": centres[generated] + shifts[generated, None] + rng.standard_normal((n, dimension)),
        "reference": centres[real] + rng.standard_normal((m, dimension)),
    }
    counts = tuple(int(rng.binomial(400, right)) for _ in _CLASSES)
    confusion = ((counts[0], 400 - counts[0], 0), (400 - counts[1], counts[1], 0))
    return PhantomEvidence(
        "fairness/group_quality",
        seed,
        features={role: values.astype(np.float32) for role, values in features.items()},  # type: ignore[misc]
        attributes={
            "samples": _labels(rng, generated, right, confusion),
            "reference": _labels(rng, real, right, confusion),
        },
    )


def _labels(
    rng: np.random.Generator, truth: NDArray[np.int64], right: float, confusion: tuple[tuple[int, ...], ...]
) -> AttributeLabels:
    import numpy as np

    called = np.where(rng.random(len(truth)) < right, truth, 1 - truth)
    return AttributeLabels(
        attribute="group",
        classifier="phantom",
        limits="A phantom: its errors are chosen.",
        labels=np.array(_CLASSES)[called],
        confusion=ConfusionCounts(_CLASSES, confusion, "phantom"),
        declared={},
    )


def amplified_share(
    seed: int,
    *,
    share: float = 0.6,
    training: float = 0.6,
    sensitivity: float = 0.945,
    specificity: float = 0.98,
    n: int = 1000,
    m: int = 1600,
    labelled: int = 400,
) -> PhantomEvidence:
    """Two groups, "a" with a share of exactly ``training`` of m training images and with chance ``share`` when drawn.

    ``amplification`` is ``share - training`` when "a" is the larger group of the training data.

    Args:
        seed: Seed of the phantom.
        share: Chance of "a" in a generated image.
        training: Share of "a" among the training images, up to rounding to whole images.
        sensitivity: P(called "a" | is "a"), in both sets and among labelled images.
        specificity: P(called "b" | is "b").
        n: Generated images.
        m: Training images.
        labelled: Labelled real images of each group, in neither set.
    """
    import numpy as np

    from ldm_eval.testing.evidence import PhantomEvidence, set_of_features

    rng = np.random.default_rng((seed, 71))
    called_a = np.array([sensitivity, 1 - specificity])
    truth = {
        "samples": (rng.random(n) >= share).astype(np.int64),
        "training": (np.arange(m) >= round(training * m)).astype(np.int64),
    }
    hits = rng.binomial(labelled, called_a)
    rows = tuple((int(k), labelled - int(k), 0) for k in hits)
    attributes = {
        role: AttributeLabels(
            attribute="group",
            classifier="phantom",
            limits="A phantom: its errors are chosen.",
            labels=np.where(rng.random(len(of)) < called_a[of], *_CLASSES).astype("<U7"),
            confusion=ConfusionCounts(_CLASSES, rows, "phantom"),
            declared={},
        )
        for role, of in truth.items()
    }
    images = {role: set_of_features(rng.random((len(of), 1), dtype=np.float32), role) for role, of in truth.items()}
    return PhantomEvidence("fairness/amplification", seed, images=images, attributes=attributes)  # type: ignore[arg-type]
