"""What every measure of quality must do, whoever wrote it: blind to order, ideal on equal sets, worse on worse ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ldm_eval.api import DataRef, ExtractorContext, FeatureExtractor, Measurement, Role

Found = dict[tuple[str, str | None], Measurement]

WHOLE = {
    "coverage",
    "density",
    "feature_diversity",
    "frechet_distance",
    "frechet_distance_to_statistics",
    "kernel_distance",
    "mmd",
    "mmd_unbiased",
    "precision",
    "recall",
    "rfd",
    "sliced_distance",
    "vendi_score",
}
"""Measurements of all the rows: their value may not depend on the order. The others part the reference at random, and
are held to their intervals."""

SYMMETRIC = {"frechet_distance", "kernel_distance", "mmd", "mmd_unbiased", "rfd", "sliced_distance"}
EXCHANGED = {"precision": "recall", "recall": "precision"}

ZERO = {"frechet_distance", "frechet_distance_to_statistics", "power_spectrum_distance", "rfd", "sliced_distance"}
"""Zero on equal sets. An unbiased estimate (kernel_distance, mmd) or an excess is there at zero or a little below."""

ONE = {"precision", "recall", "coverage", "feature_diversity_ratio", "vendi_score_ratio"}


def draw(n: int, seed: int, d: int = 24, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng((seed, n, d))
    return (shift + rng.standard_normal((n, d))).astype(np.float32)


def overlap(one: Measurement, other: Measurement) -> bool:
    return one.interval.low <= other.interval.high and other.interval.low <= one.interval.high


def test_the_order_of_images_does_not_matter(stage: Any) -> None:
    samples, reference = draw(150, 1, shift=0.2), draw(150, 2)
    rng = np.random.default_rng(0)
    one = stage.measured(samples, reference)
    both = rng.permutation(150)
    paired = "reconstruction" in stage.spec.needs.roles
    other = stage.measured(samples[both], reference[both if paired else rng.permutation(150)])
    assert one.keys() == other.keys()
    for key, found in one.items():
        if key[0] in WHOLE:
            assert other[key].value == pytest.approx(found.value, rel=1e-7), key
        assert overlap(found, other[key]), key


def test_a_distance_is_the_same_from_both_sides(stage: Any) -> None:
    samples, reference = draw(150, 1, shift=0.2), draw(150, 2)
    there, back = stage.measured(samples, reference), stage.measured(reference, samples)
    for (name, group), found in there.items():
        if name in SYMMETRIC:
            assert back[name, group].value == pytest.approx(found.value, rel=1e-7), name
        if name in EXCHANGED:
            assert back[EXCHANGED[name], group].value == found.value, name


@pytest.mark.parametrize(("n", "d"), [(100, 1), (100, 6), (150, 24), (120, 130)])
def test_equal_sets_are_ideal(stage: Any, n: int, d: int) -> None:
    images = draw(n, 3, d)
    spread = float(images.var(axis=0, dtype=np.float64).sum())
    for (name, _), found in stage.measured(images, images).items():
        if name in ZERO:
            assert abs(found.value) <= 1e-7 * max(1.0, spread), found
        elif name in ONE:
            assert found.value == pytest.approx(1.0, abs=1e-6), found
        elif found.direction == "lower":  # one of parts of the sets is where real images are from each other
            assert found.interval.low <= 1e-7 * spread + max(0.0, found.floor or 0.0), found


def test_the_further_the_worse(stage: Any) -> None:
    reference = draw(200, 2)
    shifts = [stage.measured(draw(200, 1, shift=shift), reference) for shift in (0.0, 0.4, 0.8, 1.6)]
    for key, found in shifts[0].items():
        values = [one[key].value for one in shifts]
        if found.direction == "lower" and "extractor" in found.signature:
            assert values == sorted(values), key
        elif key[0] in {"precision", "density", "coverage"}:
            assert values == sorted(values, reverse=True), key


def modes(n: int, seed: int, *, drawn: int = 8, spread: float = 1.0) -> np.ndarray:
    """Eight far modes in 16 dimensions; a mode dropper draws fewer, a blurrer spreads less, a noisy model more."""
    rng, centres = np.random.default_rng((seed, 8)), 8.0 * np.eye(8, 16)
    return (centres[rng.integers(drawn, size=n)] + spread * rng.standard_normal((n, 16))).astype(np.float32)


def against_modes(stages: dict[str, Any], **flaw: float) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
    """What a good model and a flawed one read, by name, over all checks."""
    good, flawed = {}, {}
    for stage in stages.values():
        for found, samples in ((good, modes(300, 1)), (flawed, modes(300, 1, **flaw))):  # type: ignore[arg-type]
            found |= {name: one for (name, group), one in stage.measured(samples, modes(300, 2)).items() if not group}
    return good, flawed


def test_a_mode_dropper_loses_recall_and_variety_and_keeps_precision(stages: dict[str, Any]) -> None:
    good, dropper = against_modes(stages, drawn=2)
    for name in ("recall", "coverage", "vendi_score", "vendi_score_ratio", "feature_diversity"):
        if name in good:
            assert dropper[name].interval.high < good[name].interval.low, name
    assert dropper["precision"].value > good["precision"].value - 0.05
    further(good, dropper)


def test_a_blurrer_loses_recall_and_keeps_precision(stages: dict[str, Any]) -> None:
    good, blurrer = against_modes(stages, spread=0.5)
    for name in ("recall", "feature_diversity"):
        assert blurrer[name].interval.high < good[name].interval.low, name
    assert blurrer["precision"].value >= good["precision"].value
    assert blurrer["density"].interval.low > good["density"].interval.high
    further(good, blurrer)


def test_a_noisy_model_loses_precision_and_keeps_recall(stages: dict[str, Any]) -> None:
    good, noisy = against_modes(stages, spread=2.0)
    for name in ("precision", "density"):
        assert noisy[name].interval.high < good[name].interval.low, name
    assert noisy["recall"].value > good["recall"].value - 0.05
    further(good, noisy)


def further(good: dict[str, Measurement], flawed: dict[str, Measurement]) -> None:
    for name in ("frechet_distance", "frechet_distance_excess", "kernel_distance", "mmd", "sliced_distance"):
        if name in good:
            assert flawed[name].value > good[name].value, name


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    from ldm_eval_features.recipes import load_efficientnet_lite0

    return load_efficientnet_lite0(ExtractorContext(device="cpu", offline=True, cache_dir=Path("nowhere")))


@pytest.fixture(scope="module")
def portraits() -> np.ndarray:
    from ldm_eval_demo.portraits import load

    return np.asarray(load(DataRef("portraits"), "holdout").rgb(0, 200))


def test_the_batch_size_of_the_extractor_moves_no_measure(
    stages: dict[str, Any], extractor: FeatureExtractor, portraits: np.ndarray
) -> None:
    features, logits = {}, {}
    for batch in (200, 7):
        parts = [extractor.extract(portraits[start : start + batch]) for start in range(0, 200, batch)]
        features[batch] = np.concatenate([part.values for part in parts])
        logits[batch] = np.concatenate([part.logits for part in parts if part.logits is not None])
    for id_, stage in stages.items():
        one, other = (
            stage.measured(features[batch][:100], features[batch][100:], logits=sides(logits[batch]))
            for batch in (200, 7)
        )
        for key, found in one.items():
            reach = found.interval.high - found.interval.low
            assert abs(other[key].value - found.value) <= 1e-5 * abs(found.value) + 1e-3 * reach, (id_, key)


def sides(logits: np.ndarray) -> dict[Role, np.ndarray]:
    return {"samples": logits[:100], "reference": logits[100:]}


def noise(images: np.ndarray, level: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.clip(images + 255 * level * rng.standard_normal(images.shape), 0, 255).astype(np.uint8)


def blur(images: np.ndarray, level: float) -> np.ndarray:
    return np.asarray(gaussian_filter(images, (0, 0, level, level)))


def salt_and_pepper(images: np.ndarray, level: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    spoilt = rng.random((len(images), 1, *images.shape[2:])) < level
    return np.where(spoilt, 255 * rng.integers(0, 2, spoilt.shape), images).astype(np.uint8)


CORRUPTIONS = {noise: (0.05, 0.15, 0.4), blur: (0.6, 1.2, 3.0), salt_and_pepper: (0.03, 0.1, 0.3)}


@pytest.mark.slow
@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.__name__)
def test_real_images_read_worse_the_more_they_are_spoilt(
    stages: dict[str, Any], extractor: FeatureExtractor, portraits: np.ndarray, corruption: Any
) -> None:
    real = extractor.extract(portraits).values
    steps = [real[:100]]
    steps += [extractor.extract(corruption(portraits[:100], level)).values for level in CORRUPTIONS[corruption]]
    for id_, stage in stages.items():
        if stage.spec.needs.statistics or stage.spec.needs.text:  # seconds for a covariance; prompts of no images
            continue
        found: list[Found] = [stage.measured(step, real[100:]) for step in steps]
        for name, group in found[0]:
            values = [step[name, group].value for step in found]
            one = found[0][name, group]
            if one.direction == "lower" and "extractor" in one.signature:
                assert values == sorted(values), (id_, name, values)
            if name in {"precision", "coverage", "density"}:
                assert values[-1] < values[0], (id_, name, values)
