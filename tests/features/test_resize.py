"""The resizing operators against definitions written out pixel by pixel, against torch, and against Pillow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ldm_eval_features.resize import OPERATORS, antialiased_bicubic, antialiased_bilinear, resize, tf1_bilinear
from numpy.typing import NDArray
from PIL import Image

BICUBIC = Image.Resampling.BICUBIC


def _images(n: int, height: int, width: int) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels).float()


def _tf1_pixel_by_pixel(image: NDArray[np.float64], target: int) -> NDArray[np.float64]:
    """TensorFlow 1's ResizeBilinear kernel for one channel, align_corners=False; positions are float32 as there."""
    height, width = image.shape
    scale_y, scale_x = (np.float32(size) / np.float32(target) for size in image.shape)
    result = np.zeros((target, target))
    for i in range(target):
        y = float(np.float32(i) * scale_y)
        top = min(math.floor(y), height - 1)
        bottom = min(top + 1, height - 1)
        for j in range(target):
            x = float(np.float32(j) * scale_x)
            left = min(math.floor(x), width - 1)
            right = min(left + 1, width - 1)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            result[i, j] = upper + (lower - upper) * (y - top)
    return result


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 11), (299, 299), (320, 500)])
def test_tf1_resize_is_the_original_loop(height: int, width: int) -> None:
    images = _images(1, height, width)
    found = resize(images, 299, "tf1-bilinear")[0, 1].double().numpy()
    expected = _tf1_pixel_by_pixel(images[0, 1].double().numpy(), 299)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)  # grey levels


def test_tf1_resize_to_the_same_size_changes_nothing() -> None:
    images = _images(2, 299, 299)
    assert torch.equal(resize(images, 299, "tf1-bilinear"), images)


def test_tf1_resize_has_no_half_pixel_shift_and_no_antialias() -> None:
    assert tf1_bilinear(2, 4).tolist() == [[1, 0], [0.5, 0.5], [0, 1], [0, 1]]
    assert tf1_bilinear(4, 2).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_antialiased_resize_has_both() -> None:
    assert antialiased_bilinear(2, 4).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_allclose(antialiased_bilinear(4, 2), [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (224, 224), (225, 100), (500, 301)])
def test_antialiased_resize_is_what_torch_computes(height: int, width: int) -> None:
    images = _images(2, height, width)
    expected = torch.nn.functional.interpolate(
        images.double(), (224, 224), mode="bilinear", antialias=True, align_corners=False
    )
    found = resize(images, 224, "bilinear-antialias").double()
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)  # grey levels


def _clean(image: NDArray[np.uint8], target: int) -> NDArray[np.float32]:
    """What clean-fid 0.1.35 does to ``(3, H, W)``: Pillow's bicubic in mode F for each channel, then a clip."""
    channels = [Image.fromarray(channel.astype(np.float32)).resize((target, target), BICUBIC) for channel in image]
    return np.stack([np.asarray(channel).clip(0, 255) for channel in channels])


CLEAN_SIZES = [(1, 1), (1, 7), (8, 8), (28, 28), (64, 48), (224, 224), (299, 299), (298, 300), (512, 512), (1024, 768)]


@pytest.mark.parametrize(("height", "width"), CLEAN_SIZES)
def test_the_bicubic_resize_is_pillows_in_float(height: int, width: int) -> None:
    images = _images(1, height, width)
    extreme = torch.where(images < 128, 0.0, 255.0)  # where a cubic overshoots most
    for pixels in (images, extreme):
        found = resize(pixels, 299, "bicubic-antialias-clipped")[0].numpy()
        np.testing.assert_allclose(found, _clean(pixels[0].byte().numpy(), 299), atol=1e-4, rtol=0)  # grey levels


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), target=st.integers(1, 80), seed=st.integers(0, 2**31))
def test_the_bicubic_resize_is_pillows_at_any_size(height: int, width: int, target: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (3, height, width), dtype=np.uint8)
    pixels = torch.from_numpy(bits * np.uint8(255))[None].float()
    found = resize(pixels, target, "bicubic-antialias-clipped")[0].numpy()
    np.testing.assert_allclose(found, _clean(bits * np.uint8(255), target), atol=1e-4, rtol=0)


def test_the_bicubic_resize_keeps_fractions_and_cuts_off_overshoots() -> None:
    edge = torch.tensor([0.0, 0.0, 255.0, 255.0]).expand(1, 3, 4, 4)
    found = resize(edge, 299, "bicubic-antialias-clipped")
    assert (found.min(), found.max()) == (0.0, 255.0)
    assert (found != found.round()).any()
    assert antialiased_bicubic(4, 8)[3].tolist() == [-0.0703125, 0.8671875, 0.2265625, -0.0234375]  # Keys, a = -1/2


@pytest.mark.parametrize("operator", sorted(OPERATORS))
@pytest.mark.parametrize("size", [1, 3, 8, 224, 1000])
def test_weights_sum_to_one_and_only_a_cubic_has_negative_ones(operator: str, size: int) -> None:
    matrix = OPERATORS[operator](size, 224)
    assert (matrix.min() < 0.0) == (operator == "bicubic-antialias-clipped" and size not in (1, 224))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
@pytest.mark.parametrize(("height", "width"), [(1, 2), (31, 500), (299, 64)])
def test_a_product_by_bands_is_the_whole_product(operator: str, height: int, width: int) -> None:
    images = _images(1, height, width)
    rows, columns = OPERATORS[operator](height, 299), OPERATORS[operator](width, 299)
    whole = (rows @ images[0].double().numpy() @ columns.T).clip(0, 255)
    np.testing.assert_allclose(resize(images, 299, operator)[0].numpy(), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_an_image_is_resized_alike_in_every_batch(operator: str) -> None:
    images = _images(9, 28, 20)
    together = resize(images, 224, operator)
    alone = torch.cat([resize(image[None], 224, operator) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
