from __future__ import annotations

from pathlib import Path

import numpy as np

from ldm_eval.api import Features
from ldm_eval.store.features import FeatureStore

FEATURES = Features(np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((3, 2), dtype=np.float32))


def test_features_are_found_by_images_extractor_and_device(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put("images", "extractor", "cpu", FEATURES)
    found = store.find("images", "extractor", "cpu")
    assert found is not None
    assert found.logits is not None
    assert np.array_equal(np.load(found.values), FEATURES.values)
    assert np.array_equal(np.load(found.logits), FEATURES.logits)
    for other in (("other", "extractor", "cpu"), ("images", "other", "cpu"), ("images", "extractor", "cuda")):
        assert store.find(*other) is None


def test_damaged_features_are_not_used(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    values = store.put("images", "extractor", "cpu", FEATURES).values
    content = bytearray(values.read_bytes())
    content[-1] ^= 1
    values.write_bytes(content)
    assert store.find("images", "extractor", "cpu") is None


def test_an_extractor_without_a_classifier_has_no_logits(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put("images", "extractor", "cpu", Features(FEATURES.values))
    found = store.find("images", "extractor", "cpu")
    assert found is not None
    assert found.logits is None
