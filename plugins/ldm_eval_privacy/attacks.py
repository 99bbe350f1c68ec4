"""The membership attacks there are, and an attack chosen on one half of the images and judged on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence, ScoreSpec
from ldm_eval_privacy.attack_scores import AUTOENCODER, PIA, SECMI, SIMA, norms_of
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, noise_levels
from ldm_eval_privacy.membership_premise import Premise, scores_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.roc import AucEstimate, RatesAtThreshold

__all__ = ["ATTACKS", "LOSS", "OWN", "Attack", "Choice", "Judged", "choose", "columns_of", "judge"]

FALSE_POSITIVE_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: ``name`` in measurements, ``title`` for people, and the score that it reads."""

    name: str
    title: str
    score: ScoreSpec


LOSS = Attack("denoising_loss", "denoising loss", DENOISING_LOSS)
"""The one that needs no idea but how the network was trained."""

ATTACKS = (Attack("sima", "SimA", SIMA), Attack("pia", "PIA", PIA), Attack("secmi", "SecMI", SECMI), LOSS)
"""Attacks on the denoiser, the cheapest first: of equals the first is chosen."""

OWN = Attack("autoencoder", "autoencoder's reconstruction", AUTOENCODER)
"""What the autoencoder of a latent model leaks by itself."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the calibration half chose.

    Attributes:
        column: Of the score: timestep, norm, variant.
        sign: 1 where members score high, -1 where they score low.
        auc: On the calibration half, >= 1/2; flattered by having been chosen.
        words: The same in words.
    """

    column: int
    sign: float
    auc: float
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """An attack as chosen on one half and judged on the other; ``members`` and ``others`` are high for members.

    Attributes:
        attack: Which.
        choice: Its parameters.
        members: ``(M,)`` scores of judged training images.
        others: ``(N,)`` scores of judged holdout images.
        auc: With an interval of its own level.
        rates: At the threshold that the calibration half's holdout images gave.
        p_value: One-tailed, of no leak.
    """

    attack: Attack
    choice: Choice
    members: NDArray[np.float64]
    others: NDArray[np.float64]
    auc: AucEstimate
    rates: RatesAtThreshold
    p_value: float


def columns_of(score: ScoreSpec) -> list[str]:
    """What each column of a score is, in words."""
    if score.name == AUTOENCODER.name:
        return ["mean square", "mean absolute"]
    levels = [f"t = {level:g} T" for level in noise_levels(score.parameters)]
    if "norms" not in score.parameters:
        return levels
    normed = [f"{level}, {norm:g}-norm" for level in levels for norm in norms_of(score.parameters)]
    return [f"{variant}, {one}" for variant in ("PIA", "PIAN") for one in normed] if score.name == PIA.name else normed


def choose(score: ScoreSpec, inside: NDArray[np.float64], outside: NDArray[np.float64]) -> Choice:
    """Column and sign with the largest |AUC - 1/2| on the calibration half, the first of equals.

    Args:
        score: What the columns are of.
        inside: ``(M, K)`` scores of training images.
        outside: ``(N, K)`` scores of holdout images.
    """
    from ldm_eval.stats.roc import auc

    found = [auc(inside[:, column], outside[:, column]) for column in range(inside.shape[1])]
    column = max(range(len(found)), key=lambda at: abs(found[at] - 0.5))
    sign = 1.0 if found[column] >= 0.5 else -1.0
    words = f"{columns_of(score)[column]}, {'high' if sign > 0 else 'low'} means member"
    return Choice(column, sign, max(found[column], 1 - found[column]), words)


def judge(evidence: Evidence, premise: Premise, attacks: Sequence[Attack], level: float = 0.95) -> list[Judged]:
    """Choose each attack's parameters on the calibration half, and judge it on the other."""
    return [_judge(evidence, premise, attack, level) for attack in attacks]


def _judge(evidence: Evidence, premise: Premise, attack: Attack, level: float) -> Judged:
    from ldm_eval.stats.rank_sum import rank_sum_p_value
    from ldm_eval.stats.roc import auc_interval, rates_at, threshold_at

    name, members, others = attack.score.name, premise.members, premise.others
    outside = scores_of(evidence, name, "holdout", others.calibrate)
    choice = choose(attack.score, scores_of(evidence, name, "training", members.calibrate), outside)
    judged_in = choice.sign * scores_of(evidence, name, "training", members.judge)[:, choice.column]
    judged_out = choice.sign * scores_of(evidence, name, "holdout", others.judge)[:, choice.column]
    threshold = threshold_at(choice.sign * outside[:, choice.column], FALSE_POSITIVE_RATE)
    return Judged(
        attack,
        choice,
        judged_in,
        judged_out,
        auc_interval(judged_in, judged_out, level),
        rates_at(judged_in, judged_out, threshold),
        rank_sum_p_value(judged_in, judged_out),
    )
