"""What every extractor promises: shapes, batches, fingerprints, refusals."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ldm_eval_features import ldm_eval_extractors, recipes
from ldm_eval_features.extractor import NetworkExtractor, Preprocessing, build
from ldm_eval_features.weights import StateDict
from numpy.typing import NDArray

from ldm_eval.api import ExtractorContext, FeatureExtractor
from ldm_eval.errors import DataError

TOLERANCE = 1e-5
"""Largest difference between batch sizes, relative to the largest feature of the image; measured: below 2e-6."""


def _images(n: int, height: int = 28, width: int = 28, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, height, width), dtype=np.uint8)


def _relative(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    scale = np.abs(expected).max(axis=1, keepdims=True)
    return float((np.abs(found - expected) / scale).max())


def _in_batches(extractor: FeatureExtractor, images: NDArray[np.uint8], size: int) -> list[NDArray[np.float32]]:
    parts = [extractor.extract(images[i : i + size]) for i in range(0, len(images), size)]
    logits = [part.logits for part in parts if part.logits is not None]
    return [np.concatenate([part.values for part in parts]), np.concatenate(logits)]


def test_batch_size_changes_lite0_by_rounding_alone(lite0: NetworkExtractor) -> None:
    images = _images(64)
    whole = _in_batches(lite0, images, 64)
    for size in (1, 7):
        for found, expected in zip(_in_batches(lite0, images, size), whole, strict=True):
            assert _relative(found, expected) < TOLERANCE


def test_batch_size_changes_inception_by_rounding_alone(inception: NetworkExtractor) -> None:
    images = _images(9)
    whole = _in_batches(inception, images, 9)
    for size in (1, 7):
        for found, expected in zip(_in_batches(inception, images, size), whole, strict=True):
            assert _relative(found, expected) < TOLERANCE


def test_the_same_images_give_the_same_bytes(lite0: NetworkExtractor) -> None:
    images = _images(11)
    first, second = lite0.extract(images), lite0.extract(images)
    assert first.values.tobytes() == second.values.tobytes()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 31), (224, 224), (300, 260)])
def test_grey_images_of_any_size_give_finite_features(lite0: NetworkExtractor, height: int, width: int) -> None:
    grey = np.repeat(_images(2, height, width)[:, :1], 3, axis=1)
    features = lite0.extract(grey)
    assert features.values.shape == (2, 1280)
    assert features.values.dtype == np.float32
    assert features.logits is not None
    assert features.logits.shape == (2, 1000)
    assert np.isfinite(features.values).all()
    assert np.isfinite(features.logits).all()
    assert np.abs(features.values[0] - features.values[1]).max() > 0.01


def test_read_only_and_strided_images_are_taken(lite0: NetworkExtractor) -> None:
    images = _images(4)
    strided = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    images.setflags(write=False)
    assert _relative(lite0.extract(strided).values, lite0.extract(images).values) < TOLERANCE


def test_no_images_give_no_features(lite0: NetworkExtractor) -> None:
    features = lite0.extract(_images(0))
    assert features.values.shape == (0, 1280)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 3, 8, 8), np.float32), np.zeros((2, 1, 8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)],
)
def test_anything_but_rgb_uint8_is_refused(lite0: NetworkExtractor, images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match=r"images are \(N, 3, H, W\) uint8"):
        lite0.extract(images)


def test_building_leaves_the_global_generator_alone(inception_weights: dict[str, torch.Tensor]) -> None:
    before = torch.random.get_rng_state()
    build(recipes.INCEPTION_2015, StateDict(inception_weights, published=False), "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fingerprint_covers_weights_and_preprocessing(inception_weights: dict[str, torch.Tensor]) -> None:
    recipe = recipes.INCEPTION_2015
    changed = dict(inception_weights)
    changed["fc.bias"] = changed["fc.bias"] + 1e-6
    other = dataclasses.replace(recipe, preprocessing=Preprocessing("tf1-bilinear", 299, shift=127.5, scale=128.0))
    faster = dataclasses.replace(recipe, micro_batch=3)

    def fingerprint(which: object, weights: dict[str, torch.Tensor]) -> str:
        assert isinstance(which, type(recipe))
        return build(which, StateDict(weights, published=False), "cpu").info.fingerprint

    base = fingerprint(recipe, inception_weights)
    assert len(base) == 64
    assert fingerprint(faster, dict(reversed(inception_weights.items()))) == base
    assert len({base, fingerprint(recipe, changed), fingerprint(other, inception_weights)}) == 3


def test_the_name_is_kept_for_the_published_weights(lite0: NetworkExtractor, inception: NetworkExtractor) -> None:
    assert lite0.info.name == "efficientnet-lite0"
    assert lite0.info.resize == "bilinear-antialias-224"
    assert lite0.info.fingerprint == "174410adbdda7b861c7807c184fee61aad75f0d79eabded823c6013f4504598d"
    assert inception.info.name == "inception-2015-unverified"
    assert (inception.info.dimension, inception.info.classes, inception.info.resize) == (2048, 1008, "tf1-bilinear-299")


def test_the_plugin_lists_its_extractors_without_torch() -> None:
    names = [spec.name for spec in ldm_eval_extractors()]
    assert names[0] == "efficientnet-lite0"
    assert len(set(names)) == len(names)
    code = "import sys, ldm_eval_features as p; p.ldm_eval_extractors(); print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_features(lite0: NetworkExtractor) -> None:
    images = _images(16)
    on_gpu = recipes.load_efficientnet_lite0(ExtractorContext("cuda", offline=True, cache_dir=Path("nowhere")))
    assert _relative(on_gpu.extract(images).values, lite0.extract(images).values) < 1e-4
