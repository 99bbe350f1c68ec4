"""Membership inference from gradients: does an image pull at the network's weights less when it was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ldm_eval.api import (
    Alarm,
    Evidence,
    Figure,
    Finding,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
)
from ldm_eval_privacy.gradient_norms import GRADIENT_NORMS
from ldm_eval_privacy.membership_premise import FEWEST, LOST, PREMISE_SETTINGS, blind_table, establish
from ldm_eval_privacy.roc_series import guessing, roc_series
from ldm_eval_privacy.score_classifier import PENALTY, Classified, classify
from ldm_eval_privacy.settings import positive_settings

__all__ = ["GradientAttack"]


class GradientAttack:
    """AUC of a classifier of gradient norms, learned on one half of the images and judged on the other."""

    id: ClassVar[str] = "privacy/gradient_attack"
    title: ClassVar[str] = "Membership inference from gradients (GSA)"
    question: ClassVar[str] = "Do the gradients of the loss tell training images from fresh ones?"
    opt_in: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = tuple(PREMISE_SETTINGS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "gradient_attack_auc": Planning(
            "auc",
            "scored images of each set",
            0.5,
            GRADIENT_NORMS.max_images,
            {"judged": 0.5, "chosen": 1.0, "lost": LOST, "fewest": FEWEST},
        )
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training", "holdout"), features=("training", "holdout"), scores=(GRADIENT_NORMS,)
    )
    # One run in forty is Invalid by chance (the blind classifier's level), and then raises no alarm.
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="gradient_attack_auc",
        alarm=Alarm("low", ">", 0.5),
        catches=PhantomCase(
            "ldm_eval_privacy.gradient_phantoms:fitted_network", "a linear network fitted to fewer images than pixels"
        ),
        leaves_alone=PhantomCase(
            "ldm_eval_privacy.gradient_phantoms:exact_network", "the linear network of the law itself", truth=0.5
        ),
        power=0.9,
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Check the premise with the blind classifier, learn from one half, and judge on the other.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        if not evidence.scores(GRADIENT_NORMS.name, "training").values.shape[1]:
            return NotApplicable("This model does not show its weights, so no gradient can be taken.")
        premise = establish(evidence, self.id, (GRADIENT_NORMS.name,))
        if isinstance(premise, NotApplicable | Invalid):
            return premise
        found = classify(evidence, premise, (GRADIENT_NORMS.name,))
        return [_auc(evidence, found), blind_table(premise.blind), _figure(found)]


def _auc(evidence: Evidence, found: Classified) -> Measurement:
    from ldm_eval.stats.roc import auc_interval, detectable_auc

    auc = auc_interval(found.members, found.others)
    smallest = detectable_auc(auc.positives, auc.negatives)
    return evidence.measurement(
        "gradient_attack_auc",
        auc.value,
        auc.interval,
        n=auc.positives + auc.negatives,
        unit="AUC, 0.5 is chance",
        direction="lower",
        against="training",
        uses_extractor=False,
        group=None,
        floor=None,
        note=f"Attack advantage on {auc.positives} training and {auc.negatives} holdout images, not a privacy "
        f"guarantee; learned from the norms of the gradient in {len(found.weights)} tensors of weights on the other "
        f"half. The smallest AUC this run could have seen (with probability 0.95) is {smallest:.2f}.",
        score=GRADIENT_NORMS.name,
        score_levels=GRADIENT_NORMS.parameters["levels"],
        classifier=f"ridge logistic regression of log scores, penalty {PENALTY:g}",
        holdout_digest=evidence.images("holdout").digest,
        **positive_settings(GradientAttack.id, PREMISE_SETTINGS, evidence.parameters),
    )


def _figure(found: Classified) -> Figure:
    curve = roc_series("attack", found.members, found.others)
    return Figure(
        "roc",
        "lines",
        "Membership inference from gradients",
        "ROC curve of the attack on the judged half. On the diagonal the attack is a guess.",
        "false positive rate (holdout images called members)",
        "true positive rate (training images called members)",
        (curve, guessing(curve)),
        log_x=True,
    )
