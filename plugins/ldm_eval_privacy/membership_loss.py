"""Membership inference from the denoising loss: does the model know its training images better than fresh ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    SignatureValue,
)
from ldm_eval_privacy.attacks import FALSE_POSITIVE_RATE, LOSS, Judged, judge
from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, noise_levels
from ldm_eval_privacy.membership_premise import (
    FEWEST,
    LOST,
    PREMISE_SETTINGS,
    blind_table,
    establish,
)
from ldm_eval_privacy.roc_series import guessing, roc_series
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    from ldm_eval_privacy.blind import BlindResult

__all__ = ["FEWEST", "MembershipLoss"]

_SCORED = "scored images of each set"
_HALF = {"trials": 0.5, "fewest": FEWEST}


class MembershipLoss:
    """AUC of the best loss-based membership test, chosen on one half of the images and judged on the other."""

    id: ClassVar[str] = "privacy/membership_loss"
    title: ClassVar[str] = "Membership inference from the denoising loss"
    question: ClassVar[str] = "Can someone with the model tell whether a given image was trained on?"
    settings: ClassVar[tuple[str, ...]] = tuple(PREMISE_SETTINGS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "membership_auc": Planning(
            "auc",
            _SCORED,
            0.5,
            DENOISING_LOSS.max_images,
            {"judged": 0.5, "chosen": 1.0, "lost": LOST, "fewest": FEWEST},
        ),
        "membership_tpr_*": Planning("proportion", _SCORED, FALSE_POSITIVE_RATE, DENOISING_LOSS.max_images, _HALF),
        "membership_*_rate": Planning("proportion", _SCORED, None, DENOISING_LOSS.max_images, _HALF),
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training", "holdout"), features=("training", "holdout"), scores=(DENOISING_LOSS,)
    )
    # One run in forty is Invalid by chance (the blind classifier's level), and then raises no alarm.
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="membership_auc",
        alarm=Alarm("low", ">", 0.5),
        catches=PhantomCase("ldm_eval_privacy.phantoms:memoriser", "the optimal denoiser of the training set"),
        leaves_alone=PhantomCase("ldm_eval_privacy.phantoms:exact_law", "the exact denoiser of the law", truth=0.5),
        power=0.9,
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Check the premise with the blind classifier, then attack.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        premise = establish(evidence, self.id, (DENOISING_LOSS.name,))
        if isinstance(premise, NotApplicable | Invalid):
            return premise
        return _findings(evidence, judge(evidence, premise, (LOSS,))[0], premise.blind)


def _findings(evidence: Evidence, attack: Judged, blind: Sequence[BlindResult]) -> list[Finding]:
    from ldm_eval.stats.roc import detectable_auc

    rates, n_in, n_out = attack.rates, len(attack.members), len(attack.others)
    level = noise_levels(DENOISING_LOSS.parameters)[attack.choice.column]
    sign = "low" if attack.choice.sign < 0 else "high"
    smallest = detectable_auc(n_in, n_out)

    def measured(name: str, value: float, interval: Interval, n: int, unit: str, note: str) -> Measurement:
        return evidence.measurement(
            name,
            value,
            interval,
            n=n,
            unit=unit,
            direction="none" if "false" in name else "lower",
            against="training",
            uses_extractor=False,
            group=None,
            floor=None,
            note=note,
            **_protocol(evidence),
        )

    return [
        measured(
            "membership_auc",
            attack.auc.value,
            attack.auc.interval,
            n_in + n_out,
            "AUC, 0.5 is chance",
            f"Primary. Attack advantage on {n_in} training and {n_out} holdout images, not a privacy guarantee; a "
            f"{sign} loss at noise level {level:g} of T means member, as chosen on the other half. The smallest AUC "
            f"this run could have seen (with probability 0.95) is {smallest:.2f}.",
        ),
        measured(
            "membership_tpr_at_1_percent_fpr",
            rates.true_positives / rates.positives,
            rates.true_positive_rate,
            n_in,
            "share of training images",
            f"{rates.true_positives} of {rates.positives} training images recognised while {rates.false_positives} of "
            f"{rates.negatives} holdout images were; threshold transferred from the other half, not interpolated.",
        ),
        measured(
            "membership_false_positive_rate",
            rates.false_positives / rates.negatives,
            rates.false_positive_rate,
            n_out,
            "share of holdout images",
            "What the threshold chosen for 1 % on the other half really gave.",
        ),
        blind_table(blind),
        _roc_figure(attack),
    ]


def _protocol(evidence: Evidence) -> dict[str, SignatureValue]:
    spec = DENOISING_LOSS
    return {
        "score": spec.name,
        "holdout_digest": evidence.images("holdout").digest,
        **{f"score_{name}": value for name, value in spec.parameters.items()},
        **positive_settings(MembershipLoss.id, PREMISE_SETTINGS, evidence.parameters),
    }


def _roc_figure(attack: Judged) -> Figure:
    curve = roc_series("attack", attack.members, attack.others)
    return Figure(
        "roc",
        "lines",
        "Membership inference from the denoising loss",
        f"ROC curve of the attack on the judged half, AUC {attack.auc.value:.2f} "
        f"({attack.auc.interval.low:.2f} to {attack.auc.interval.high:.2f}). On the diagonal the attack is a guess.",
        "false positive rate (holdout images called members)",
        "true positive rate (training images called members)",
        (curve, guessing(curve)),
        log_x=True,
    )
