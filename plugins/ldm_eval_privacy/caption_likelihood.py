"""Membership inference from image and caption (CLiD): how much better does the model know an image by its caption?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    Alarm,
    Evidence,
    Figure,
    Finding,
    Interval,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Role,
    SignatureValue,
)
from ldm_eval_privacy.caption_attack import FALSE_POSITIVE_RATE, CaptionAttack, Judged, attack, control
from ldm_eval_privacy.caption_scores import CAPTION_LOSSES, SHUFFLED_CAPTION_LOSSES
from ldm_eval_privacy.caption_words import CAPTIONS_LOST, judge_captions
from ldm_eval_privacy.membership_premise import (
    FEWEST,
    LOST,
    PREMISE_SETTINGS,
    Premise,
    SetHalves,
    blind_table,
    establish,
)
from ldm_eval_privacy.roc_series import guessing, roc_series
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    from ldm_eval_privacy.blind import BlindResult

__all__ = ["CaptionLikelihood"]

_SCORED = "scored images of each set"
_HALF = {"trials": 0.5, "fewest": FEWEST}
_LOST = LOST + CAPTIONS_LOST


class CaptionLikelihood:
    """AUC of CLiD, chosen on one half of the captioned images and judged on the other, beside its two controls."""

    id: ClassVar[str] = "privacy/caption_likelihood"
    title: ClassVar[str] = "Membership inference from images and captions"
    question: ClassVar[str] = "Can someone with the model and a caption tell whether the image was trained on?"
    settings: ClassVar[tuple[str, ...]] = tuple(PREMISE_SETTINGS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "caption_likelihood_auc*": Planning(
            "auc",
            _SCORED,
            0.5,
            CAPTION_LOSSES.max_images,
            {"judged": 0.5, "chosen": 1.0, "lost": _LOST, "fewest": FEWEST},
        ),
        "caption_likelihood_tpr_*": Planning(
            "proportion", _SCORED, FALSE_POSITIVE_RATE, CAPTION_LOSSES.max_images, _HALF
        ),
        "caption_likelihood_*_rate": Planning("proportion", _SCORED, None, CAPTION_LOSSES.max_images, _HALF),
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training", "holdout"),
        features=("training", "holdout"),
        scores=(CAPTION_LOSSES, SHUFFLED_CAPTION_LOSSES),
    )
    # 3.5 % of the runs are Invalid by chance (the level of the blind classifiers), and then raise no alarm.
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="caption_likelihood_auc",
        alarm=Alarm("low", ">", 0.5),
        catches=PhantomCase("ldm_eval_privacy.caption_phantoms:memoriser", "every pair of training known by heart"),
        leaves_alone=PhantomCase(
            "ldm_eval_privacy.caption_phantoms:exact_law", "the exact laws of words, and no image", truth=0.5
        ),
        power=0.9,
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Check the premise with the blind classifiers, then attack.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        for role in ("training", "holdout"):
            if evidence.images(role).prompts is None:
                return NotApplicable(f"The {role} images have no captions: give them a column 'prompt' in their CSV.")
        names = (CAPTION_LOSSES.name, SHUFFLED_CAPTION_LOSSES.name)
        found = establish(evidence, self.id, names)
        if isinstance(found, NotApplicable | Invalid):
            return found
        premise = _captioned(evidence, found)
        if isinstance(premise, NotApplicable):
            return premise
        words = _blind(evidence, premise)
        if words.sees_a_difference:
            return Invalid(_why_invalid(words))
        done = attack(evidence, premise)
        fixed = control(evidence, premise, done.judged.rule, "fixed")
        shuffled = control(evidence, premise, done.judged.rule, "shuffled")
        return [
            *_measurements(evidence, done, fixed, shuffled),
            blind_table([*premise.blind, words]),
            _figure(done.judged, fixed, shuffled),
        ]


def _captioned(evidence: Evidence, premise: Premise) -> Premise | NotApplicable:
    """The premise without the images that have no caption."""
    import numpy as np

    def of(role: Role, halves: SetHalves) -> SetHalves:
        captions = _captions(evidence, role)
        has_one = np.asarray([bool(caption.strip()) for caption in captions])
        calibrate, judge = (rows[has_one[rows]] for rows in (halves.calibrate, halves.judge))
        return SetHalves(calibrate, judge, halves.learn[has_one[halves.learn]])

    members, others = of("training", premise.members), of("holdout", premise.others)
    counts = [len(half.calibrate) + len(half.judge) for half in (members, others)]
    if min(counts) < FEWEST or min(len(h.judge) for h in (members, others)) < FEWEST // 4:
        return NotApplicable(
            f"A membership test needs {FEWEST} different scored images with captions of each set; there are "
            f"{counts[0]} of training and {counts[1]} of holdout. Give more captions."
        )
    return replace(premise, members=members, others=others)


def _captions(evidence: Evidence, role: Role) -> list[str]:
    prompts = evidence.images(role).prompts
    return [] if prompts is None else [str(prompt) for prompt in prompts]


def _blind(evidence: Evidence, premise: Premise) -> BlindResult:
    training, holdout = _captions(evidence, "training"), _captions(evidence, "holdout")
    members, others = premise.members, premise.others
    return judge_captions(
        [training[row] for row in members.learn],
        [holdout[row] for row in others.learn],
        [training[row] for row in members.judge],
        [holdout[row] for row in others.judge],
    )


def _why_invalid(result: BlindResult) -> str:
    interval = result.auc.interval
    return (
        f"Training and holdout captions can be told apart without the model and the images: by their words with AUC "
        f"{result.auc.value:.3f} (lower bound {interval.low:.3f} > 0.5, {interval.estimator}, level "
        f"{interval.level:g}). A test that reads captions would see that difference too. Take holdout images "
        "whose captions were written in the same way."
    )


def _measurements(evidence: Evidence, done: CaptionAttack, fixed: Judged, shuffled: Judged) -> list[Measurement]:
    from ldm_eval.stats.roc import detectable_auc

    judged, rates = done.judged, done.rates
    n_in, n_out = len(judged.members), len(judged.others)

    def measured(name: str, value: float, interval: Interval, n: int, unit: str, note: str) -> Measurement:
        return evidence.measurement(
            f"caption_likelihood_{name}",
            value,
            interval,
            n=n,
            unit=unit,
            direction="lower" if name in ("auc", "tpr_at_1_percent_fpr") else "none",
            against="training",
            uses_extractor=False,
            group=None,
            floor=None,
            note=note,
            **_protocol(evidence),
        )

    def area(name: str, of: Judged, note: str) -> Measurement:
        return measured(name, of.auc.value, of.auc.interval, n_in + n_out, "AUC, 0.5 is chance", note)

    return [
        area(
            "auc",
            judged,
            f"Primary. Attack advantage on {n_in} training and {n_out} holdout images, not a privacy guarantee: "
            f"{judged.rule.words}, as chosen on the other half. With one caption for all images "
            f"{_range(fixed)} is left, with shuffled captions {_range(shuffled)}. The smallest AUC this run could have "
            f"seen (with probability 0.95) is {detectable_auc(n_in, n_out):.2f}.",
        ),
        area(
            "auc_fixed_caption",
            fixed,
            f"Control: all images are scored under the caption '{CAPTION_LOSSES.parameters['fixed']}' "
            f"({fixed.rule.words}, chosen for it on the other half). What is left is given away by the images alone.",
        ),
        area(
            "auc_shuffled_captions",
            shuffled,
            "Control: the same rule, each image with the caption of another of its set. What is left comes from the "
            "captions alone, not from which image each belongs to; below 0.5 a wrong caption harms members more.",
        ),
        measured(
            "tpr_at_1_percent_fpr",
            rates.true_positives / rates.positives,
            rates.true_positive_rate,
            n_in,
            "share of training images",
            f"{rates.true_positives} of {rates.positives} training images recognised while {rates.false_positives} of "
            f"{rates.negatives} holdout images were; threshold transferred from the other half, not interpolated.",
        ),
        measured(
            "false_positive_rate",
            rates.false_positives / rates.negatives,
            rates.false_positive_rate,
            n_out,
            "share of holdout images",
            "What the threshold chosen for 1 % on the other half really gave.",
        ),
    ]


def _range(judged: Judged) -> str:
    interval = judged.auc.interval
    return f"{judged.auc.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _protocol(evidence: Evidence) -> dict[str, SignatureValue]:
    return {
        "score": CAPTION_LOSSES.name,
        "holdout_digest": evidence.images("holdout").digest,
        **{f"score_{name}": value for name, value in CAPTION_LOSSES.parameters.items()},
        **positive_settings(CaptionLikelihood.id, PREMISE_SETTINGS, evidence.parameters),
    }


def _figure(judged: Judged, fixed: Judged, shuffled: Judged) -> Figure:
    named = (("own captions", judged), ("one caption for all", fixed), ("shuffled captions", shuffled))
    lines = [roc_series(name, one.members, one.others) for name, one in named]
    return Figure(
        "roc",
        "lines",
        "Membership inference from images and captions",
        f"ROC curves on the judged half. AUC {_range(judged)}; with one caption for all {_range(fixed)}; with shuffled "
        f"captions {_range(shuffled)}. On the diagonal the attack is a guess.",
        "false positive rate (holdout images called members)",
        "true positive rate (training images called members)",
        (*lines, guessing(lines[0])),
        log_x=True,
    )
