"""Digests of image sets: known answer, and what does and does not change them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import ldm_eval.stats.digests as digests
from ldm_eval.errors import DataError
from ldm_eval.stats.digests import image_digest


def test_digest_is_the_sha256_of_header_and_pixels() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    expected = hashlib.sha256(b"ldm-eval images 1\nuint8\n2 3 2 2\n" + bytes(range(24))).hexdigest()
    assert image_digest(pixels) == expected


def test_digest_of_16_bits_names_them_and_takes_the_low_byte_first() -> None:
    pixels = np.array([1, 0x0203], dtype=np.uint16).reshape(1, 1, 1, 2)
    expected = hashlib.sha256(b"ldm-eval images 1\nuint16\n1 1 1 2\n" + bytes([1, 0, 3, 2])).hexdigest()
    assert image_digest(pixels) == expected
    assert image_digest(pixels.astype(">u2")) == expected
    assert image_digest((pixels & 255).astype(np.uint8)) != image_digest(pixels & 255)


def test_digest_sees_one_grey_level_order_and_shape() -> None:
    pixels = np.zeros((4, 1, 2, 2), np.uint8)
    pixels[0, 0, 0, 0] = 7
    changed = pixels.copy()
    changed[3, 0, 1, 1] = 1
    found = {image_digest(p) for p in (pixels, changed, pixels[::-1], pixels.reshape(2, 1, 4, 2))}
    assert len(found) == 4


def test_strides_memory_maps_and_block_size_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    expected = image_digest(np.ascontiguousarray(pixels))
    np.save(tmp_path / "p.npy", pixels)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    monkeypatch.setattr(digests, "_BLOCK_BYTES", 200)
    assert image_digest(pixels) == expected
    assert image_digest(mapped) == expected


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 1, 2, 2), np.float32), np.zeros((2, 2, 2), np.uint8), np.zeros((2, 1, 2, 2), np.uint32)]
)
def test_anything_but_nchw_uint8_or_uint16_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        image_digest(pixels)
