"""Checks of memorisation and privacy leakage."""

from __future__ import annotations

from ldm_eval.api import CardSectionSpec, CheckSpec, SuiteSpec
from ldm_eval.hooks import hookimpl


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    """Copies of training images, membership inference, dataset inference, and the audit by canaries."""
    from ldm_eval_privacy.caption_likelihood import CaptionLikelihood
    from ldm_eval_privacy.data_copying import DataCopying
    from ldm_eval_privacy.dataset_inference import DatasetInference
    from ldm_eval_privacy.empirical_epsilon import EmpiricalEpsilon
    from ldm_eval_privacy.extraction import Extraction
    from ldm_eval_privacy.feature_copies import FeatureCopies
    from ldm_eval_privacy.gradient_attack import GradientAttack
    from ldm_eval_privacy.group_exposure import GroupExposure
    from ldm_eval_privacy.group_leakage import GroupLeakage
    from ldm_eval_privacy.membership_attacks import MembershipAttacks
    from ldm_eval_privacy.membership_loss import MembershipLoss
    from ldm_eval_privacy.near_copies import NearCopies
    from ldm_eval_privacy.prompt_screen import PromptScreen
    from ldm_eval_privacy.training_set import TrainingSet

    return [
        CheckSpec.of(TrainingSet),
        CheckSpec.of(NearCopies),
        CheckSpec.of(FeatureCopies),
        CheckSpec.of(Extraction),
        CheckSpec.of(GroupLeakage),
        CheckSpec.of(GroupExposure),
        CheckSpec.of(DataCopying),
        CheckSpec.of(MembershipLoss),
        CheckSpec.of(MembershipAttacks),
        CheckSpec.of(DatasetInference),
        CheckSpec.of(GradientAttack),
        CheckSpec.of(EmpiricalEpsilon),
        CheckSpec.of(CaptionLikelihood),
        CheckSpec.of(PromptScreen),
    ]


@hookimpl
def ldm_eval_suites() -> list[SuiteSpec]:
    """``privacy``: all of this family."""
    return [SuiteSpec("privacy", "Does the model reproduce or give away its training images?", ("privacy/*",))]


@hookimpl
def ldm_eval_card_sections() -> list[CardSectionSpec]:
    """Plain answers for those who answer for data protection."""
    from ldm_eval_privacy.card_section import TITLE, render

    return [CardSectionSpec("data-protection", TITLE, render, early=True)]
