"""Digests: equal data have equal names, whatever file they came from."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ldm_eval.errors import DataError

_BLOCK_BYTES = 1 << 24


def image_digest(pixels: NDArray[np.uint8]) -> str:
    r"""SHA-256 (64 hex digits) of a set of images: its shape and its pixels, in order.

    The bytes hashed are the text ``ldm-eval images 1\nuint8\nN C H W\n`` and then the pixels in C order, image by
    image. Strides, memory maps and file formats do not matter; the order of the images does.

    Args:
        pixels: ``(N, C, H, W) uint8``; a memory map is read in blocks of about 16 MB.

    Raises:
        DataError: when ``pixels`` has another type or number of dimensions.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise DataError(
            f"A digest was asked of an array {pixels.dtype} {pixels.shape}; image sets are (N, C, H, W) uint8."
        )
    shape = " ".join(str(size) for size in pixels.shape)
    digest = hashlib.sha256(f"ldm-eval images 1\nuint8\n{shape}\n".encode())
    count = pixels.shape[0]
    rows = max(1, _BLOCK_BYTES // max(1, int(np.prod(pixels.shape[1:], dtype=np.int64))))
    for start in range(0, count, rows):
        digest.update(np.ascontiguousarray(pixels[start : start + rows]).data)
    return digest.hexdigest()
