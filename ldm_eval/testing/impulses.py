"""Noise that is chosen, not drawn: with it, what a sampler or the bound does to a Gaussian is read off exactly."""

from __future__ import annotations

from typing import cast, final

import torch

from ldm_eval.api import NoiseSchedule, Prediction
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.samplers import Sampler
from ldm_eval.testing.denoisers import GaussianDenoiser
from ldm_eval.testing.limits import Moments

__all__ = ["Impulses", "RepeatedNoise", "chosen", "read_off"]


@final
class Impulses:
    """Stands for SampleNoise: row 0 never gets any noise, row i a one at the i-th draw, in float64."""

    device = torch.device("cpu")

    def __init__(self, draws: int) -> None:
        self._rows, self._drawn = draws + 1, 0

    def __len__(self) -> int:
        return self._rows

    def draw(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """``(draws + 1, *shape)``: the next impulse."""
        self._drawn += 1
        noise = torch.zeros(self._rows, *shape, dtype=torch.float64)
        noise[self._drawn] = 1.0
        return noise


@final
class RepeatedNoise:
    """Stands for SampleNoise: every draw gives the same rows, in their type."""

    device = torch.device("cpu")

    def __init__(self, rows: torch.Tensor) -> None:
        self._rows = rows.reshape(-1, 1, 1, 1)

    def __len__(self) -> int:
        return len(self._rows)

    def draw(self, shape: tuple[int, int, int]) -> torch.Tensor:
        """``(rows, *shape)``: each row's value in every pixel."""
        return self._rows.expand(-1, *shape).clone()


def chosen(noise: object) -> SampleNoise:
    """``noise`` with the type of what it stands for."""
    return cast(SampleNoise, noise)


def read_off(sampler: Sampler, schedule: NoiseSchedule, data: Moments, prediction: Prediction = "v") -> Moments:
    """Mean and variance of the samples of an unclipped sampler with the exact denoiser of ``data``.

    It is affine in its starting noise and in the noise it draws on the way, so one run per unit impulse reads off
    every coefficient, without random numbers.
    """
    mean = torch.full((1, 1, 1), data.mean, dtype=torch.float64)
    denoiser = GaussianDenoiser(mean, data.variance, schedule, prediction)
    ends = sampler.sample(denoiser, schedule, chosen(Impulses(sampler.steps + 1)), (1, 1, 1)).flatten()
    return Moments(ends[0].item(), (ends[1:] - ends[0]).square().sum().item())
