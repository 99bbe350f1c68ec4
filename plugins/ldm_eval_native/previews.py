"""Pictures of what a model makes while it is being trained."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ldm_eval.diffusion.quantise import to_uint8
from ldm_eval.errors import ModelError
from ldm_eval_native.atomic import write_bytes

__all__ = ["write_grid"]

_SIDE = 96
"""Images are enlarged by the largest whole factor that keeps their longer side within this many pixels."""
_GAP = 2


def write_grid(images: torch.Tensor, path: Path, columns: int) -> None:
    """Write images as one PNG, row by row; small ones are enlarged without smoothing.

    Args:
        images: ``(N, C, H, W) float32 in [-1, 1]``, N > 0, C = 1 or 3, on any device.
        path: File to write, atomically; equal images give equal bytes.
        columns: Images per row, at least 1.

    Raises:
        ModelError: for another shape, or NaN or infinite values.
        StoreError: when it cannot be written.
    """
    if images.ndim != 4 or images.shape[0] == 0 or images.shape[1] not in (1, 3) or columns < 1:
        raise ModelError(
            "A grid of images needs (N, C, H, W) with N > 0, C = 1 or 3 and at least one column; found "
            f"{tuple(images.shape)} and {columns} columns."
        )
    pixels = to_uint8(images.detach()).cpu().numpy()
    count, channels, height, width = pixels.shape
    factor = max(1, _SIDE // max(height, width))
    pixels = np.kron(pixels, np.ones((1, 1, factor, factor), dtype=np.uint8))
    height, width = height * factor, width * factor
    columns, rows = min(columns, count), math.ceil(count / columns)
    sheet = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels), 255, dtype=np.uint8)
    for i, picture in enumerate(pixels):
        top, left = (i // columns) * (height + _GAP), (i % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet).save(stream, format="PNG")
    write_bytes(path, stream.getvalue())
