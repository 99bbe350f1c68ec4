"""Every quality check before sets that no one should send: a clear refusal or an honest interval, never a NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ldm_eval.api import Invalid, NotApplicable
from ldm_eval.errors import DataError, EvidenceError

ACROSS, D = 120, 24


def draw(n: int, d: int = D, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((seed, n, d))
    return rng.standard_normal((n, d)).astype(np.float32)


def repeated(n: int, distinct: int, seed: int) -> np.ndarray:
    return np.resize(draw(distinct, seed=seed), (n, D))


SETS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "as many as usual": (draw(ACROSS, seed=1), draw(ACROSS, seed=2)),
    "fewer than dimensions": (draw(110, 300, seed=1), draw(120, 300, seed=2)),
    "one sample": (draw(1, seed=1), draw(ACROSS, seed=2)),
    "one reference image": (draw(ACROSS, seed=1), draw(1, seed=2)),
    "one of each": (draw(1, seed=1), draw(1, seed=2)),
    "no sample": (draw(0), draw(ACROSS, seed=2)),
    "no reference image": (draw(ACROSS, seed=1), draw(0)),
    "many samples, few reference images": (draw(400, seed=1), draw(100, seed=2)),
    "few samples, many reference images": (draw(100, seed=1), draw(400, seed=2)),
    "one sample again and again": (repeated(ACROSS, 1, 1), draw(ACROSS, seed=2)),
    "every sample twice": (repeated(ACROSS, ACROSS // 2, 1), draw(ACROSS, seed=2)),
    "every reference image many times": (draw(ACROSS, seed=1), repeated(ACROSS, 10, 2)),
    "both of ten images": (repeated(ACROSS, 10, 1), repeated(ACROSS, 10, 2)),
    "one reference image again and again": (draw(ACROSS, seed=1), repeated(ACROSS, 1, 2)),
    "one image everywhere": (repeated(ACROSS, 1, 1), repeated(ACROSS, 1, 1)),
    "black images": (np.zeros((ACROSS, D), np.float32), np.zeros((ACROSS, D), np.float32)),
    "black samples": (np.zeros((ACROSS, D), np.float32), draw(ACROSS, seed=2)),
    "samples are the reference": (draw(ACROSS, seed=2), draw(ACROSS, seed=2)),
    "samples are part of the reference": (draw(ACROSS, seed=2)[:60], draw(ACROSS, seed=2)),
    "one dimension": (draw(ACROSS, 1, seed=1), draw(ACROSS, 1, seed=2)),
    "dead dimensions": (draw(ACROSS, seed=1) * (np.arange(D) > 5), draw(ACROSS, seed=2) * (np.arange(D) > 7)),
    "one dimension a thousand times another": (
        draw(ACROSS, seed=1) * np.geomspace(1e-3, 1e3, D, dtype=np.float32),
        draw(ACROSS, seed=2) * np.geomspace(1e-3, 1e3, D, dtype=np.float32),
    ),
    "far from the origin": (draw(ACROSS, seed=1) + np.float32(1e4), draw(ACROSS, seed=2) + np.float32(1e4)),
    "large": (draw(ACROSS, seed=1) * np.float32(1e12), draw(ACROSS, seed=2) * np.float32(1e12)),
    "small": (draw(ACROSS, seed=1) * np.float32(1e-12), draw(ACROSS, seed=2) * np.float32(1e-12)),
    "an outlier": (np.concatenate([draw(ACROSS, seed=1), np.full((1, D), 1e6, np.float32)]), draw(ACROSS, seed=2)),
}


@pytest.mark.parametrize("name", SETS)
def test_finite_features_give_finite_numbers_or_a_reason(stage: Any, name: str) -> None:
    # an error is no answer here, and EvidenceError would be one of a NaN caught at the last moment
    samples, reference = SETS[name]
    found = stage.findings(samples, reference)
    if isinstance(found, NotApplicable | Invalid):
        assert len(found.reason.split()) >= 8, f"says too little: {found.reason}"


@pytest.mark.parametrize("name", SETS)
def test_training_images_beside_them_change_nothing_of_that(stage: Any, name: str) -> None:
    samples, reference = SETS[name]
    width = samples.shape[1]
    for training in (draw(80, width, seed=3), np.ones((80, width), np.float32), draw(1, width, seed=3)):
        stage.findings(samples, reference, training=training)


@pytest.mark.parametrize("name", ["as many as usual", "fewer than dimensions", "few samples, many reference images"])
def test_usual_sets_do_give_numbers(stage: Any, name: str) -> None:
    assert stage.measured(*SETS[name])


@pytest.mark.parametrize("name", ["one sample", "no sample", "one of each"])
def test_without_enough_samples_there_is_no_number(stage: Any, name: str) -> None:
    assert isinstance(stage.findings(*SETS[name]), NotApplicable)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e19])
@pytest.mark.parametrize("role", ["samples", "reference"])
def test_features_that_are_not_finite_are_an_error_that_names_the_set(stage: Any, role: str, bad: float) -> None:
    needs = stage.spec.needs
    read = {*needs.features, *needs.text} | ({*needs.logits} if not np.isfinite(bad) else set())
    if role not in read and "reconstruction" not in read:
        pytest.skip(f"{stage.spec.id} does not read features of the {role}")
    samples, reference = draw(200, seed=1), draw(200, seed=2)
    (samples if role == "samples" else reference)[17, 2] = bad
    named = {"samples": "samples|reconstruction", "reference": "reference|holdout"}[role]
    with pytest.raises((EvidenceError, DataError), match="not finite") as caught:
        stage.findings(samples, reference)
    assert any(one in str(caught.value) for one in named.split("|"))
