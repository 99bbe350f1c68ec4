"""Inception-2015 against a second implementation, written from the TensorFlow graph in float64, with random weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ldm_eval_features import recipes
from ldm_eval_features.extractor import NetworkExtractor
from torch import Tensor
from torch.nn.functional import conv2d, pad

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


def _reference(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """``(N, 3, 299, 299) float64`` -> ``(N, 2048) float64``."""
    x = _op(x, "Conv2d_1a_3x3/2", weights)
    x = _op(x, "Conv2d_2a_3x3", weights, same=False)
    x = _op(x, "Conv2d_2b_3x3", weights)
    x = _op(x, "max/2", weights)
    x = _op(x, "Conv2d_3b_1x1", weights)
    x = _op(x, "Conv2d_4a_3x3", weights, same=False)
    x = _op(x, "max/2", weights)
    for block, branches in BLOCKS:
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
