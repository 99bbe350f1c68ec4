"""Soft-edged shapes on many small canvases at once, with operations whose results IEEE 754 fixes to the bit.

Only + - x / sqrt, comparisons, floor, min and max of single numbers: no sum over an axis whose order could differ, no
exp, sin or pow whose last bit depends on the library. So the pixels are the same on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Canvas", "ellipse", "pick", "soft", "triangle"]

Array = NDArray[Any]
Number = float | np.float32 | Array


def pick(mask: Array, yes: Number, no: Number) -> Array:
    """``yes`` where ``mask``, else ``no``, in single precision whatever a NumPy makes of Python's numbers."""
    return np.where(mask, np.asarray(yes, dtype=np.float32), np.asarray(no, dtype=np.float32))


def triangle(at: Array) -> Array:
    """Triangle wave of period 1, between 0 and 1."""
    within = at - np.floor(at)
    folded: Array = np.abs(within + within - 1.0)
    return folded


def ellipse(x: Array, y: Array, a: Number, b: Number) -> Array:
    """Depth inside an ellipse around the origin, about a distance near its rim; negative outside."""
    wide, high = np.asarray(a, dtype=np.float32), np.asarray(b, dtype=np.float32)
    u, v = x / wide, y / high
    depth: Array = (1.0 - np.sqrt(u * u + v * v)) * np.minimum(wide, high)
    return depth


def soft(depth: Array, edge: Number) -> Array:
    """Coverage 0..1 of what lies ``depth`` inside, going over within ``edge`` (one pixel)."""
    return np.minimum(np.maximum(depth / edge + 0.5, 0.0), 1.0)


class Canvas:
    """``n`` pictures of ``side`` x ``side`` pixels, painted back to front.

    Attributes:
        x: ``(1, 1, side)`` pixel centres in [-1, 1], rightwards.
        y: ``(1, side, 1)``, downwards.
        pixel: Width of a pixel.
    """

    def __init__(self, n: int, side: int) -> None:
        self.pixel = 2.0 / side
        at = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(self.pixel) - 1.0
        self.x: Array = at[None, None, :]
        self.y: Array = at[None, :, None]
        self.red: Array = np.zeros((n, side, side), dtype=np.float32)
        self.green: Array = np.zeros((n, side, side), dtype=np.float32)
        self.blue: Array = np.zeros((n, side, side), dtype=np.float32)

    def _channels(self) -> tuple[Array, Array, Array]:
        return self.red, self.green, self.blue

    def paint(self, coverage: Array, colour: Array, shade: Number = 1.0) -> None:
        """Cover with ``colour (n, 3)`` times ``shade``, where ``coverage (n, side, side)`` is 1."""
        for index, channel in enumerate(self._channels()):
            channel += (colour[:, index, None, None] * shade - channel) * coverage

    def light(self, gain: Array, channels: tuple[Number, Number, Number]) -> None:
        """Multiply every pixel by ``gain``, and each channel by its own factor."""
        for channel, factor in zip(self._channels(), channels, strict=True):
            channel *= gain * factor

    def add(self, amount: Array) -> None:
        """Add the same to all three channels."""
        for channel in self._channels():
            channel += amount

    def finished(self, over: int) -> NDArray[np.uint8]:
        """Average ``over`` x ``over`` pixels in a fixed order and round: ``(n, 3, side / over, side / over) uint8``."""
        planes = []
        for channel in self._channels():
            rows = channel[:, 0::over]
            for offset in range(1, over):
                rows = rows + channel[:, offset::over]
            total = rows[:, :, 0::over]
            for offset in range(1, over):
                total = total + rows[:, :, offset::over]
            level = total * np.float32(1.0 / (over * over)) * 255.0
            planes.append(np.floor(np.minimum(np.maximum(level, 0.0), 255.0) + 0.5).astype(np.uint8))
        return np.stack(planes, axis=1)
