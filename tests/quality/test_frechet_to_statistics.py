"""quality/frechet_to_statistics."""

from __future__ import annotations

import numpy as np
import pytest
from ldm_eval_quality.conditional_phantoms import against_statistics
from ldm_eval_quality.frechet_to_statistics import FrechetToStatisticsCheck

from ldm_eval.api import ExtractorInfo, FeatureStatistics, Invalid, Measurement, NotApplicable
from ldm_eval.errors import DataError, EvidenceError
from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/frechet_to_statistics"


def moments(x: np.ndarray, **changes: object) -> FeatureStatistics:
    given = {
        "name": "real.npz",
        "mean": x.mean(axis=0, dtype=np.float64),
        "covariance": np.cov(x.T),
        "n": len(x),
        "digest": "d" * 64,
    }
    return FeatureStatistics(**{**given, **changes})  # type: ignore[arg-type]


def draw(n: int, seed: int = 0, d: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def evidence_of(
    samples: np.ndarray, statistics: FeatureStatistics | None, extractor: ExtractorInfo | None = None
) -> PhantomEvidence:
    return PhantomEvidence(CHECK, 0, features={"samples": samples}, statistics=statistics, extractor=extractor)


def only(evidence: PhantomEvidence) -> Measurement:
    found = FrechetToStatisticsCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    (measurement,) = (one for one in found if isinstance(one, Measurement))
    return measurement


def test_it_is_the_distance_to_the_images_behind_the_statistics() -> None:
    samples, real = draw(100, 1), draw(300, 2)
    evidence = evidence_of(samples, moments(real))
    found, whole = only(evidence), frechet_distance(samples, real)
    assert found.value == pytest.approx(whole.value, rel=1e-9)
    assert found.floor is None
    assert found.signature["statistics_digest"] == "d" * 64
    assert "300 images" in found.note
    assert "samples' noise only" in found.note
    (kept,) = evidence.kept.values()
    error = (found.interval.high - found.interval.low) / 3.92
    assert np.sqrt(np.var(kept["samples"], ddof=1) / 100) == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize(
    ("extractor", "name"),
    [
        ("inception-2015", "fid_to_statistics"),
        ("inception-2015-clean", "clean_fid_to_statistics"),
        ("inception-2015-spatial", "sfid_to_statistics"),
        ("inception-2015-unverified", "frechet_distance_to_statistics"),
        ("dinov2-vitl14", "frechet_distance_to_statistics"),
    ],
)
def test_it_is_called_by_its_space(extractor: str, name: str) -> None:
    info = ExtractorInfo(extractor, "1" * 64, 8, None, "none", "Apache-2.0")
    assert only(evidence_of(draw(60), moments(draw(60, 1)), info)).name == name


def test_statistics_of_another_extractor_are_invalid_and_those_of_none_are_taken_on_trust() -> None:
    info = ExtractorInfo("inception-2015", "1" * 64, 8, None, "none", "Apache-2.0")
    found = FrechetToStatisticsCheck().run(evidence_of(draw(60), moments(draw(60), fingerprint="2" * 64), info))
    assert isinstance(found, Invalid)
    assert "another extractor" in found.reason
    assert "trust" in only(evidence_of(draw(60), moments(draw(60)), info)).note
    assert "trust" not in only(evidence_of(draw(60), moments(draw(60), fingerprint="1" * 64), info)).note


def test_without_statistics_of_this_dimension_or_enough_samples_it_is_not_applicable() -> None:
    none = FrechetToStatisticsCheck().run(evidence_of(draw(60), None))
    assert isinstance(none, NotApplicable)
    assert "8 dimensions" in none.reason
    few = FrechetToStatisticsCheck().run(evidence_of(draw(10), moments(draw(60))))
    assert isinstance(few, NotApplicable)
    assert "10 samples" in few.reason


def test_what_cannot_be_a_covariance_or_a_feature_is_refused() -> None:
    broken = moments(draw(60), covariance=-np.eye(8))
    with pytest.raises(DataError, match="eigenvalue -1"):
        FrechetToStatisticsCheck().run(evidence_of(draw(60), broken))
    samples = draw(60)
    samples[7, 3] = np.nan
    with pytest.raises(EvidenceError, match="image 7"):
        FrechetToStatisticsCheck().run(evidence_of(samples, moments(draw(60))))


def test_a_collapsed_model_is_measured() -> None:
    found = only(evidence_of(np.ones((60, 8), dtype=np.float32), moments(draw(600, 1))))
    assert found.value == pytest.approx(16.0, rel=0.2)


def test_the_phantom_reads_its_closed_form_and_the_stated_bias() -> None:
    found = [only(against_statistics(seed, shift=0.2)) for seed in range(40)]  # type: ignore[arg-type]
    expected = 16 * 0.04 + 16 / 600 + 16 * 17 / 2400
    assert np.mean([one.value for one in found]) == pytest.approx(expected, abs=0.04)
