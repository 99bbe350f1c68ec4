"""When an image is a near copy of a training image, and the control that says how often chance makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval_privacy.pixel_space import PixelMatches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FEWEST_CONTROLS", "Control", "Judged", "Rules", "find_control", "no_control"]

FEWEST_CONTROLS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A set put before the rules. ``near (N,)`` is None where the relative rule has too few training images."""

    matches: PixelMatches
    exact: NDArray[np.bool_]
    near: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Rules:
    """The two rules, see ``docs/checks/privacy-near-copies.md``."""

    alpha: float
    threshold: float
    grey_levels: float

    def judge(self, matches: PixelMatches) -> Judged:
        """Put every query of ``matches`` before both rules."""
        exact = matches.difference <= self.grey_levels
        if matches.ratio is None:
            return Judged(matches, exact, None)
        return Judged(matches, exact, exact | (matches.ratio / self.alpha < self.threshold))


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """The control: different fresh real images, less those that are in the training set.

    An image that is there r times counts once: r equal verdicts are not r independent ones, and its copies would lie
    on both sides of the split.

    Attributes:
        near: How many of them the published rule flags.
        overlap: How many were left out.
        ratio: ``(n,)`` distance ratios, or None where the relative rule has too few training images.
        cut: Ratio below which an image counts for the excess: the published one, or one that a fresh image undercuts
            with probability ``false_positives``, from one half of the control, where that is stricter.
        judged: Images of the other half, ``false`` of them below the cut.
    """

    near: int
    n: int
    overlap: int
    ratio: NDArray[np.float64] | None = None
    cut: float = 0.0
    judged: int = 0
    false: int = 0


def no_control(overlap: int, n: int, what: str) -> str:
    """Why so many holdout images, of which ``overlap`` are in the training set, tell nothing about chance."""
    if n - overlap < FEWEST_CONTROLS:
        why = f"at least {FEWEST_CONTROLS} images that are not are needed to tell the rate of chance resemblance"
    else:
        why = "a set that the model saw in part does not tell the rate of chance resemblance"
    return f"{overlap} of {n} different holdout images {what}; {why}. Give a holdout set without training images."


def find_control(judged: Judged, values: Mapping[str, float], rng: np.random.Generator) -> Control | str:
    """The false-positive control, or why there is none: holdout images that are training images are no control."""
    from ldm_eval.stats.proportions import clopper_pearson
    from ldm_eval.stats.roc import threshold_at

    overlap, n = int(judged.exact.sum()), len(judged.exact)
    if n - overlap < FEWEST_CONTROLS or clopper_pearson(overlap, n).low > values["max_overlap"]:
        return no_control(overlap, n, "are (nearly) training images")
    fresh = ~judged.exact
    if judged.near is None or judged.matches.ratio is None:
        return Control(0, n - overlap, overlap)
    ratio = judged.matches.ratio[fresh]
    shuffled = rng.permutation(ratio)
    calibrate, control = shuffled[: len(ratio) // 2], shuffled[len(ratio) // 2 :]
    cut = min(values["alpha"] * values["threshold"], -threshold_at(-calibrate, values["false_positives"]))
    return Control(
        int(judged.near[fresh].sum()), n - overlap, overlap, ratio, cut, len(control), int((control < cut).sum())
    )
