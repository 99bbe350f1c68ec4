"""The one conversion between a model's ``float32 in [-1, 1]`` and stored ``uint8``.

Level k stands for k / 127.5 - 1, exactly; four different quantisers in the field give four different FIDs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ldm_eval.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["QUANTISATION", "to_float", "to_uint8"]

QUANTISATION = "round-clamp-127.5"
"""Name of this rule, for protocol signatures."""


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """``(N, C, H, W)`` float in [-1, 1] -> ``(N, C, H, W)`` uint8 on the same device: rounded, clamped.

    Rounds to the nearest level (never truncates, which would darken every image by half a level); values outside
    [-1, 1] go to the nearest end.

    Raises:
        ModelError: for NaN or infinite values, another shape or an integer type.
    """
    if images.ndim != 4 or not images.is_floating_point():
        raise ModelError(
            f"Images of a model must be (N, C, H, W) floating point in [-1, 1]; found {tuple(images.shape)} "
            f"{images.dtype}."
        )
    finite = torch.isfinite(images).flatten(1).all(dim=1)
    if not bool(finite.all()):
        broken = int((~finite).sum())
        raise ModelError(
            f"{broken} of {len(images)} generated images contain NaN or infinite values, so they cannot be stored. "
            "Check the weights, or sample with more steps or another sampler."
        )
    return ((images.float() + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)


_HALF_RANGE = {torch.uint8: 127.5, torch.uint16: 32767.5}


def to_float(images: torch.Tensor | NDArray[Any]) -> torch.Tensor:
    """Stored images of any shape, uint8 or uint16 -> float32 in [-1, 1].

    ``to_uint8(to_float(x)) == x`` for all 256 levels, and for the 65,536 of 16 bits it is ``ImageSet.eight_bit``: level
    k stands for k / 32767.5 - 1, so the 8-bit level nearest to it is round(k / 257).

    Raises:
        ModelError: for any other type.
    """
    # np.array copies: an array read from a memory map is not writable and torch must not see it.
    tensor = images if isinstance(images, torch.Tensor) else torch.from_numpy(np.array(images))
    if tensor.dtype not in _HALF_RANGE:
        raise ModelError(f"Stored images are uint8 or uint16; found {tensor.dtype}.")
    return tensor.to(torch.float32) / _HALF_RANGE[tensor.dtype] - 1.0
