"""Pillow's bicubic and bilinear resize of 8-bit images, to the bit, as matrix products on any device.

DINOv2, CLIP and SSCD are fed by pipelines that resize with Pillow and so round to whole grey levels, twice: after the
pass along rows and after the pass along columns. Pillow works in fixed point with 22 fractional bits; every number of
it is an integer below 2^53, so float64 products give exactly its result in any order of summation.

Rows come first, always. Pillow did so for as long as these pipelines existed; version 13 takes the columns first where
an image loses height and gains width, which changes its levels (never those of square images).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

_BITS = 22

Kernel = Literal["bicubic", "bilinear"]
"""Pillow's BICUBIC (a = -1/2) or BILINEAR, both antialiased."""

Fit = Literal["stretch", "shorter-side", "square"]
"""How an image that is not square becomes square: stretched; its shorter side is resized and the middle cut out of the
result; the middle square is cut out and then resized. Square images are the same under all three."""


def fixed_point_weights(size: int, target: int, kernel: Kernel) -> NDArray[np.float64]:
    """``(target, size)`` integer weights in units of 2^-22."""
    function, width = (_cubic, 2.0) if kernel == "bicubic" else (_triangle, 1.0)
    scale = size / target
    stretch = max(scale, 1.0)
    support = width * stretch
    weights = np.zeros((target, size))
    for row in range(target):
        centre = (row + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        taps = [function((column - centre + 0.5) * (1.0 / stretch)) for column in range(first, last)]
        total = sum(taps)
        for column, tap in enumerate(taps, start=first):
            share = tap * (1.0 / total) if total else tap
            weights[row, column] = int((-0.5 if share < 0 else 0.5) + share * (1 << _BITS))
    return weights


def _cubic(x: float) -> float:
    a = -0.5
    x = abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    if x < 2.0:
        return (((x - 5) * x + 8) * x - 4) * a
    return 0.0


def _triangle(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


@functools.lru_cache(maxsize=32)
def _matrix(size: int, target: int, kernel: Kernel, device: str) -> torch.Tensor:
    return torch.from_numpy(fixed_point_weights(size, target, kernel)).to(device)


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    """Whole grey levels out of sums in units of 2^-22."""
    return sums.add_(1 << (_BITS - 1)).mul_(2.0**-_BITS).floor_().clamp_(0.0, 255.0)


def resize(images: torch.Tensor, height: int, width: int, kernel: Kernel = "bicubic") -> torch.Tensor:
    """``(N, C, H, W) uint8`` -> ``(N, C, height, width) float32``, whole grey levels, as ``Image.resize``."""
    device = str(images.device)
    levels = images.double()
    if images.shape[3] != width:
        levels = _rounded(levels @ _matrix(images.shape[3], width, kernel, device).T)
    if images.shape[2] != height:
        levels = _rounded(_matrix(images.shape[2], height, kernel, device) @ levels)
    return levels.float()


@dataclass(frozen=True, slots=True)
class PillowPreparation:
    """Pillow's resize to ``size x size``, then ``(v / 255 - mean) / deviation`` for each channel.

    Attributes:
        fit: How an image that is not square becomes square.
        mean: Of red, green, blue on a scale of 0 to 1.
        deviation: Likewise.
        text: What is done to text, for networks that read it; part of the fingerprint.
        kernel: Of the resize.
    """

    size: int
    fit: Fit
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    text: str = ""
    kernel: Kernel = "bicubic"

    @property
    def resize(self) -> str:
        """Short name of the resizing, e.g. ``"pillow-bicubic-stretch-224"``."""
        return f"pillow-{self.kernel}-{self.fit}-{self.size}"

    @property
    def canonical(self) -> str:
        """The text that enters the fingerprint."""
        return (
            f"uint8 RGB; {self.resize}, rounded to uint8 after each pass; / 255; "
            f"- {_triple(self.mean)}; / {_triple(self.deviation)}{self.text and '; text: '}{self.text}"
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W) uint8`` -> ``(N, 3, size, size) float32``."""
        levels = self.levels(images)
        mean, deviation = (
            torch.tensor(values, dtype=torch.float32, device=images.device)[:, None, None]
            for values in (self.mean, self.deviation)
        )
        return levels.div_(255.0).sub_(mean).div_(deviation)

    def levels(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W) uint8`` -> ``(N, 3, size, size) float32`` whole grey levels."""
        height, width = images.shape[2:]
        if self.fit == "square":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            images = images[:, :, top : top + side, left : left + side]
        if self.fit != "shorter-side":
            return resize(images, self.size, self.size, self.kernel)
        # the longer side is cut off to whole pixels and the middle is rounded half to even, as torchvision does
        tall, wide = (
            (int(self.size * height / width), self.size)
            if width <= height
            else (self.size, int(self.size * width / height))
        )
        top, left = round((tall - self.size) / 2.0), round((wide - self.size) / 2.0)
        return resize(images, tall, wide, self.kernel)[
            :, :, top : top + self.size, left : left + self.size
        ].contiguous()


def _triple(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.8g}" for value in values)
