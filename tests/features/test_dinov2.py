"""DINOv2: numerics against Hugging Face's implementation with the same random weights, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ldm_eval_features import dinov2, vit_recipes
from ldm_eval_features.dinov2 import Architecture, DinoV2, positions_at, published_names
from ldm_eval_features.extractor import build
from ldm_eval_features.weights import StateDict

from ldm_eval.api import ExtractorContext, TextExtractor
from ldm_eval.errors import ConfigError

transformers = pytest.importorskip("transformers")

TINY = Architecture(width=48, depth=3, heads=3, trained=16)
SIZES = {"dinov2-vits14": dinov2.VIT_S14, "dinov2-vitb14": dinov2.VIT_B14, "dinov2-vitl14": dinov2.VIT_L14}


def _theirs(architecture: Architecture, seed: int = 0) -> Any:
    """Hugging Face's network with random weights in every parameter, LayerScale and biases too."""
    config = transformers.Dinov2Config(
        hidden_size=architecture.width,
        num_hidden_layers=architecture.depth,
        num_attention_heads=architecture.heads,
        mlp_ratio=4,
        patch_size=architecture.patch,
        image_size=architecture.patch * architecture.trained,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.Dinov2Model(config).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim < 2 else parameter.shape[-1] ** -0.5)
    return network.requires_grad_(False)


def _ours(theirs: Any, architecture: Architecture, *, fold: bool) -> DinoV2:
    network = DinoV2(architecture)
    network.load_state_dict(published_names(theirs.state_dict()))
    network.requires_grad_(False).eval()
    if fold:
        network.fold()
    return network


def _images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(seed))


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((found - expected).abs() / expected.abs().amax(dim=1, keepdim=True)).max())


@pytest.mark.parametrize("fold", [False, True])
def test_features_are_those_of_another_implementation(*, fold: bool) -> None:
    theirs = _theirs(TINY)
    images = _images(2)
    expected = theirs(pixel_values=images).pooler_output
    assert _relative(_ours(theirs, TINY, fold=fold)(images), expected) < 1e-5


def test_in_float64_they_agree_to_rounding() -> None:
    theirs = _theirs(TINY).double()
    network = _ours(theirs, TINY, fold=False).double()
    network.load_state_dict(published_names(theirs.state_dict()))
    images = _images(2).double()
    expected = theirs(pixel_values=images).pooler_output
    assert _relative(network(images), expected) < 1e-12
    network.fold()
    assert _relative(network(images), expected) < 1e-12


def test_the_small_network_at_full_size_agrees_once_positions_are_the_same() -> None:
    ours, theirs = dinov2.VIT_S14, _theirs(Architecture(384, 12, 6, trained=16))
    learned = torch.randn(1, 1 + 37**2, 384, generator=torch.Generator().manual_seed(5)) * 0.1
    tensors = {**published_names(theirs.state_dict()), "pos_embed": learned}
    theirs.embeddings.position_embeddings.data = positions_at(learned, 16)
    network = DinoV2(ours)
    network.load_state_dict(tensors)
    network.requires_grad_(False).eval().fold()
    images = _images(1)
    assert _relative(network(images), theirs(pixel_values=images).pooler_output) < 1e-5


@pytest.mark.parametrize("name", SIZES)
def test_every_name_and_shape_is_found_in_hugging_faces_networks(name: str) -> None:
    size = SIZES[name]
    config = transformers.Dinov2Config(
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        image_size=518,
        patch_size=14,
    )
    with torch.device("meta"):
        theirs = {
            key: value.shape for key, value in published_names(transformers.Dinov2Model(config).state_dict()).items()
        }
        ours = {key: value.shape for key, value in DinoV2(size).state_dict().items()}
    assert ours == theirs


