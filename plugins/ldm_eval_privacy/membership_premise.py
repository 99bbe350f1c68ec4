"""What every membership test rests on: sets without duplicates or overlap, random halves, and the blind classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence, Invalid, NotApplicable, Role, Table
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval_privacy.blind import BlindResult

__all__ = ["FEWEST", "LOST", "PREMISE_SETTINGS", "Premise", "SetHalves", "blind_table", "establish", "scores_of"]

FEWEST = 50
"""Fewest different scored images of each set: with 25 and 25 judged, an AUC of 0.80 is seen with probability 0.95."""

LOST = 0.025
"""Share of runs that the blind classifier calls Invalid by chance."""

PREMISE_SETTINGS: Mapping[str, float] = MappingProxyType(
    {"grey_levels": 4.0, "max_overlap": 0.01, "blind_images": 2000.0, "max_side": 64.0}
)
"""Settings of every membership check: what counts as one image, how many holdout images may be training images, how
many images of each set teach the blind classifier, and at which side images are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class SetHalves:
    """Rows of one set (training or holdout) by their use; ``learn`` adds unscored images for the blind classifier."""

    calibrate: NDArray[np.int64]
    judge: NDArray[np.int64]
    learn: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Premise:
    """A premise that holds.

    Attributes:
        members: Halves of the training set.
        others: Halves of the holdout set.
        blind: What the blind classifier saw: no difference.
    """

    members: SetHalves
    others: SetHalves
    blind: Sequence[BlindResult]


def establish(evidence: Evidence, check: str, scores: Sequence[str]) -> Premise | NotApplicable | Invalid:
    """De-duplicate both sets, look for overlap, divide them at random, and let the blind classifier look at them.

    Args:
        evidence: With images and features of training and holdout.
        check: Id of the check, for messages.
        scores: Names of the scores that an image must have to be used.

    Raises:
        ConfigError: for a setting that the check does not have.
    """
    halves = _halves(evidence, positive_settings(check, PREMISE_SETTINGS, evidence.parameters), scores)
    if isinstance(halves, NotApplicable | Invalid):
        return halves
    members, others = halves
    blind = _blind(evidence, members, others)
    seen = [result for result in blind if result.sees_a_difference]
    return Invalid(_why_invalid(seen[0])) if seen else Premise(members, others, blind)


def scores_of(evidence: Evidence, name: str, role: Role, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(R, K)`` scores of these rows of a set, all of which were scored."""
    import numpy as np

    scores = evidence.scores(name, role)
    position = {int(row): at for at, row in enumerate(scores.index)}
    return np.asarray(scores.values[[position[int(row)] for row in rows]], dtype=np.float64)


def blind_table(blind: Sequence[BlindResult]) -> Table:
    """What the blind classifier saw, for the card."""
    rows = tuple((r.name, r.auc.value, r.auc.interval.low, r.auc.interval.high, r.auc.positives) for r in blind)
    return Table(
        "blind_classifier",
        "Can the two sets be told apart without the model?",
        ("what it saw", "AUC", "low", "high", "training images judged"),
        rows,
        note="Lower bounds do not exceed 0.5, so a difference between the sets is not what the attack sees.",
    )


def _why_invalid(result: BlindResult) -> str:
    interval = result.auc.interval
    return (
        f"Training and holdout images can be told apart without the model: from {result.name} alone with AUC "
        f"{result.auc.value:.3f} (lower bound {interval.low:.3f} > 0.5, {interval.estimator}, level "
        f"{interval.level:g}). A membership test would see that difference too. Take the holdout set from the same "
        "source, stored and processed the same way."
    )


def _halves(
    evidence: Evidence, values: dict[str, float], scores: Sequence[str]
) -> tuple[SetHalves, SetHalves] | NotApplicable | Invalid:
    import numpy as np

    from ldm_eval.stats.duplicates import find_duplicates
    from ldm_eval.stats.proportions import clopper_pearson
    from ldm_eval_privacy.pixel_space import PixelIndex, comparable, same_size

    sets = [evidence.images("training"), evidence.images("holdout")]
    if not same_size(sets):
        return NotApplicable("Training and holdout images have different sizes; give both at the model's size.")
    training, holdout = comparable(sets, int(values["max_side"]))
    index = PixelIndex(training, values["grey_levels"], neighbours=len(training))
    known = index.match(holdout).difference <= values["grey_levels"]
    if known.all() or clopper_pearson(int(known.sum()), len(known)).low > values["max_overlap"]:
        return Invalid(
            f"{int(known.sum())} of {len(known)} holdout images are (nearly) training images: they are members, not "
            "non-members. Remove them from the holdout set."
        )
    fresh = np.zeros(len(holdout), dtype=bool)
    fresh[find_duplicates(holdout, near=values["grey_levels"]).representatives] = True
    most = int(values["blind_images"])
    members = _split(evidence, "training", index.duplicates.representatives, most, scores)
    others = _split(evidence, "holdout", np.flatnonzero(fresh & ~known), most, scores)
    counts = [len(half.calibrate) + len(half.judge) for half in (members, others)]
    if min(counts) < FEWEST:
        return NotApplicable(
            f"A membership test needs {FEWEST} different scored images of each set; after removing duplicates there "
            f"are {counts[0]} of training and {counts[1]} of holdout. Give more images."
        )
    return members, others


def _split(evidence: Evidence, role: Role, usable: NDArray[np.int64], most: int, scores: Sequence[str]) -> SetHalves:
    """Divide the usable scored images at random; unscored ones only teach the blind classifier."""
    import numpy as np

    has_all = np.ones(len(usable), dtype=bool)
    for name in scores:
        has_all &= np.isin(usable, evidence.scores(name, role).index)
    scored, unscored = np.asarray(usable[has_all], np.int64), np.asarray(usable[~has_all], np.int64)
    order = evidence.rng(f"halves of {role}").permutation(scored)
    half = len(order) // 2
    calibrate, judge = np.sort(order[:half]), np.sort(order[half:])
    more = evidence.rng(f"unscored of {role}").permutation(unscored)  # in the order of a folder the first are one class
    return SetHalves(calibrate, judge, np.concatenate([calibrate, more])[:most])


def _blind(evidence: Evidence, members: SetHalves, others: SetHalves) -> list[BlindResult]:
    from ldm_eval_privacy.blind import judge_blindly
    from ldm_eval_privacy.data_views import SetRows, data_views

    rows = [SetRows(halves.learn, halves.judge) for halves in (members, others)]
    return judge_blindly(data_views(evidence, *rows))
