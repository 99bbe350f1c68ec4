"""CLiD, the attack on image and caption: chosen on one half of the images, judged on the other, with its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ldm_eval.api import Evidence, Role, ScoreSpec
from ldm_eval_privacy.caption_scores import CAPTION_LOSSES, SHUFFLED_CAPTION_LOSSES, column_of
from ldm_eval_privacy.denoising_loss import noise_levels
from ldm_eval_privacy.membership_premise import Premise, scores_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.roc import AucEstimate, RatesAtThreshold

__all__ = ["FALSE_POSITIVE_RATE", "CaptionAttack", "Judged", "Rule", "attack", "control"]

FALSE_POSITIVE_RATE = 0.01
_WEIGHTS = (1.0, 0.5)
Captions = Literal["own", "fixed", "shuffled"]


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """Losses ``(R, L)`` of R images at L noise levels: under their caption, under none, and (mean) under its halves.

    ``halves`` is None where the caption was not halved.
    """

    caption: NDArray[np.float64]
    empty: NDArray[np.float64]
    halves: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to make a score of the losses of an image; the score is high for members.

    ``S = sign * (weight * R(D) - (1 - weight) * R(L))``: L is the loss under the caption, D how much lower it is than
    under the reduced captions, and R subtracts the median and divides by the interquartile range of the calibration
    half.

    Attributes:
        level: Number of the noise level, or None for the mean of all.
        halved: Whether the reduced captions are both halves and no caption (their mean), or no caption alone.
        weight: Of the gain D; the loss L has the rest.
        sign: 1, or -1 where the calibration half says the opposite of what the attack expects.
        centre: Medians of D and L.
        scale: Interquartile ranges of D and L.
    """

    level: int | None
    halved: bool
    weight: float
    sign: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def words(self) -> str:
        """The rule in words."""
        levels = noise_levels(CAPTION_LOSSES.parameters)
        at = "all noise levels" if self.level is None else f"t = {levels[self.level]:g} T"
        over = "reduced captions" if self.halved else "no caption"
        mixed = "" if self.weight == 1 else ", with the loss itself"
        return f"gain over {over} at {at}{mixed}, {'high' if self.sign > 0 else 'low'} means member"

    def score(self, told: _Told) -> NDArray[np.float64]:
        """``(R,)``, high for members."""
        gain, loss = _parts(self, told)
        gain, loss = (gain - self.centre[0]) / self.scale[0], (loss - self.centre[1]) / self.scale[1]
        return self.sign * (self.weight * gain - (1 - self.weight) * loss)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A rule on the judged half: scores of ``members`` and ``others``, and the AUC."""

    rule: Rule
    members: NDArray[np.float64]
    others: NDArray[np.float64]
    auc: AucEstimate


@dataclass(frozen=True, slots=True, eq=False)
class CaptionAttack:
    """The attack, and how often it is right at a threshold that the calibration half's holdout images gave."""

    judged: Judged
    rates: RatesAtThreshold


def attack(evidence: Evidence, premise: Premise) -> CaptionAttack:
    """Choose the rule on the calibration half and judge it on the other."""
    from ldm_eval.stats.roc import rates_at, threshold_at

    inside = _told(evidence, "training", premise.members.calibrate, "own")
    outside = _told(evidence, "holdout", premise.others.calibrate, "own")
    rule = _choose(inside, outside, (False, True))
    judged = _judge(evidence, premise, rule, "own")
    threshold = threshold_at(rule.score(outside), FALSE_POSITIVE_RATE)
    return CaptionAttack(judged, rates_at(judged.members, judged.others, threshold))


def control(evidence: Evidence, premise: Premise, rule: Rule, captions: Captions) -> Judged:
    """What the attack sees with other captions.

    With shuffled captions ``rule`` is used as it is. With one caption for all the best rule for that is chosen on the
    calibration half: what is left is what the images give away without their captions.
    """
    if captions == "fixed":
        inside = _told(evidence, "training", premise.members.calibrate, captions)
        rule = _choose(inside, _told(evidence, "holdout", premise.others.calibrate, captions), (False,))
    return _judge(evidence, premise, rule, captions)


def _judge(evidence: Evidence, premise: Premise, rule: Rule, captions: Captions) -> Judged:
    from ldm_eval.stats.roc import auc_interval

    members = rule.score(_told(evidence, "training", premise.members.judge, captions))
    others = rule.score(_told(evidence, "holdout", premise.others.judge, captions))
    return Judged(rule, members, others, auc_interval(members, others))


def _choose(inside: _Told, outside: _Told, halved: Sequence[bool]) -> Rule:
    """The rule with the largest |AUC - 1/2|, the first of equals."""
    from ldm_eval.stats.roc import auc

    best, furthest = None, -1.0
    for level in (None, *range(inside.caption.shape[1])):
        for reduced in halved:
            for weight in _WEIGHTS:
                rule = _scaled(Rule(level, reduced, weight), inside, outside)
                found = auc(rule.score(inside), rule.score(outside)) - 0.5
                if abs(found) > furthest:
                    sign = 1.0 if found >= 0 else -1.0
                    best = Rule(level, reduced, weight, sign, rule.centre, rule.scale)
                    furthest = abs(found)
    return best or Rule(None, False, 1.0)


def _scaled(rule: Rule, inside: _Told, outside: _Told) -> Rule:
    import numpy as np

    both = zip(_parts(rule, inside), _parts(rule, outside), strict=True)
    low, middle, high = zip(*(np.quantile(np.concatenate(one), (0.25, 0.5, 0.75)) for one in both), strict=True)
    scale = [float(top - bottom) or 1.0 for top, bottom in zip(high, low, strict=True)]
    return Rule(rule.level, rule.halved, rule.weight, 1.0, (float(middle[0]), float(middle[1])), (scale[0], scale[1]))


def _parts(rule: Rule, told: _Told) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gain D and the loss L of every image."""
    import numpy as np

    reduced = told.empty if told.halves is None or not rule.halved else (told.empty + 2 * told.halves) / 3
    gain = reduced - told.caption

    def at(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values.mean(axis=1) if rule.level is None else values[:, rule.level], dtype=np.float64)

    return at(gain), at(told.caption)


def _told(evidence: Evidence, role: Role, rows: NDArray[np.int64], captions: Captions) -> _Told:
    own = scores_of(evidence, CAPTION_LOSSES.name, role, rows)
    empty = _under(own, CAPTION_LOSSES, "empty")
    if captions == "fixed":
        return _Told(_under(own, CAPTION_LOSSES, "fixed"), empty, None)
    spec = SHUFFLED_CAPTION_LOSSES if captions == "shuffled" else CAPTION_LOSSES
    losses = scores_of(evidence, spec.name, role, rows) if captions == "shuffled" else own
    halves = (_under(losses, spec, "first_half") + _under(losses, spec, "second_half")) / 2
    return _Told(_under(losses, spec, "own"), empty, halves)


def _under(losses: NDArray[np.float64], spec: ScoreSpec, variant: str) -> NDArray[np.float64]:
    """``(R, L)``: the losses under one of the captions."""
    levels = range(len(noise_levels(spec.parameters)))
    return losses[:, [column_of(spec.parameters, level, variant) for level in levels]]
