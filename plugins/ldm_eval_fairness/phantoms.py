"""Phantoms with known shares: a generator with a chosen share, seen through a classifier with chosen errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_eval.api import UNKNOWN, AttributeLabels, ConfusionCounts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.testing.evidence import PhantomEvidence

__all__ = ["chosen_share", "classified"]

_CHECK = "fairness/representation"


def chosen_share(
    seed: int,
    *,
    share: float = 0.5,
    target: float = 0.5,
    n: int = 1000,
    labelled: int = 400,
    sensitivity: float = 0.945,
    specificity: float = 0.98,
    unknown: float = 0.0,
) -> PhantomEvidence:
    """Two groups, "a" with the chosen share; the truth of ``worst_share_gap`` is ``|share - target|``.

    Args:
        seed: Seed of the phantom.
        share: True share of "a".
        target: Its target, as if counted in the training data.
        n: Generated images.
        labelled: Labelled real images of each group.
        sensitivity: P(called "a" | is "a") among labelled images.
        specificity: P(called "b" | is "b") among labelled images.
        unknown: Chance of getting no label, for both groups.
    """
    import numpy as np

    confusion = np.array([[sensitivity, 1 - sensitivity, 0.0], [1 - specificity, specificity, 0.0]]) * (1 - unknown)
    confusion[:, -1] = unknown
    labels = classified(
        np.random.default_rng(seed),
        classes=("a", "b"),
        shares=np.array([share, 1 - share]),
        confusion=confusion,
        n=n,
        labelled=labelled,
        declared=np.array([target, 1 - target]),
    )
    return _evidence(seed, labels)


def classified(
    generator: np.random.Generator,
    *,
    classes: tuple[str, ...],
    shares: NDArray[np.float64],
    confusion: NDArray[np.float64],
    n: int,
    labelled: int,
    declared: NDArray[np.float64],
) -> AttributeLabels:
    """Labels of n images with true ``shares (K,)``, and confusion counts of another ``labelled`` images per class.

    Args:
        generator: Source of randomness.
        classes: K names.
        shares: True shares.
        confusion: ``(K, K + 1)`` chances of each label given the class, the last ``"unknown"``.
        n: Generated images.
        labelled: Labelled real images of each class.
        declared: ``(K,)`` shares in the training data.
    """
    import numpy as np

    names = np.array([*classes, UNKNOWN])
    truth = generator.choice(len(classes), size=n, p=shares)
    given = np.array([generator.choice(len(names), p=confusion[i]) for i in truth])
    counts = tuple(tuple(int(k) for k in generator.multinomial(labelled, row)) for row in confusion)
    return AttributeLabels(
        attribute="group",
        classifier="phantom",
        limits="A phantom: its errors are chosen.",
        labels=names[given],
        confusion=ConfusionCounts(classes, counts, "phantom"),
        declared={name: float(share) for name, share in zip(classes, declared, strict=True)},
    )


def _evidence(seed: int, labels: AttributeLabels) -> PhantomEvidence:
    from ldm_eval.testing.evidence import PhantomEvidence

    return PhantomEvidence(_CHECK, seed, attributes={"samples": labels})
