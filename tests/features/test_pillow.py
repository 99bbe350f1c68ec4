"""The resizing of DINOv2 and CLIP against Pillow itself, and their normalisation against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ldm_eval_features.pillow import Fit, Kernel, PillowPreparation, fixed_point_weights, resize
from numpy.typing import NDArray
from PIL import Image

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _images(height: int, width: int, seed: int = 0, n: int = 2) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, height, width), dtype=np.uint8)


def _pillow(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def _array(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image).transpose(2, 0, 1)


def _resized(
    picture: Image.Image, width: int, height: int, kernel: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Rows first, then columns: the one order that Pillow had before version 13, here in two calls."""
    return picture.resize((width, picture.size[1]), kernel).resize((width, height), kernel)


@pytest.mark.parametrize(
    ("height", "width", "target"),
    [(28, 28, 224), (32, 48, 224), (224, 224, 224), (336, 300, 224), (512, 512, 336), (19, 257, 100), (1, 1, 224)],
)
def test_it_is_pillows_resize_to_the_bit(height: int, width: int, target: int) -> None:
    images = _images(height, width)
    found = resize(torch.from_numpy(images), target, target).numpy()
    for one, image in zip(found, images, strict=True):
        assert np.array_equal(one, _array(_pillow(image).resize((target, target), Image.Resampling.BICUBIC)))


@settings(max_examples=40, deadline=None)
@given(*[st.integers(1, 70)] * 4, st.integers(0, 2**31))
def test_it_is_pillows_resize_at_any_size(height: int, width: int, tall: int, wide: int, seed: int) -> None:
    images = np.where(_images(height, width, seed, 1) < 128, 0, 255).astype(np.uint8)  # overshoots are the hard case
    found = resize(torch.from_numpy(images), tall, wide).numpy()[0]
    assert np.array_equal(found, _array(_resized(_pillow(images[0]), wide, tall)))


@settings(max_examples=40, deadline=None)
@given(*[st.integers(1, 70)] * 4, st.integers(0, 2**31))
def test_so_is_the_bilinear_one(height: int, width: int, tall: int, wide: int, seed: int) -> None:
    images = _images(height, width, seed, 1)
    found = resize(torch.from_numpy(images), tall, wide, "bilinear").numpy()[0]
    assert np.array_equal(found, _array(_resized(_pillow(images[0]), wide, tall, Image.Resampling.BILINEAR)))


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_weights_add_up_to_one(kernel: Kernel) -> None:
    assert np.allclose(fixed_point_weights(100, 37, kernel).sum(axis=1) / 2**22, 1.0, atol=1e-5)


def _expected(image: NDArray[np.uint8], fit: Fit, size: int) -> NDArray[np.uint8]:
    """The three published ways, written with Pillow's own calls."""
    picture = _pillow(image)
    width, height = picture.size
    if fit == "stretch":
        return _array(_resized(picture, size, size))
    if fit == "square":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return _array(_resized(picture.crop((left, top, left + side, top + side)), size, size))
    short = min(width, height)
    picture = _resized(picture, int(size * width / short), int(size * height / short))
    left, top = round((picture.size[0] - size) / 2.0), round((picture.size[1] - size) / 2.0)
    return _array(picture.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("fit", ["stretch", "shorter-side", "square"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 61), (97, 50), (300, 401)])
def test_images_that_are_not_square_become_so_as_published(fit: Fit, height: int, width: int) -> None:
    images = _images(height, width)
    preparation = PillowPreparation(56, fit, MEAN, DEVIATION)
    found = preparation.levels(torch.from_numpy(images)).numpy()
    for one, image in zip(found, images, strict=True):
        assert np.array_equal(one, _expected(image, fit, 56))


def test_channels_are_normalised_each_with_its_own_mean_and_deviation() -> None:
    images = _images(30, 30)
    seen = PillowPreparation(56, "stretch", MEAN, DEVIATION)(torch.from_numpy(images)).numpy()
    for one, image in zip(seen, images, strict=True):
        levels = _expected(image, "stretch", 56).astype(np.float64)
        expected = (levels / 255 - np.array(MEAN)[:, None, None]) / np.array(DEVIATION)[:, None, None]
        assert np.abs(one - expected).max() < 1e-6


def test_the_name_and_the_fingerprint_tell_all_that_is_done() -> None:
    stretch = PillowPreparation(224, "stretch", MEAN, DEVIATION)
    assert stretch.resize == "pillow-bicubic-stretch-224"
    others = [
        PillowPreparation(336, "stretch", MEAN, DEVIATION),
        PillowPreparation(224, "square", MEAN, DEVIATION),
        PillowPreparation(224, "stretch", DEVIATION, DEVIATION),
        PillowPreparation(224, "stretch", MEAN, MEAN),
        PillowPreparation(224, "stretch", MEAN, DEVIATION, text="lower case"),
    ]
    assert len({stretch.canonical, *(other.canonical for other in others)}) == 6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_levels() -> None:
    images = torch.from_numpy(_images(300, 201))
    found = resize(images.cuda(), 224, 224).cpu()
    assert torch.equal(found, resize(images, 224, 224))
