"""SSCD against a plain ResNet-50 in float64 written from the paper, GeM against numpy, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from ldm_eval_features import recipes
from ldm_eval_features.extractor import NetworkExtractor, build
from ldm_eval_features.sscd import NAMES, Sscd, generalised_mean
from ldm_eval_features.weight_names import renamed
from ldm_eval_features.weights import StateDict, fill
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, max_pool2d

from ldm_eval.api import ExtractorContext
from ldm_eval.errors import ConfigError, DataError

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights under the public names; the last norm of a block is small, as trained ones are."""
    generator = torch.Generator().manual_seed(3)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Sscd().state_dict().items()}
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            continue
        if len(shape) > 1:
            weights[name] = torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5
        elif name.endswith(("running_var", "weight")):
            scale = 0.3 if name.endswith("bn3.weight") else 1.0
            weights[name] = scale * (torch.rand(shape, generator=generator) + 0.5)
        else:
            weights[name] = torch.randn(shape, generator=generator) * 0.1
    return weights


@pytest.fixture(scope="module")
def sscd(state: dict[str, Tensor]) -> NetworkExtractor:
    return build(recipes.SSCD, StateDict(state, published=True), "cpu")


def _images(n: int, height: int = 40, width: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, height, width), dtype=np.uint8)


def _skew_320(images: NDArray[np.uint8]) -> Tensor:
    """torchvision's Resize([320, 320]), ToTensor and Normalize, with Pillow and numpy; rows first in every Pillow."""
    seen = []
    for image in images:
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        picture = picture.resize((320, picture.size[1]), Image.Resampling.BILINEAR)
        levels = np.asarray(picture.resize((320, 320), Image.Resampling.BILINEAR), np.float64) / 255
        seen.append(((levels - MEAN) / DEVIATION).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(seen))


def _reference(x: Tensor, weights: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """``(N, 3, 320, 320) float64`` -> ``(N, 512) float64``, step by step as in arXiv:1512.03385 and 2202.10261."""

    def step(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        kernel = weights[f"backbone.{conv}.weight"].double()
        y = conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, variance, gain, shift = (
            weights[f"backbone.{norm}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(y, mean, variance, gain, shift)

    x = max_pool2d(step(x, "conv1", "bn1", stride=2).relu(), 3, stride=2, padding=1)
    for layer, repeats in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for index in range(repeats):
            block, stride = f"layer{layer}.{index}", 2 if index == 0 and layer > 1 else 1
            y = step(x, f"{block}.conv1", f"{block}.bn1").relu()
            y = step(y, f"{block}.conv2", f"{block}.bn2", stride).relu()
            y = step(y, f"{block}.conv3", f"{block}.bn3")
            shortcut = step(x, f"{block}.downsample.0", f"{block}.downsample.1", stride) if index == 0 else x
            x = (y + shortcut).relu()
    flat = x.numpy().reshape(*x.shape[:2], -1)
    pooled = np.cbrt((np.maximum(flat, 1e-6) ** 3).mean(axis=2))
    projected = pooled @ weights["backbone.fc.weight"].double().numpy().T + weights["backbone.fc.bias"].double().numpy()
    return np.asarray(projected / np.linalg.norm(projected, axis=1, keepdims=True))


def test_descriptors_are_those_of_the_second_implementation(sscd: NetworkExtractor, state: dict[str, Tensor]) -> None:
    images = _images(2, 48, 30)
    expected = _reference(_skew_320(images), state)
    found = sscd.extract(images)
    assert found.logits is None
    assert np.abs(found.values - expected).max() <= 5e-6 * np.abs(expected).max()
    assert 1 - (expected[0] * expected[1]).sum() > 1e-4  # the images are told apart


def test_it_sees_pillows_bilinear_square_of_320_pixels() -> None:
    images = _images(2, 500, 120)
    seen = recipes.SSCD.preprocessing(torch.from_numpy(images)).double()
    assert (seen - _skew_320(images)).abs().max() < 1e-6


def test_the_generalised_mean_is_the_cube_root_of_the_mean_cube() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 0.0]).reshape(1, 1, 2, 2)
    assert generalised_mean(x).item() == pytest.approx(9.0 ** (1 / 3))  # (1 + 8 + 27) / 4 = 9
    constant = torch.full((2, 3, 5, 4), 7.0)
    torch.testing.assert_close(generalised_mean(constant), torch.full((2, 3), 7.0))
    assert generalised_mean(torch.zeros(1, 1, 3, 3)).item() == pytest.approx(1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (28, 28)])
def test_descriptors_of_grey_images_have_length_one(sscd: NetworkExtractor, height: int, width: int) -> None:
    grey = np.repeat(_images(2, height, width)[:, :1], 3, axis=1)
    values = sscd.extract(grey).values
    assert values.shape == (2, 512)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1.0, atol=1e-6)


