"""Which different training images a set of samples reproduces, by the rules of near copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence, Role
from ldm_eval_privacy.copy_rules import Control, Judged, Rules, find_control
from ldm_eval_privacy.pixel_space import PixelIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Reproduced", "Shown", "reproduced", "shown_by"]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Different training images that a set of images shows.

    Attributes:
        counts: ``(U,)`` how many of the images show each different training image.
        closest: ``(U,)`` row of the one that is closest to it, -1 where none is.
    """

    counts: NDArray[np.int64]
    closest: NDArray[np.int64]

    @property
    def different(self) -> int:
        """Training images that are shown at all."""
        return int((self.counts > 0).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Reproduced:
    """The samples, and the holdout where there is one, before the rules of near copies.

    Attributes:
        index: Different training images.
        samples: The samples' verdicts.
        exact: What they show by the exact rule.
        near: By the exact or the relative rule; None where that has too few training images.
        control: What tells chance resemblance, or why there is none.
        by_chance: Share of the different training images that as many fresh images show by the same rule, if each shows
            another one: from the half of the holdout on which the rule was not chosen. None without a control.
    """

    index: PixelIndex
    samples: Judged
    exact: Shown
    near: Shown | None
    control: Control | str
    by_chance: float | None


def reproduced(
    evidence: Evidence, arrays: Mapping[Role, NDArray[np.generic]], values: Mapping[str, float]
) -> Reproduced:
    """Put the samples before the rules, and the holdout where there is one.

    Args:
        evidence: Randomness for the control.
        arrays: From ``comparable``: ``samples``, ``training`` and perhaps ``holdout``.
        values: Settings of the rules, as in ``privacy/near_copies``.
    """
    from ldm_eval.stats.duplicates import find_duplicates

    index = PixelIndex(arrays["training"], values["grey_levels"], int(values["neighbours"]))
    rules = Rules(values["alpha"], values["threshold"], values["grey_levels"])
    judged = rules.judge(index.match(arrays["samples"]))
    control: Control | str = "There is no holdout of the samples' size."
    if "holdout" in arrays:
        different = find_duplicates(arrays["holdout"], near=values["grey_levels"]).representatives
        held = rules.judge(index.match(arrays["holdout"][different]))
        control = find_control(held, values, evidence.rng("halves of the holdout"))
    cut, by_chance = values["alpha"] * values["threshold"], None
    if isinstance(control, Control) and control.judged:
        cut = control.cut
        by_chance = min(1.0, control.false / control.judged * len(judged.exact) / index.duplicates.unique)
    near = shown_by(index, judged, _near(judged, cut)) if judged.near is not None else None
    return Reproduced(index, judged, shown_by(index, judged, judged.exact), near, control, by_chance)


def _near(judged: Judged, cut: float) -> NDArray[np.bool_]:
    return judged.exact if judged.matches.ratio is None else judged.exact | (judged.matches.ratio < cut)


def shown_by(index: PixelIndex, judged: Judged, flagged: NDArray[np.bool_]) -> Shown:
    """Count the flagged images by the different training image that each is closest to."""
    import numpy as np

    unique, matches = index.duplicates.unique, judged.matches
    rows = np.flatnonzero(flagged)
    image = index.duplicates.group[matches.nearest[rows]]
    order = np.lexsort((rows, matches.difference[rows]))[::-1]  # the closest comes last, and stays
    closest = np.full(unique, -1, dtype=np.int64)
    closest[image[order]] = rows[order]
    return Shown(np.bincount(image, minlength=unique), closest)
