"""Resizing as two small matrix products: the same for every batch, on every device, and written down to the weight.

An image ``X (H, W)`` becomes ``A_h X A_w^T`` with one sparse row of ``A`` per output pixel. The matrices are computed
in float64 and applied in float32. Nothing is rounded to whole grey levels here; pipelines that do round are in
``pillow.py``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray


def antialiased_bilinear(size: int, target: int) -> NDArray[np.float64]:
    """``(target, size)`` weights of bilinear resizing with antialias and half-pixel centres.

    Output pixel i is centred at ``(i + 1/2) * size / target``; the triangle around it is as wide as the step between
    output pixels where that is more than one input pixel, and its weights are normalised at the border. This is what
    ``torch.nn.functional.interpolate(mode="bilinear", antialias=True)`` and Pillow's BILINEAR compute.
    """
    return _normalised(np.maximum(0.0, 1.0 - _distances(size, target)))


def antialiased_bicubic(size: int, target: int) -> NDArray[np.float64]:
    """``(target, size)`` weights of bicubic resizing (a = -1/2) with antialias and half-pixel centres.

    The same construction with Keys' cubic, two steps wide, in place of the triangle: Pillow's BICUBIC, in float.
    """
    x = _distances(size, target)
    near = (1.5 * x - 2.5) * x**2 + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return _normalised(np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0)))


def _distances(size: int, target: int) -> NDArray[np.float64]:
    """``(target, size)`` from the centre of each output pixel to that of each input pixel, in steps of the filter."""
    step = size / target
    centres = (np.arange(target) + 0.5) * step
    return np.asarray(np.abs(np.arange(size) + 0.5 - centres[:, None]) / max(step, 1.0), dtype=np.float64)


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def tf1_bilinear(size: int, target: int) -> NDArray[np.float64]:
    """``(target, size)`` weights of TensorFlow 1's ``ResizeBilinear(align_corners=False)``.

    Output pixel i reads position ``i * size / target`` (no half-pixel shift, no antialias) between its two neighbours;
    the last neighbour is repeated. Positions are float32 as in the original.
    """
    step = np.float32(size) / np.float32(target)
    position = np.arange(target, dtype=np.float32) * step
    below = np.minimum(np.floor(position).astype(np.int64), size - 1)
    above = np.minimum(below + 1, size - 1)
    fraction = (position - below).astype(np.float64)
    weights = np.zeros((target, size))
    rows = np.arange(target)
    np.add.at(weights, (rows, below), 1.0 - fraction)
    np.add.at(weights, (rows, above), fraction)
    return weights


OPERATORS = {
    "bilinear-antialias": antialiased_bilinear,
    "bicubic-antialias-clipped": antialiased_bicubic,
    "tf1-bilinear": tf1_bilinear,
}
_CLIPPED = {"bicubic-antialias-clipped"}

_SMALL, _BAND_OF_SMALL, _BAND = 128, 100, 32
"""Output pixels of one matrix product, for sides up to _SMALL and for larger ones: benchmarks/resizing.py.

More means more zeros are multiplied, fewer means more calls, each of which waits for the slowest thread.
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """Consecutive output pixels, the only input pixels that they see, and the ``(outputs, inputs)`` weights."""

    first: int
    last: int
    weights: torch.Tensor


@functools.lru_cache(maxsize=32)
def _bands(operator: str, size: int, target: int, device: str) -> tuple[_Band, ...]:
    """The matrix of an axis without most of its zeros: an eighth of the products and less."""
    matrix = OPERATORS[operator](size, target)
    height = _BAND_OF_SMALL if size <= _SMALL else _BAND
    bands = []
    for start in range(0, target, height):
        rows = matrix[start : start + height]
        seen = np.flatnonzero(rows.any(axis=0))
        first, last = int(seen[0]), int(seen[-1]) + 1
        weights = torch.from_numpy(np.ascontiguousarray(rows[:, first:last])).to(device=device, dtype=torch.float32)
        bands.append(_Band(first, last, weights))
    return tuple(bands)


def resize(images: torch.Tensor, target: int, operator: str) -> torch.Tensor:
    """Resize ``(N, 3, H, W) float32`` to ``(N, 3, target, target)``; ``operator`` is a key of ``OPERATORS``.

    Grey levels stay between 0 and 255: bilinear weights are not negative, and what a cubic overshoots is cut off once,
    at the end, as clean-fid does.
    """
    device = str(images.device)
    rows = _bands(operator, images.shape[2], target, device)
    columns = _bands(operator, images.shape[3], target, device)
    images = torch.cat([band.weights @ images[:, :, band.first : band.last] for band in rows], dim=2)
    images = torch.cat([images[..., band.first : band.last] @ band.weights.T for band in columns], dim=3)
    return images.clamp_(0.0, 255.0) if operator in _CLIPPED else images
