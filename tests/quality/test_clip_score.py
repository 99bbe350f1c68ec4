"""quality/clip_score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_quality.clip_score import ClipScoreCheck
from ldm_eval_quality.conditional_phantoms import prompted
from scipy.special import stdtrit

from ldm_eval.api import Evidence, ExtractorInfo, Figure, Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import EvidenceError
from ldm_eval.testing.evidence import PhantomEvidence, set_of_features

CHECK = "quality/clip_score"
CLIP = ExtractorInfo("clip-vit-b32", "1" * 64, 8, None, "bicubic-224", "MIT", text=True)


def measured(evidence: Evidence) -> dict[str, Measurement]:
    found = ClipScoreCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    assert {type(one) for one in found} == {Measurement, Table, Figure}
    return {one.name: one for one in found if isinstance(one, Measurement)}


def evidence_of(
    prompts: list[str], info: ExtractorInfo = CLIP, seed: int = 0, broken: float | None = None
) -> PhantomEvidence:
    rng = np.random.default_rng(seed)
    table = {prompt: rng.standard_normal(8) for prompt in sorted(set(prompts))}
    text = np.array([table[prompt] for prompt in prompts], dtype=np.float32)
    features = (text + rng.standard_normal(text.shape)).astype(np.float32)
    if broken is not None:
        text = text.copy()
        text[0, 0] = broken
    images = replace(set_of_features(features, "s"), prompts=np.array(prompts))
    return PhantomEvidence(
        CHECK, 0, images={"samples": images}, features={"samples": features}, text={"samples": text}, extractor=info
    )


def test_following_more_prompts_gains_more() -> None:
    gains = [measured(prompted(3, obeys=obeys))["text_image_score_gain"].value for obeys in (0.0, 0.3, 0.6, 1.0)]
    assert gains == sorted(gains)


def test_score_cosine_and_gain_are_reported_by_name() -> None:
    found = measured(evidence_of([f"p{i}" for i in range(40)]))
    assert list(found) == ["clip_score_gain", "clip_score", "clip_cosine"]
    assert found["clip_cosine"].unit == "cosine x 100"
    assert "torchmetrics" in found["clip_cosine"].note
    assert "clip-vit-b32" in found["clip_score"].note
    assert {one.signature["extractor"] for one in found.values()} == {"clip-vit-b32"}
    assert found["clip_score"].value == pytest.approx(found["clip_cosine"].value / 40, rel=0.1)
    assert all(one.interval.low <= one.value <= one.interval.high for one in found.values())


@pytest.mark.parametrize("name", ["clip-vit-b32-unverified", "siglip"])
def test_other_spaces_have_no_clip_score(name: str) -> None:
    found = measured(evidence_of([f"p{i}" for i in range(40)], replace(CLIP, name=name)))
    assert set(found) == {"text_image_score", "text_image_score_gain", "text_image_cosine"}


def test_captions_of_real_images_stand_beside_as_floor() -> None:
    found = measured(prompted(0, obeys=0.5, captions=True))
    gain = found["text_image_score_gain"]
    assert gain.floor is not None
    assert gain.floor > gain.interval.high
    assert "Real images gain" in gain.note
    assert measured(prompted(0, obeys=0.5))["text_image_score_gain"].floor is None


def test_repeated_prompts_are_one_unit() -> None:
    found = measured(evidence_of([f"p{i % 5}" for i in range(100)]))["clip_score_gain"]
    assert found.signature["prompts"] == 5
    assert "5 different prompts" in found.note
    assert "too narrow" in found.note
    assert "cluster-robust" in found.interval.estimator


def test_one_prompt_gives_no_gain_and_says_so() -> None:
    found = measured(evidence_of(["p"] * 40))
    assert "clip_score_gain" not in found
    assert "nothing to shuffle" in found["clip_score"].note


def test_images_without_a_prompt_are_left_out() -> None:
    evidence = evidence_of(["", ""] + [f"p{i}" for i in range(40)])
    assert measured(evidence)["clip_score"].n == 40
    kept = evidence.kept["clip_score", None]["samples"]
    assert np.isnan(kept[:2]).all()
    assert np.isfinite(kept[2:]).all()


@pytest.mark.parametrize("different", [200, 50])
def test_contributions_carry_the_error_whether_prompts_repeat_or_not(different: int) -> None:
    evidence = evidence_of([f"p{i % different}" for i in range(200)])
    for name, found in measured(evidence).items():
        kept = evidence.kept[name, None]["samples"]
        used = kept[np.isfinite(kept)]
        assert len(used) == different
        assert np.isfinite(kept[:different]).all()
        reach = stdtrit(different - 1, 0.975) * used.std(ddof=1) / np.sqrt(different)
        assert found.interval.high - found.value == pytest.approx(reach, rel=1e-6)
        assert used.mean() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("prompts", [[""] * 60, ["a", *[""] * 60], [f"p{i}" for i in range(10)]])
def test_too_few_prompts_are_not_applicable(prompts: list[str]) -> None:
    found = ClipScoreCheck().run(evidence_of(prompts))
    assert isinstance(found, NotApplicable)
    assert "have a prompt" in found.reason


def test_a_set_without_prompts_or_a_space_without_text_is_not_applicable() -> None:
    features = {"samples": np.ones((60, 8), dtype=np.float32)}
    for info, words in ((CLIP, "0 samples have a prompt"), (replace(CLIP, text=False), "embeds no text")):
        found = ClipScoreCheck().run(PhantomEvidence(CHECK, 0, features=features, extractor=info))  # type: ignore[arg-type]
        assert isinstance(found, NotApplicable)
        assert words in found.reason


def test_features_of_prompts_that_are_not_finite_are_refused() -> None:
    with pytest.raises(EvidenceError, match="prompts of the samples set are not finite"):
        ClipScoreCheck().run(evidence_of([f"p{i}" for i in range(40)], broken=float("nan")))


def test_samples_without_a_direction_are_invalid_and_such_captions_are_left_out() -> None:
    evidence = prompted(0, obeys=0.5, captions=True)
    evidence.features("reference")[2] = 0.0
    assert measured(evidence)["text_image_score_gain"].floor is None
    evidence.features("samples")[5] = 0.0
    found = ClipScoreCheck().run(evidence)
    assert isinstance(found, Invalid)
    assert "image in row 5" in found.reason
