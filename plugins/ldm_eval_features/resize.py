"""Resizing as two small matrix products: the same for every batch, on every device, and written down to the weight.

An image ``X (H, W)`` becomes ``A_h X A_w^T`` with one sparse row of ``A`` per output pixel. The matrices are computed
in float64 and applied in float32.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray


def antialiased_bilinear(size: int, target: int) -> NDArray[np.float64]:
    """``(target, size)`` weights of bilinear resizing with antialias and half-pixel centres.

    Output pixel i is centred at ``(i + 1/2) * size / target``; the triangle around it is as wide as the step between
    output pixels where that is more than one input pixel, and its weights are normalised at the border. This is what
    ``torch.nn.functional.interpolate(mode="bilinear", antialias=True)`` and Pillow's BILINEAR compute.
    """
    step = size / target
    width = max(step, 1.0)
    centres = (np.arange(target) + 0.5) * step
    distance = np.abs(np.arange(size) + 0.5 - centres[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
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


OPERATORS = {"bilinear-antialias": antialiased_bilinear, "tf1-bilinear": tf1_bilinear}


@functools.lru_cache(maxsize=32)
def _matrix(operator: str, size: int, target: int, device: str) -> torch.Tensor:
    return torch.from_numpy(OPERATORS[operator](size, target)).to(device=device, dtype=torch.float32)


def resize(images: torch.Tensor, target: int, operator: str) -> torch.Tensor:
    """Resize ``(N, 3, H, W) float32`` to ``(N, 3, target, target)``; ``operator`` is a key of ``OPERATORS``.

    Values stay in the range of the input. Nothing is rounded to whole grey levels.
    """
    device = str(images.device)
    rows = _matrix(operator, images.shape[2], target, device)
    columns = _matrix(operator, images.shape[3], target, device)
    return rows @ (images @ columns.T)
