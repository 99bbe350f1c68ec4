"""CLIPScore, its gain over shuffled texts, and errors that allow for texts which repeat."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.errors import DataError
from ldm_eval.stats.text_alignment import TextAlignment, clustered_mean, text_alignment


def pairs(
    seed: int, prompts: int, each: int, obeys: float = 1.0, d: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    asked = np.repeat(np.arange(prompts), each)
    texts = (rng.standard_normal((prompts, d)) + 1.0)[asked]
    shown = np.where(rng.random((len(asked), 1)) < obeys, texts, rng.standard_normal(texts.shape) + 1.0)
    return shown + rng.standard_normal(texts.shape), texts, asked


def found_in(seed: int, prompts: int, each: int, obeys: float = 1.0) -> TextAlignment:
    return text_alignment(*pairs(seed, prompts, each, obeys))


def brute_force(images: np.ndarray, texts: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    own, others = [], []
    for i in range(len(images)):
        for j in range(len(texts)):
            cosine = images[i] @ texts[j] / np.linalg.norm(images[i]) / np.linalg.norm(texts[j])
            if i == j:
                own.append(2.5 * max(cosine, 0.0))
            elif clusters[i] != clusters[j]:
                others.append(2.5 * max(cosine, 0.0))
    return float(np.mean(own)), float(np.mean(others))


def test_cosines_of_known_angles_give_known_scores() -> None:
    images = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    texts = np.array([[1.0, 0.0], [0.0, -1.0], [5.0, 0.0]])
    found = text_alignment(images, texts, np.arange(3))
    assert found.by_image == pytest.approx([2.5, 0.0, 2.5 * 2**-0.5])
    assert found.score.value == pytest.approx((2.5 + 2.5 * 2**-0.5) / 3)
    assert found.cosine.value == pytest.approx(100 * (1 - 1 + 2**-0.5) / 3)


@pytest.mark.parametrize("each", [1, 3])
def test_shuffled_is_the_mean_over_all_pairs_with_another_text(each: int) -> None:
    images, texts, clusters = pairs(0, 7, each)
    own, others = brute_force(images, texts, clusters)
    found = text_alignment(images, texts, clusters)
    assert found.shuffled is not None
    assert found.gain is not None
    assert found.score.value == pytest.approx(own)
    assert found.shuffled.value == pytest.approx(others)
    assert found.gain.value == pytest.approx(own - others)


def test_blocks_order_and_names_of_clusters_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts, clusters = pairs(0, 9, 2)
    whole = text_alignment(images, texts, clusters)
    monkeypatch.setattr("ldm_eval.stats.text_alignment._BLOCK_VALUES", 30)
    order = np.random.default_rng(1).permutation(len(images))
    other = text_alignment(3.0 * images[order], texts[order], 100 - 7 * clusters[order])
    assert whole.gain is not None
    assert other.gain is not None
    assert other.gain.value == pytest.approx(whole.gain.value)
    assert other.gain.interval.low == pytest.approx(whole.gain.interval.low)
    assert other.gain.contributions == pytest.approx(whole.gain.contributions[order])


def test_contributions_are_what_an_image_with_its_text_adds() -> None:
    images, texts, clusters = pairs(2, 60, 1)
    found = text_alignment(images, texts, clusters)
    assert found.gain is not None
    added = []
    for i in range(60):
        rest = text_alignment(*(np.delete(part, i, axis=0) for part in (images, texts, clusters)))
        assert rest.gain is not None
        added.append(59 * (found.gain.value - rest.gain.value))
    assert np.corrcoef(added, found.gain.contributions)[0, 1] > 0.999
    assert np.std(added) == pytest.approx(np.std(found.gain.contributions), rel=0.05)
    assert found.gain.contributions.sum() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("prompts", "each", "obeys"), [(60, 1, 0.0), (60, 1, 0.8), (40, 5, 0.0), (40, 5, 0.8)])
def test_intervals_hold_the_expectation_with_and_without_repeated_texts(prompts: int, each: int, obeys: float) -> None:
    runs = [found_in(seed, prompts, each, obeys) for seed in range(400)]
    for name in ("score", "gain", "shuffled"):
        parts = [getattr(run, name) for run in runs]
        truth = float(np.mean([part.value for part in parts]))
        held = sum(part.interval.low <= truth <= part.interval.high for part in parts[:120])
        assert bdtr(held, 120, 0.95) > 1e-3, (name, held)
        spread = np.std([part.value for part in parts], ddof=1)
        error = np.mean([part.interval.high - part.interval.low for part in parts]) / 4.0
        assert error == pytest.approx(spread, rel=0.2), name
        if name == "gain" and obeys == 0.0:
            assert abs(truth) < 4.0 * spread / np.sqrt(len(runs))


def test_repeated_texts_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.standard_normal(20), 10)
    together = clustered_mean(values, np.repeat(np.arange(20), 10))
    apart = clustered_mean(values, np.arange(200))
    widths = [one.interval.high - one.interval.low for one in (together, apart)]
    assert widths[0] == pytest.approx(np.sqrt(10) * widths[1], rel=0.1)
    assert "cluster-robust" in together.interval.estimator
    assert apart.interval.estimator == "Student's t over images"


def test_one_text_for_all_has_a_score_and_nothing_to_shuffle() -> None:
    found = text_alignment(np.eye(4) + 0.1, np.ones((4, 4)), np.zeros(4, dtype=int))
    assert found.gain is None
    assert found.shuffled is None
    assert found.score.clusters == 1
    assert "one prompt" in found.score.interval.estimator


@pytest.mark.parametrize(
    ("images", "texts", "clusters", "words"),
    [
        (np.ones((1, 3)), np.ones((1, 3)), np.zeros(1), "N >= 2"),
        (np.ones((3, 3)), np.ones((3, 4)), np.zeros(3), "3 and 4 dimensions"),
        (np.ones((3, 3)), np.ones((2, 3)), np.zeros(3), "3 images have 2 texts"),
        (np.full((3, 3), np.nan), np.ones((3, 3)), np.zeros(3), "not finite"),
        (np.zeros((3, 3)), np.ones((3, 3)), np.zeros(3), "image in row 0 .* zeros"),
        (np.ones((3, 3)), np.diag([1.0, 0.0, 1.0]), np.zeros(3), "text in row 1 .* zeros"),
    ],
)
def test_unusable_pairs_are_refused(images: np.ndarray, texts: np.ndarray, clusters: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        text_alignment(images, texts, clusters)


def test_a_single_value_is_refused() -> None:
    with pytest.raises(DataError, match="at least two"):
        clustered_mean(np.ones(1), np.zeros(1, dtype=int))
