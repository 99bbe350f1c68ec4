"""Digests: equal data have equal names, whatever file they came from."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldm_eval.errors import DataError

_BLOCK_BYTES = 1 << 24


def image_digest(pixels: NDArray[Any]) -> str:
    r"""SHA-256 (64 hex digits) of a set of images: its type, its shape and its pixels, in order.

    The bytes hashed are the text ``ldm-eval images 1\nuint8\nN C H W\n`` (or ``uint16``) and then the pixels in C
    order, image by image, 16-bit ones with their low byte first. Strides, byte order, memory maps and file formats do
    not matter; the order of the images does, and so does the type: 8-bit images widened to 16 bits are another set.

    Args:
        pixels: ``(N, C, H, W)`` uint8 or uint16; a memory map is read in blocks of about 16 MB.

    Raises:
        DataError: when ``pixels`` has another type or number of dimensions.
    """
    name = pixels.dtype.name
    if name not in ("uint8", "uint16") or pixels.ndim != 4:
        raise DataError(
            f"A digest was asked of an array {pixels.dtype} {pixels.shape}; image sets are (N, C, H, W), uint8 or "
            "uint16."
        )
    shape = " ".join(str(size) for size in pixels.shape)
    digest = hashlib.sha256(f"ldm-eval images 1\n{name}\n{shape}\n".encode())
    count = pixels.shape[0]
    rows = max(1, _BLOCK_BYTES // max(1, pixels.itemsize * int(np.prod(pixels.shape[1:], dtype=np.int64))))
    for start in range(0, count, rows):
        digest.update(np.ascontiguousarray(pixels[start : start + rows], dtype=pixels.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def statistics_digest(mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> str:
    """SHA-256 (64 hex digits) of a mean ``(D,)`` and a covariance ``(D, D)``, both as little-endian float64."""
    digest = hashlib.sha256(f"ldm-eval statistics 1\n{mean.shape[0]}\n".encode())
    for array in (mean, covariance):
        digest.update(np.ascontiguousarray(array, dtype="<f8").data)
    return digest.hexdigest()
