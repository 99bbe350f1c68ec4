import numpy as np
import pytest
from ldm_eval_quality.inception_score import InceptionScoreCheck, inception_score
from ldm_eval_quality.phantoms import classified
from scipy.special import bdtr

from ldm_eval.api import ExtractorInfo, Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import EvidenceError
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/inception_score"


def score_of(evidence: PhantomEvidence) -> Measurement:
    found = InceptionScoreCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    (one,) = (one for one in found if isinstance(one, Measurement))
    return one


def by_definition(logits: np.ndarray) -> float:
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


def test_one_split_equals_the_definition() -> None:
    logits = np.random.default_rng(0).standard_normal((200, 7)).astype(np.float32)
    found = inception_score(logits, np.random.default_rng(0), splits=1)
    assert found.value == pytest.approx(by_definition(logits.astype(np.float64)), rel=1e-12)


def test_identical_uncertain_images_score_one() -> None:
    assert score_of(classified(0, classes_drawn=10, confidence=0.0)).value == pytest.approx(1.0, abs=1e-12)


def test_highest_for_sure_and_varied_images() -> None:
    def value(classes: int, confidence: float) -> float:
        return score_of(classified(0, classes_drawn=classes, confidence=confidence)).value

    assert value(10, 12.0) == pytest.approx(10.0, rel=0.15)
    assert value(2, 12.0) == pytest.approx(2.0, rel=0.05)
    assert value(10, 12.0) > value(10, 2.0) > value(10, 0.5)
    assert value(10, 12.0) > value(5, 12.0) > value(1, 12.0)


def test_the_classifier_is_in_the_name_and_in_the_signature() -> None:
    found = score_of(classified(0, classes_drawn=10, confidence=5.0))
    assert found.name == "inception_score (phantom)"
    assert found.signature["classifier"] == "phantom"
    assert found.signature["splits"] == 10


def test_interval_covers_the_expected_score_at_this_split_size() -> None:
    rng = np.random.default_rng(1)
    runs = [
        inception_score(2.0 * rng.standard_normal((300, 20)).astype(np.float32), np.random.default_rng(seed))
        for seed in range(100)
    ]
    expected = np.mean([run.value for run in runs])
    covered = sum(run.interval.low <= expected <= run.interval.high for run in runs)
    assert bdtr(covered, 100, 0.95) > 1e-3


def test_published_spread_is_in_the_table_not_in_the_interval() -> None:
    found = InceptionScoreCheck().run(classified(0, classes_drawn=10, confidence=3.0))
    assert not isinstance(found, NotApplicable | Invalid)
    table = next(one for one in found if isinstance(one, Table))
    assert [row[0] for row in table.rows] == ["samples", "reference"]
    assert table.columns[-1] == "standard deviation"


def test_no_classifier_is_not_applicable() -> None:
    class NoClassifier:
        check, seed, parameters = CHECK, 0, {}

        def extractor(self) -> ExtractorInfo:
            return ExtractorInfo("dino", "0" * 64, 8, None, "none", "Apache-2.0")

    found = InceptionScoreCheck().run(NoClassifier())  # type: ignore[arg-type]
    assert isinstance(found, NotApplicable)
    assert "dino" in found.reason


def test_reference_is_optional_and_few_samples_are_refused() -> None:
    logits = np.random.default_rng(0).standard_normal((150, 5)).astype(np.float32)
    assert score_of(PhantomEvidence(CHECK, 0, logits={"samples": logits})).floor is None
    found = InceptionScoreCheck().run(PhantomEvidence(CHECK, 0, logits={"samples": logits[:60]}))
    assert isinstance(found, NotApplicable)


def test_logits_that_are_not_finite_are_an_error() -> None:
    logits = np.zeros((150, 5), dtype=np.float32)
    logits[3, 1] = np.inf
    with pytest.raises(EvidenceError, match="not finite"):
        InceptionScoreCheck().run(PhantomEvidence(CHECK, 0, logits={"samples": logits}))
