"""Gaussian noise whose row i belongs to sample i alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

__all__ = ["SampleNoise"]


@final
class SampleNoise:
    """One CPU generator per sample, so that a sample's noise never depends on its batch, its rank or the device.

    Published FIDs have moved because noise was drawn per batch and the batch layout changed; here it cannot.
    Noise is drawn on the CPU (the CPU and CUDA generators give different numbers) and moved afterwards.

    Args:
        seeds: One 63-bit seed per sample, from ``randomness.sample_seed``.
        device: Where the noise is wanted.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._generators = [torch.Generator(device="cpu").manual_seed(int(seed)) for seed in seeds]
        self._device = torch.device(device)

    def __len__(self) -> int:
        return len(self._generators)

    @property
    def device(self) -> torch.device:
        """Where ``draw`` puts the noise."""
        return self._device

    def draw(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return the next ``(N, C, H, W) float32`` standard normal noise for ``shape = (C, H, W)``."""
        rows = torch.empty((len(self._generators), *shape), dtype=torch.float32)
        for row, generator in zip(rows, self._generators, strict=True):
            torch.randn(shape, generator=generator, dtype=torch.float32, out=row)
        return rows.to(self._device)
