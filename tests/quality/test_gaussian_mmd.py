"""The check of the Gaussian-kernel distance: phantoms both ways, its published form, names, refusals."""

import numpy as np
import pytest
from ldm_eval_quality.direction_phantom import directions, gaussian_discrepancy_of_directions
from ldm_eval_quality.gaussian_mmd import GaussianMmdCheck
from scipy.special import bdtr

from ldm_eval.api import Evidence, ExtractorInfo, Invalid, Measurement, NotApplicable, Role, Table
from ldm_eval.stats.paired import contributed_variance
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/gaussian_mmd"


def measured(evidence: Evidence) -> dict[str, Measurement]:
    found = GaussianMmdCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    return {one.name: one for one in found if isinstance(one, Measurement)}


def sets(**features: np.ndarray) -> PhantomEvidence:
    given: dict[Role, np.ndarray] = {role: values.astype(np.float32) for role, values in features.items()}  # type: ignore[misc]
    return PhantomEvidence(CHECK, 0, features=given)


def draw(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return shift + np.random.default_rng(seed).standard_normal((n, 16))


@pytest.mark.parametrize("drawn", [2, 6, 8])
def test_intervals_hold_the_exact_distance_of_directions(drawn: int) -> None:
    exact = gaussian_discrepancy_of_directions(drawn, 8)
    runs = [measured(directions(seed, drawn=drawn, n=200, m=200))["mmd_unbiased"] for seed in range(40)]
    held = sum(one.interval.low <= exact <= one.interval.high for one in runs)
    assert bdtr(held, 40, 0.94) > 1e-3


def test_the_published_number_counts_each_image_with_itself() -> None:
    found = measured(sets(samples=draw(100, 0, 0.3), reference=draw(150, 1)))
    assert set(found) == {"mmd", "mmd_unbiased"}
    assert found["mmd"].value > found["mmd_unbiased"].value
    x, y = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (draw(100, 0, 0.3).astype("f4").astype(float), draw(150, 1).astype("f4").astype(float))
    )

    def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.square(a[:, None] - b[None]).sum(axis=2) / 200.0).mean())

    assert found["mmd"].value == pytest.approx(
        1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)), rel=1e-5
    )


def test_lengths_of_features_do_not_matter() -> None:
    samples, reference = draw(100, 2, 0.2), draw(100, 3)
    one = measured(sets(samples=samples, reference=reference))["mmd_unbiased"].value
    longer = measured(sets(samples=7 * samples, reference=reference))["mmd_unbiased"].value
    assert longer == pytest.approx(one, abs=1e-5)


@pytest.mark.parametrize(("extractor", "name"), [("clip-vit-l14-336", "cmmd"), ("clip-vit-b32", "mmd")])
def test_only_clip_at_336_gives_a_cmmd(monkeypatch: pytest.MonkeyPatch, extractor: str, name: str) -> None:
    info = ExtractorInfo(extractor, "1" * 64, 8, None, "bicubic-336", "MIT")
    monkeypatch.setattr(PhantomEvidence, "extractor", lambda _: info)
    assert set(measured(directions(0, drawn=6))) == {name, f"{name}_unbiased"}


def test_training_and_holdout_stand_beside_the_reference() -> None:
    found = measured(
        sets(samples=draw(100, 1), reference=draw(100, 2), training=draw(100, 3), holdout=draw(100, 4, 0.5))
    )
    assert found["mmd_unbiased_to_holdout"].value > found["mmd_unbiased_to_training"].value
    assert found["mmd_unbiased_to_holdout"].direction == "none"


def test_a_difference_too_small_for_the_interval_still_has_a_p_value() -> None:
    findings = GaussianMmdCheck().run(sets(samples=draw(150, 5, 0.25), reference=draw(150, 6)))
    assert not isinstance(findings, NotApplicable | Invalid)
    (table,) = (one for one in findings if isinstance(one, Table))
    assert 0.0 < float(str(table.rows[0][-1])) < 0.05


def test_contributions_are_no_narrower_than_the_interval() -> None:
    evidence = sets(samples=draw(300, 7, 0.5), reference=draw(300, 8))
    one = measured(evidence)["mmd_unbiased"]
    error = (one.interval.high - one.interval.low) / (2 * 1.959964)
    variance = sum(contributed_variance(values) for values in evidence.kept["mmd_unbiased", None].values())
    assert error**2 <= variance < 1.1 * error**2


def test_features_without_a_direction_are_invalid_and_few_images_not_applicable() -> None:
    samples = draw(100, 9)
    samples[3] = 0
    found = GaussianMmdCheck().run(sets(samples=samples, reference=draw(100, 1)))
    assert isinstance(found, Invalid)
    assert "1 of 100 feature vectors of the samples" in found.reason
    assert isinstance(GaussianMmdCheck().run(sets(samples=draw(20, 1), reference=draw(100, 1))), NotApplicable)
