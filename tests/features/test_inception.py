"""Inception-2015 in its three uses against a second implementation, written from the TensorFlow graph in float64.

Weights are random. The plain network, clean-fid's resize before it, and the spatial features of sFID.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from ldm_eval_features import recipes
from ldm_eval_features.extractor import NetworkExtractor, build
from ldm_eval_features.inception import Inception2015, InceptionGraph, InceptionSpatial
from ldm_eval_features.weights import StateDict, fill
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ldm_eval.errors import ConfigError, DataError

# One row per convolution of each block: (branch, [names of convolutions in order]); all SAME at stride 1 unless noted.
A = [
    ["branch1x1"],
    ["branch5x5_1", "branch5x5_2"],
    ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
    ["mean", "branch_pool"],
]
B = [["branch3x3/2"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3/2"], ["max/2"]]
C = [
    ["branch1x1"],
    ["branch7x7_1", "branch7x7_2", "branch7x7_3"],
    ["branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"],
    ["mean", "branch_pool"],
]
D = [
    ["branch3x3_1", "branch3x3_2/2"],
    ["branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4/2"],
    ["max/2"],
]


def _block_e(pool: str) -> list[list[str]]:
    return [
        ["branch1x1"],
        ["branch3x3_1", "branch3x3_2a"],
        ["branch3x3_1", "branch3x3_2b"],
        ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a"],
        ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3b"],
        [pool, "branch_pool"],
    ]


BLOCKS = [
    *[("Mixed_5" + letter, A) for letter in "bcd"],
    ("Mixed_6a", B),
    *[("Mixed_6" + letter, C) for letter in "bcde"],
    ("Mixed_7a", D),
    ("Mixed_7b", _block_e("mean")),
    ("Mixed_7c", _block_e("max")),
]


def _windows(x: Tensor, stride: int, outside: float) -> Tensor:
    """3x3 windows, ``(N, C, H', W', 9)``: VALID at stride 2, SAME (filled with ``outside``) at stride 1."""
    if stride == 1:
        x = pad(x, (1, 1, 1, 1), value=outside)
    return x.unfold(2, 3, stride).unfold(3, 3, stride).flatten(4)


def _op(x: Tensor, name: str, weights: Mapping[str, Tensor], same: bool = True) -> Tensor:
    kind, _, stride_text = name.partition("/")
    stride = int(stride_text or 1)
    last = kind.rpartition(".")[2]
    if last == "max":
        return _windows(x, stride, -torch.inf).amax(-1)
    if last == "mean":
        total = _windows(x, stride, 0.0).sum(-1)
        return total / _windows(torch.ones_like(x), stride, 0.0).sum(-1)
    kernel = weights[f"{kind}.conv.weight"].double()
    if same and stride == 1:
        rows, columns = kernel.shape[2] // 2, kernel.shape[3] // 2
        x = pad(x, (columns, columns, rows, rows))
    y = conv2d(x, kernel, stride=stride)
    mean, variance, gain, shift = (
        weights[f"{kind}.bn.{part}"].double()[:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return torch.relu((y - mean) / torch.sqrt(variance + 0.001) * gain + shift)


def _reference(x: Tensor, weights: Mapping[str, Tensor], until: str = "pool_3") -> Tensor:
    """``(N, 3, 299, 299) float64`` -> ``(N, 2048) float64``, or the output of the block before ``until``."""
    x = _op(x, "Conv2d_1a_3x3/2", weights)
    x = _op(x, "Conv2d_2a_3x3", weights, same=False)
    x = _op(x, "Conv2d_2b_3x3", weights)
    x = _op(x, "max/2", weights)
    x = _op(x, "Conv2d_3b_1x1", weights)
    x = _op(x, "Conv2d_4a_3x3", weights, same=False)
    x = _op(x, "max/2", weights)
    for block, branches in BLOCKS:
        if block == until:
            return x
        outputs = []
        for branch in branches:
            y = x
            for name in branch:
                y = _op(y, f"{block}.{name}", weights)
            outputs.append(y)
        x = torch.cat(outputs, 1)
    return x.mean(dim=(2, 3))


def test_features_and_logits_are_those_of_the_second_implementation(
    inception: NetworkExtractor, inception_weights: dict[str, Tensor]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 24), dtype=np.uint8)
    seen = recipes.INCEPTION_2015.preprocessing(torch.from_numpy(images)).double()
    expected = _reference(seen, inception_weights)
    logits = expected @ inception_weights["fc.weight"].double().T
    found = inception.extract(images)
    assert found.logits is not None
    assert np.abs(found.values - expected.numpy()).max() <= 5e-6 * expected.abs().max()
    assert np.abs(found.logits - logits.numpy()).max() <= 5e-6 * logits.abs().max()
    between = float((expected[0] - expected[1]).abs().max() / expected.abs().max())
    assert between > 1e-2  # the images are told apart, so the agreement above means something


def test_the_input_is_v_minus_128_over_128() -> None:
    images = torch.tensor([0, 128, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 8, 8)
    seen = recipes.INCEPTION_2015.preprocessing(images)
    assert seen.shape == (3, 3, 299, 299)
    assert seen[:, 0, 0, 0].tolist() == [-1.0, 0.0, 127 / 128]


def test_names_and_shapes_are_the_public_ones(inception_weights: dict[str, Tensor]) -> None:
    shapes = {name: tuple(value.shape) for name, value in inception_weights.items()}
    assert len(shapes) == 94 * 5 + 2
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_5b.branch1x1.conv.weight"] == (64, 192, 1, 1)
    assert shapes["Mixed_6b.branch7x7dbl_5.bn.running_var"] == (192,)
    assert shapes["Mixed_7c.branch_pool.conv.weight"] == (192, 2048, 1, 1)
    assert shapes["fc.weight"] == (1008, 2048)
    assert shapes["fc.bias"] == (1008,)


@pytest.fixture(scope="module")
def clean(inception_weights: dict[str, Tensor]) -> NetworkExtractor:
    return build(recipes.INCEPTION_2015_CLEAN, StateDict(inception_weights, published=True), "cpu")


@pytest.fixture(scope="module")
def spatial(inception_weights: dict[str, Tensor]) -> NetworkExtractor:
    return build(recipes.INCEPTION_2015_SPATIAL, StateDict(inception_weights, published=True), "cpu")


def _images(n: int, height: int = 32, width: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, height, width), dtype=np.uint8)


def _as_clean_fid(images: NDArray[np.uint8]) -> Tensor:
    """clean-fid 0.1.35: each channel in mode F through Pillow's bicubic, clipped, ``x - 128``, ``/ 128``."""
    resized = [
        [Image.fromarray(channel.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC) for channel in image]
        for image in images
    ]
    levels = np.stack([[np.asarray(channel).clip(0, 255) for channel in image] for image in resized])
    return (torch.from_numpy(levels).double() - 128) / 128


