"""CLIP: numerics of both encoders against Hugging Face's with the same random weights, and what is refused."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ldm_eval_features import clip, ldm_eval_extractors, vit_recipes
from ldm_eval_features.clip import Architecture, Clip, published_names
from ldm_eval_features.clip_extractor import ClipExtractor
from ldm_eval_features.weights import StateDict
from numpy.typing import NDArray

from ldm_eval.api import ExtractorContext, TextExtractor
from ldm_eval.errors import ConfigError

transformers = pytest.importorskip("transformers")

TINY = Architecture(size=56, patch=14, width=48, depth=3, text_width=32, dimension=24, text_depth=3, head=16)
SIZES = {"clip-vit-b32": clip.VIT_B32, "clip-vit-l14": clip.VIT_L14, "clip-vit-l14-336": clip.VIT_L14_336}


def _config(of: Architecture) -> Any:
    def encoder(width: int, depth: int) -> dict[str, Any]:
        return {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": depth,
            "num_attention_heads": width // of.head,
            "hidden_act": "quick_gelu",
        }

    text = {**encoder(of.text_width, of.text_depth), "vocab_size": of.vocabulary, "eos_token_id": 49407}
    vision = {**encoder(of.width, of.depth), "image_size": of.size, "patch_size": of.patch}
    return transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=of.dimension)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Hugging Face's network with random weights in every parameter, biases too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = transformers.CLIPModel(_config(TINY)).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim < 2 else parameter.shape[-1] ** -0.5)
    return network.requires_grad_(False)


def _ours(theirs: Any) -> Clip:
    network = Clip(TINY)
    network.load_state_dict(published_names(theirs.state_dict()))
    return network.requires_grad_(False).eval()


def _images(n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def _tokens() -> torch.Tensor:
    """Three texts of 1, 4 and 75 random tokens."""
    tokens = torch.zeros(3, 77, dtype=torch.int64)
    for row, length in zip(tokens, (1, 4, 75), strict=True):
        inner = torch.randint(0, 49406, (length,), generator=torch.Generator().manual_seed(length))
        row[: length + 2] = torch.cat([torch.tensor([49406]), inner, torch.tensor([49407])])
    return tokens


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((found - expected).abs() / expected.abs().amax(dim=1, keepdim=True)).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_features_of_images_are_those_of_another_implementation(
    theirs: Any, dtype: torch.dtype, tolerance: float
) -> None:
    reference = transformers.CLIPModel(_config(TINY)).eval()
    reference.load_state_dict(theirs.state_dict())
    reference = reference.to(dtype)
    images = _images().to(dtype)
    with torch.no_grad():
        pooled = reference.vision_model(pixel_values=images).pooler_output
        expected = reference.visual_projection(pooled)
        found = _ours(theirs).to(dtype)(images)
    assert _relative(found, expected) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_features_of_texts_are_those_of_another_implementation(
    theirs: Any, dtype: torch.dtype, tolerance: float
) -> None:
    reference = transformers.CLIPModel(_config(TINY)).eval()
    reference.load_state_dict(theirs.state_dict())
    reference = reference.to(dtype)
    with torch.no_grad():
        pooled = reference.text_model(input_ids=_tokens()).pooler_output
        expected = reference.text_projection(pooled)
        found = _ours(theirs).to(dtype).encode_text(_tokens())
    assert _relative(found, expected) < tolerance


def test_what_stands_behind_the_end_of_a_text_is_not_seen(theirs: Any) -> None:
    network = _ours(theirs)
    short = _tokens()[:2]
    assert _relative(network.encode_text(short[:, :6]), network.encode_text(short)) < 1e-5


@pytest.mark.parametrize("name", SIZES)
def test_every_name_and_shape_is_found_in_hugging_faces_networks(name: str) -> None:
    with torch.device("meta"):
        network = transformers.CLIPModel(_config(SIZES[name])).state_dict()
        found = {key: value.shape for key, value in published_names(network).items()}
        ours = {key: value.shape for key, value in Clip(SIZES[name]).state_dict().items()}
    assert ours == found


def _tiny_recipe() -> Any:
    recipe = vit_recipes.CLIP_VIT_B32
    preparation = dataclasses.replace(recipe.preprocessing, size=56)  # type: ignore[type-var]
    return dataclasses.replace(recipe, network=lambda: Clip(TINY), preprocessing=preparation)


@pytest.fixture(scope="module")
def extractor(theirs: Any) -> ClipExtractor:
    state = StateDict(published_names(theirs.state_dict()), published=False)
    return vit_recipes.build_clip(_tiny_recipe(), state, "cpu")


def _pictures(n: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, 3, 40, 30), dtype=np.uint8)


def test_it_embeds_images_and_texts_into_one_space(extractor: ClipExtractor) -> None:
    assert isinstance(extractor, TextExtractor)
    assert extractor.info.text
    assert (extractor.info.dimension, extractor.info.classes) == (24, None)
    features = extractor.extract(_pictures())
    assert features.logits is None
    assert features.values.shape == (5, 24)
    texts = extractor.embed_text(["a photo of a cat", "", "three dogs " * 60])
    assert texts.shape == (3, 24)
    assert texts.dtype == np.float32
    assert np.isfinite(texts).all()
    assert extractor.embed_text([]).shape == (0, 24)


def test_a_text_does_not_depend_on_those_beside_it(extractor: ClipExtractor) -> None:
    texts = [f"{number} photos of a cat" + " and a dog" * (number % 5) for number in range(40)]
    together = extractor.embed_text(texts)
    alone = np.concatenate([extractor.embed_text([text]) for text in texts])
    assert _relative(torch.from_numpy(alone), torch.from_numpy(together)) < 1e-5


def test_batches_change_images_by_rounding_alone(extractor: ClipExtractor) -> None:
    images = _pictures(9)
    alone = np.concatenate([extractor.extract(images[i : i + 1]).values for i in range(9)])
    assert _relative(torch.from_numpy(alone), torch.from_numpy(extractor.extract(images).values)) < 1e-5


class _Openai(torch.nn.Module):
    """Weights under OpenAI's names with the sizes that lie among them, as in its archives."""

    def __init__(self, network: Clip) -> None:
        super().__init__()
        for name, child in network.named_children():
            setattr(self, name, child)
        for name, parameter in network.named_parameters(recurse=False):
            setattr(self, name, parameter)
        for name, value in (("input_resolution", 56), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.visual(x)
        return y


def test_an_archive_of_openai_and_a_file_of_hugging_face_give_the_same_fingerprint(
    tmp_path: Path, theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs.save_pretrained(tmp_path / "hub")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; the files that exist stay
        torch.jit.save(torch.jit.trace(_Openai(_ours(theirs)), _images(1)), str(tmp_path / "ViT.pt"))
    monkeypatch.setitem(vit_recipes._CLIPS, "clip-vit-b32", _tiny_recipe())
    infos = [
        vit_recipes.load_clip(
            "clip-vit-b32", ExtractorContext("cpu", offline=True, cache_dir=tmp_path, weights=file)
        ).info
        for file in (tmp_path / "ViT.pt", tmp_path / "hub" / "model.safetensors")
    ]
    assert infos[0] == infos[1]
    assert infos[0].name == "clip-vit-b32-unverified"


def test_weights_of_another_network_are_refused_and_the_expected_file_is_named(tmp_path: Path, theirs: Any) -> None:
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    context = ExtractorContext("cpu", offline=True, cache_dir=tmp_path, weights=tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=r"another shape.*ViT-L-14-336px\.pt"):
        vit_recipes.load_clip("clip-vit-l14-336", context)


def test_the_descriptions_say_which_extractors_read_text() -> None:
    assert {spec.name for spec in ldm_eval_extractors() if spec.text} == set(vit_recipes._CLIPS)


def test_the_published_names_say_how_images_become_square() -> None:
    resizes = {recipe.name: recipe.preprocessing.resize for recipe in vit_recipes._CLIPS.values()}
    assert resizes == {
        "clip-vit-b32": "pillow-bicubic-shorter-side-224",
        "clip-vit-l14": "pillow-bicubic-shorter-side-224",
        "clip-vit-l14-336": "pillow-bicubic-square-336",
    }


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_features(theirs: Any, extractor: ClipExtractor) -> None:
    state = StateDict(published_names(theirs.state_dict()), published=False)
    on_gpu = vit_recipes.build_clip(_tiny_recipe(), state, "cuda")
    for found, expected in (
        (on_gpu.extract(_pictures()).values, extractor.extract(_pictures()).values),
        (on_gpu.embed_text(["a cat", "two dogs"]), extractor.embed_text(["a cat", "two dogs"])),
    ):
        assert _relative(torch.from_numpy(found), torch.from_numpy(expected)) < 1e-4


@pytest.mark.network
def test_the_published_weights_know_a_colour_by_its_name(tmp_path: Path) -> None:
    extractor = vit_recipes.load_clip("clip-vit-b32", ExtractorContext("cpu", offline=False, cache_dir=tmp_path))
    assert extractor.info.name == "clip-vit-b32"
    images = np.zeros((3, 3, 64, 64), np.uint8)
    for channel in range(3):
        images[channel, channel] = 255
    texts = extractor.embed_text([f"a plain {colour} picture" for colour in ("red", "green", "blue")])
    scores = extractor.extract(images).values @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]