def _cubic(x: float) -> float:
    """The convolution kernel of bicubic interpolation with a = -3/4."""
    a, x = -0.75, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def test_positions_are_interpolated_with_the_tenth_of_the_published_code() -> None:
    learned = torch.randn(1, 1 + 37**2, 2, generator=torch.Generator().manual_seed(1)).double()
    weights = np.zeros((16, 37))
    for row in range(16):
        position = (row + 0.5) * 37 / 16.1 - 0.5
        base = int(np.floor(position))
        for column in range(base - 1, base + 3):
            weights[row, min(max(column, 0), 36)] += _cubic(position - column)
    grid = learned[0, 1:].reshape(37, 37, 2).numpy()
    expected = np.einsum("ia,jb,abd->ijd", weights, weights, grid).reshape(256, 2)
    moved = positions_at(learned, 16)
    assert torch.equal(moved[0, 0], learned[0, 0])
    assert np.abs(moved[0, 1:].numpy() - expected).max() < 1e-12
    without = torch.nn.functional.interpolate(
        learned[:, 1:].reshape(1, 37, 37, 2).permute(0, 3, 1, 2), size=(16, 16), mode="bicubic"
    )
    assert np.abs(without[0].flatten(1).T.numpy() - expected).max() > 0.01


def test_a_file_with_either_set_of_names_gives_the_same_fingerprint(tmp_path: Path) -> None:
    theirs = _theirs(Architecture(384, 12, 6, trained=37))
    theirs.save_pretrained(tmp_path / "hub")
    torch.save(published_names(theirs.state_dict()) | {"mask_token": torch.zeros(1, 384)}, tmp_path / "dinov2.pth")
    infos = []
    for file in (tmp_path / "hub" / "model.safetensors", tmp_path / "dinov2.pth"):
        context = ExtractorContext("cpu", offline=True, cache_dir=tmp_path, weights=file)
        extractor = vit_recipes.load_dinov2("dinov2-vits14", context)
        infos.append(extractor.info)
    assert infos[0] == infos[1]
    assert infos[0].name == "dinov2-vits14-unverified"
    assert (infos[0].dimension, infos[0].classes, infos[0].text) == (384, None, False)
    assert infos[0].resize == "pillow-bicubic-stretch-224"
    assert not isinstance(extractor, TextExtractor)
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 40), dtype=np.uint8)
    features = extractor.extract(images)
    assert features.logits is None
    assert features.values.shape == (5, 384)
    one = np.concatenate([extractor.extract(images[i : i + 1]).values for i in range(5)])
    assert _relative(torch.from_numpy(one), torch.from_numpy(features.values)) < 1e-5


def test_weights_of_another_size_are_refused_and_the_expected_file_is_named(tmp_path: Path) -> None:
    torch.save(published_names(_theirs(TINY).state_dict()), tmp_path / "w.pth")
    context = ExtractorContext("cpu", offline=True, cache_dir=tmp_path, weights=tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"are missing \(blocks\.10.*another shape.*dinov2_vits14_pretrain\.pth"):
        vit_recipes.load_dinov2("dinov2-vits14", context)


def test_offline_says_what_to_get_and_where(tmp_path: Path) -> None:
    context = ExtractorContext("cpu", offline=True, cache_dir=tmp_path)
    with pytest.raises(
        ConfigError, match=r"--offline.*dinov2_vitl14_pretrain\.pth \(SHA-256 d5383ea8.*--extractor-weights"
    ):
        vit_recipes.load_dinov2("dinov2-vitl14", context)


def test_building_leaves_the_global_generator_alone() -> None:
    state = StateDict(published_names(_theirs(TINY).state_dict()), published=False)
    recipe = vit_recipes.DINOV2_VITS14
    tiny = type(recipe)(
        recipe.name, lambda: DinoV2(TINY), recipe.preprocessing, recipe.published, recipe.licence, recipe.micro_batch
    )
    before = torch.random.get_rng_state()
    build(tiny, state, "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.network
@pytest.mark.parametrize("name", SIZES)
def test_the_published_weights_are_found_under_their_digest(name: str, tmp_path: Path) -> None:
    extractor = vit_recipes.load_dinov2(name, ExtractorContext("cpu", offline=False, cache_dir=tmp_path))
    assert extractor.info.name == name
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    assert np.isfinite(extractor.extract(images).values).all()
