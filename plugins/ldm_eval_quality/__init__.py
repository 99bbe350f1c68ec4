"""Checks of quality and diversity: Fréchet and kernel distances, precision and recall, the variational bound, ..."""

from __future__ import annotations

from ldm_eval.api import CheckSpec, SuiteSpec
from ldm_eval.hooks import hookimpl


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    """The checks of this plugin."""
    from ldm_eval_quality.clip_score import ClipScoreCheck
    from ldm_eval_quality.diversity import FeatureDiversityCheck
    from ldm_eval_quality.frechet_distance import FrechetDistanceCheck
    from ldm_eval_quality.frechet_infinity import FrechetInfinityCheck
    from ldm_eval_quality.frechet_to_statistics import FrechetToStatisticsCheck
    from ldm_eval_quality.gaussian_mmd import GaussianMmdCheck
    from ldm_eval_quality.inception_score import InceptionScoreCheck
    from ldm_eval_quality.kernel_distance import KernelDistanceCheck
    from ldm_eval_quality.mind import MindCheck
    from ldm_eval_quality.per_class import PerClassCheck
    from ldm_eval_quality.power_spectrum import PowerSpectrumCheck
    from ldm_eval_quality.precision_recall import PrecisionRecallCheck
    from ldm_eval_quality.reconstruction_distance import ReconstructionDistanceCheck
    from ldm_eval_quality.variational_bound import VariationalBoundCheck
    from ldm_eval_quality.vendi_score import VendiScoreCheck

    return [
        CheckSpec.of(FrechetDistanceCheck),
        CheckSpec.of(FrechetInfinityCheck),
        CheckSpec.of(FrechetToStatisticsCheck),
        CheckSpec.of(KernelDistanceCheck),
        CheckSpec.of(GaussianMmdCheck),
        CheckSpec.of(InceptionScoreCheck),
        CheckSpec.of(PrecisionRecallCheck),
        CheckSpec.of(VendiScoreCheck),
        CheckSpec.of(MindCheck),
        CheckSpec.of(FeatureDiversityCheck),
        CheckSpec.of(PerClassCheck),
        CheckSpec.of(PowerSpectrumCheck),
        CheckSpec.of(ClipScoreCheck),
        CheckSpec.of(ReconstructionDistanceCheck),
        CheckSpec.of(VariationalBoundCheck),
    ]


@hookimpl
def ldm_eval_suites() -> list[SuiteSpec]:
    """Everything in the quality family."""
    return [SuiteSpec("quality", "how close samples are to real images, how varied, how sharp", ("quality/*",))]