def test_batches_change_rounding_alone(sscd: NetworkExtractor) -> None:
    images = _images(5)
    whole = sscd.extract(images).values
    alone = np.concatenate([sscd.extract(image[None]).values for image in images])
    assert np.abs(whole - alone).max() < 1e-5 * np.abs(whole).max()


def test_folding_changes_rounding_alone(state: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        network = Sscd()
    fill(network, StateDict(state, published=False), recipes.SSCD.published)
    x = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(x)
        network.fold()
        assert (network(x) - before).abs().max() < 5e-6 * before.abs().max()


@pytest.mark.parametrize("images", [np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 1, 8, 8), np.uint8)])
def test_anything_but_rgb_uint8_is_refused(sscd: NetworkExtractor, images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match=r"images are \(N, 3, H, W\) uint8"):
        sscd.extract(images)


def test_what_a_measurement_says_about_it(sscd: NetworkExtractor, state: dict[str, Tensor]) -> None:
    info = sscd.info
    assert (info.name, info.dimension, info.classes) == ("sscd", 512, None)
    assert (info.resize, info.licence) == ("pillow-bilinear-stretch-320", "MIT")
    changed = {**state, "backbone.fc.bias": state["backbone.fc.bias"] + 1e-5}
    other = build(recipes.SSCD, StateDict(changed, published=False), "cpu").info
    assert other.name == "sscd-unverified"
    assert other.fingerprint != info.fingerprint


def _classy(name: str) -> str:
    """The name that Classy Vision gives to the same tensor."""
    places = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6}
    parts = name.split(".")
    if parts[1] == "fc":
        return f"embeddings.1.{parts[2]}"
    if parts[1] in ("conv1", "bn1"):
        return f"backbone.initial_block._module.{places[parts[1]]}.{parts[2]}"
    stage, index, layer = int(parts[1].removeprefix("layer")) - 1, parts[2], parts[3]
    block = f"backbone.blocks.{stage}.block{stage}-{index}"
    if layer == "downsample":
        return f"{block}.downsample.{parts[4]}.{parts[5]}"
    return f"{block}.bn.{parts[4]}" if layer == "bn3" else f"{block}.convolutional_block.{places[layer]}.{parts[4]}"


def test_the_names_of_the_other_published_files_are_understood(state: dict[str, Tensor]) -> None:
    classy = {_classy(name): name for name in state}
    assert len(classy) == len(state) == 267
    tensors = {name: torch.empty(0) for name in classy}
    assert list(renamed(tensors, NAMES)) == list(classy.values())
    plain = [name.replace("block0-", "").replace("block3-", "") for name in classy]
    assert set(renamed({name: torch.empty(0) for name in plain}, NAMES)) == set(state)
    assert list(renamed(state, NAMES)) == list(state)


def test_files_of_another_network_are_refused_with_the_file_to_get(tmp_path: Path) -> None:
    with_code = tmp_path / "other.torchscript.pt"
    torch.save({"weight": torch.ones(1)}, with_code)
    context = ExtractorContext("cpu", offline=True, cache_dir=tmp_path, weights=with_code)
    with pytest.raises(ConfigError, match=r"267 names are missing .*sscd_disc_mixup\.torchvision\.pt"):
        recipes.load_sscd(context)


def test_a_plain_state_dict_is_taken_and_not_called_published(tmp_path: Path, state: dict[str, Tensor]) -> None:
    given = tmp_path / "sscd_disc_mixup.classy.pt"
    torch.save({_classy(name): tensor for name, tensor in state.items()}, given)
    context = ExtractorContext("cpu", offline=True, cache_dir=tmp_path, weights=given)
    found = recipes.load_sscd(context)
    assert found.info.name == "sscd-unverified"
    plain = build(recipes.SSCD, StateDict(state, published=False), "cpu")
    assert found.info.fingerprint == plain.info.fingerprint


def test_offline_names_the_file_and_its_digest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sscd_disc_mixup\.torchscript\.pt.*9f26bd4c848cc19b"):
        recipes.load_sscd(ExtractorContext("cpu", offline=True, cache_dir=tmp_path))