def test_clean_features_are_those_behind_pillows_resize(
    clean: NetworkExtractor, inception: NetworkExtractor, inception_weights: dict[str, Tensor]
) -> None:
    images = _images(1, 40, 24)
    expected = _reference(_as_clean_fid(images), inception_weights).numpy()
    found = clean.extract(images)
    assert np.abs(found.values - expected).max() <= 5e-6 * np.abs(expected).max()
    logits = expected @ inception_weights["fc.weight"].double().T.numpy()
    assert found.logits is not None
    assert np.abs(found.logits - logits).max() <= 5e-6 * np.abs(logits).max()
    assert np.abs(found.values - inception.extract(images).values).max() > 1e-3 * np.abs(expected).max()


def test_spatial_features_are_the_first_channels_of_mixed_6_in_tensorflows_order(
    spatial: NetworkExtractor, inception_weights: dict[str, Tensor]
) -> None:
    images = _images(2, 24, 40)
    seen = recipes.INCEPTION_2015.preprocessing(torch.from_numpy(images)).double()
    before = _reference(seen, inception_weights, until="Mixed_6d")
    branch = _op(before, "Mixed_6d.branch1x1", inception_weights)
    assert branch.shape == (2, 192, 17, 17)
    expected = branch.permute(0, 2, 3, 1).numpy()[..., :7].reshape(2, -1)  # NHWC, as the evaluator of ADM
    found = spatial.extract(images)
    assert found.logits is None
    assert found.values.shape == (2, 2023)
    assert np.abs(found.values - expected).max() <= 1e-5 * np.abs(expected).max()


