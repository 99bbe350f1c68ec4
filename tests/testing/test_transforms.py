"""What is done to copies: each transform does what its name says, to grey and colour alike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ldm_eval.errors import DataError
from ldm_eval.testing.transforms import DISGUISES, blurred, cropped, mirrored, reencoded, rows_of_kept_modes


def _smooth(channels: int) -> NDArray[np.uint8]:
    """Three images of gentle waves, ``(3, channels, 16, 20) uint8``."""
    y, x = np.mgrid[0:16, 0:20]
    images = [128 + 100 * np.sin(x / 7 + i) * np.cos(y / 5 + c) for i in range(3) for c in range(channels)]
    return np.rint(images).astype(np.uint8).reshape(3, channels, 16, 20)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(DISGUISES))
def test_disguises_keep_shape_and_input(name: str, channels: int) -> None:
    pixels = _smooth(channels)
    before = pixels.copy()
    after = DISGUISES[name](pixels)
    assert after.shape == pixels.shape
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(pixels, before)
    # Recognisable: nearer to its original (mirrored back, if need be) than half the spread between images.
    seen = mirrored(after) if name == "mirrored" else after
    assert np.abs(seen.astype(float) - before).mean() < 12
    assert name == "exact" or not np.array_equal(after, before)


def test_mirrored_twice_is_the_original() -> None:
    np.testing.assert_array_equal(mirrored(mirrored(_smooth(3))), _smooth(3))
    np.testing.assert_array_equal(mirrored(_smooth(1))[:, :, :, 0], _smooth(1)[:, :, :, -1])


def test_blur_keeps_the_mean_and_takes_the_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 1, 32, 32), dtype=np.uint8)
    smooth = blurred(noise, 1.0)
    assert smooth.mean() == pytest.approx(noise.mean(), abs=2)
    assert smooth.std() == pytest.approx(noise.std() / np.sqrt(4 * np.pi), rel=0.1)  # the kernel's L2 norm


def test_stronger_jpeg_differs_more() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    errors = [np.abs(reencoded(noise, quality).astype(float) - noise).mean() for quality in (95, 50, 10)]
    assert errors[0] < errors[1] < errors[2]


def test_crop_takes_the_border_away() -> None:
    pixels = np.zeros((1, 1, 20, 20), dtype=np.uint8)
    pixels[:, :, 0] = 255
    assert cropped(pixels, 0.1).max() < 255
    with pytest.raises(DataError, match="cannot lose"):
        cropped(np.zeros((1, 1, 2, 2), dtype=np.uint8))


def test_kept_modes_are_all_that_is_left() -> None:
    labels = np.repeat(np.arange(10), 50)
    rows = rows_of_kept_modes(labels, [1, 4], 80, np.random.default_rng(0))
    assert set(labels[rows]) == {1, 4}
    assert len(set(rows.tolist())) == 80
    with pytest.raises(DataError, match="there are 100"):
        rows_of_kept_modes(labels, [1, 4], 101, np.random.default_rng(0))