def test_mirrored_images_are_told_apart_by_spatial_features_alone(spatial: NetworkExtractor) -> None:
    ramp = np.zeros((1, 3, 64, 64), np.uint8)
    ramp[..., :20] = 255
    left, right = (spatial.extract(np.ascontiguousarray(one)).values for one in (ramp, ramp[..., ::-1]))
    assert np.abs(left - right).max() > 0.01 * np.abs(left).max()


def test_the_uses_share_weights_and_differ_in_fingerprint_and_name(
    clean: NetworkExtractor, spatial: NetworkExtractor, inception: NetworkExtractor
) -> None:
    assert recipes.INCEPTION_2015_CLEAN.published == recipes.INCEPTION_2015_SPATIAL.published
    assert recipes.INCEPTION_2015_CLEAN.published == recipes.INCEPTION_2015.published
    assert len({one.info.fingerprint for one in (clean, spatial, inception)}) == 3
    assert (clean.info.name, clean.info.resize) == ("inception-2015-clean", "bicubic-antialias-clipped-299")
    assert (spatial.info.name, spatial.info.dimension, spatial.info.classes) == ("inception-2015-spatial", 2023, None)


def test_the_spatial_network_stops_where_its_features_are(inception_weights: dict[str, Tensor]) -> None:
    folded = _filled(InceptionSpatial, inception_weights)
    folded.fold()
    assert sum(p.numel() for p in folded.parameters()) < 0.4 * sum(w.numel() for w in inception_weights.values())


def _filled(kind: type[InceptionGraph], weights: Mapping[str, Tensor]) -> InceptionGraph:
    with torch.device("meta"):
        network = kind()
    fill(network, StateDict(weights, published=False), recipes.INCEPTION_2015.published)
    return network


@pytest.mark.parametrize("kind", [Inception2015, InceptionSpatial])
def test_folding_and_fusing_change_rounding_alone(
    kind: type[InceptionGraph], inception_weights: dict[str, Tensor]
) -> None:
    x = torch.randn(2, 3, 299, 299, generator=torch.Generator().manual_seed(2))
    network = _filled(kind, inception_weights)
    with torch.inference_mode():
        before = network(x)
        network.fold()
        after = network(x)
    assert (before - after).abs().max() < 5e-6 * before.abs().max()


@pytest.mark.parametrize("side", [1, 2])
def test_tiny_grey_images_have_finite_features(
    clean: NetworkExtractor, spatial: NetworkExtractor, inception: NetworkExtractor, side: int
) -> None:
    grey = np.repeat(np.arange(side * side, dtype=np.uint8).reshape(1, 1, side, side) * 60, 3, axis=1)
    for extractor in (clean, spatial, inception):
        values = extractor.extract(grey).values
        assert np.isfinite(values).all()
        assert np.ptp(values) > 0


def test_batches_change_the_new_uses_by_rounding_alone(clean: NetworkExtractor, spatial: NetworkExtractor) -> None:
    images = _images(5)
    for extractor in (clean, spatial):
        whole = extractor.extract(images).values
        alone = np.concatenate([extractor.extract(image[None]).values for image in images])
        assert (np.abs(whole - alone).max(axis=1) < 1e-5 * whole.max(axis=1)).all()


def test_weights_of_another_network_are_refused_by_all_uses(inception_weights: dict[str, Tensor]) -> None:
    changed = dict(inception_weights)
    changed["Mixed_7c.extra"] = changed.pop("Mixed_7c.branch1x1.conv.weight")
    for recipe in (recipes.INCEPTION_2015_CLEAN, recipes.INCEPTION_2015_SPATIAL):
        with pytest.raises(ConfigError, match=r"missing \(Mixed_7c\.branch1x1\.conv\.weight\)"):
            build(recipe, StateDict(changed, published=False), "cpu")


def test_another_type_is_refused(spatial: NetworkExtractor) -> None:
    with pytest.raises(DataError, match=r"images are \(N, 3, H, W\) uint8"):
        spatial.extract(_images(1).astype(np.float32))
