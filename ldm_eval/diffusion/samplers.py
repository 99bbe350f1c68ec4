"""Samplers: from noise to images, one noise level at a time.

A sampler visits ``steps`` of the T timesteps, evenly spaced from T-1 down to 0, then leaves for the data (alpha = 1,
sigma = 0). Between two visited levels t > s everything is written in the respaced quantities
alpha_{t|s} = alpha_bar_t / alpha_bar_s and beta_{t|s} = 1 - alpha_{t|s}, never in the betas of the full chain.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch

from ldm_eval.api import Denoiser, NoiseSchedule, SamplingSettings
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.parameterisation import Estimate, estimate
from ldm_eval.errors import ConfigError, did_you_mean

__all__ = ["SAMPLERS", "DDIMSampler", "DDPMSampler", "Move", "Sampler", "make_sampler"]


@dataclass(frozen=True, slots=True)
class Move:
    """From noise level t to the less noisy level s, in float64."""

    alpha_t: float
    sigma_t: float
    alpha_s: float
    sigma_s: float

    @property
    def last(self) -> bool:
        """True when s is the data itself: no noise is added any more."""
        return self.sigma_s == 0.0

    @property
    def beta(self) -> float:
        """beta_{t|s} = 1 - alpha_bar_t / alpha_bar_s."""
        return 1.0 - (self.alpha_t / self.alpha_s) ** 2

    @property
    def posterior_variance(self) -> float:
        """Variance of q(x_s | x_t, x_0): beta_{t|s} sigma_s^2 / sigma_t^2."""
        return self.beta * (self.sigma_s / self.sigma_t) ** 2


class Sampler(ABC):
    """Draws images with a denoiser and a schedule. ``sample`` is the same for all; a subclass writes ``step``.

    Args:
        steps: Noise levels visited, which is also the number of network calls per image.
        clip: Clamp the predicted x0 to [-1, 1] at every step (and epsilon with it). Off unless the sampler's name
            says so: it changes the distribution, and for data that is not bounded (Gaussians) it is wrong.
    """

    def __init__(self, steps: int, *, clip: bool = False) -> None:
        if steps < 1:
            raise ConfigError(f"A sampler needs at least one step; found {steps}.")
        self._steps = steps
        self._clip = clip

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in ``SAMPLERS`` that makes this sampler."""

    @abstractmethod
    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, draw: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return x_s ``(N, C, H, W)``; call ``draw`` for fresh noise of that shape, only when it is used."""

    @final
    @property
    def steps(self) -> int:
        """Network calls per image."""
        return self._steps

    @final
    def timesteps(self, schedule: NoiseSchedule) -> list[int]:
        """Visited timesteps, falling from T-1 to 0. Raises ConfigError for more steps than the schedule has."""
        last = schedule.steps - 1
        if self._steps > schedule.steps:
            raise ConfigError(
                f"{self._steps} sampling steps were asked for; this model's schedule has {schedule.steps} timesteps. "
                f"Use --steps {schedule.steps} or less."
            )
        if self._steps == 1:
            return [last]
        return [round(last * (self._steps - 1 - i) / (self._steps - 1)) for i in range(self._steps)]

    @final
    @torch.no_grad()
    def sample(
        self,
        denoiser: Denoiser,
        schedule: NoiseSchedule,
        noise: SampleNoise,
        shape: tuple[int, int, int],
        labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Draw one image per generator of ``noise``.

        Args:
            denoiser: Network, on the device of ``noise``.
            schedule: The schedule it was trained with.
            noise: One generator per image; all randomness comes from here.
            shape: ``(C, H, W)``.
            labels: ``(N,) int64`` class labels, or None.

        Returns:
            ``(N, C, H, W) float32``, nominally in [-1, 1], not clamped (``quantise.to_uint8`` does that).
        """
        visited = self.timesteps(schedule)
        index = torch.tensor(visited, dtype=torch.int64)
        alphas = [*schedule.alpha(index).tolist(), 1.0]
        sigmas = [*schedule.sigma(index).tolist(), 0.0]
        x = noise.draw(shape)
        for i, t in enumerate(visited):
            move = Move(alphas[i], sigmas[i], alphas[i + 1], sigmas[i + 1])
            now = torch.full((len(noise),), t, dtype=torch.int64, device=noise.device)
            guess = estimate(denoiser, schedule, x, now, labels)
            if self._clip:
                x0 = guess.x0.clamp(-1.0, 1.0)
                guess = Estimate(epsilon=(x - move.alpha_t * x0) / move.sigma_t, x0=x0)
            x = self.step(x, guess, move, lambda: noise.draw(shape))
        return x


Variance = Literal["posterior", "beta"]


@final
class DDPMSampler(Sampler):
    """Ancestral sampling (arXiv:2006.11239), on a subset of timesteps with respaced betas (arXiv:2102.09672).

    mu = (x_t - beta/sigma_t eps) / sqrt(alpha_{t|s}), plus noise of variance ``beta`` or the posterior's on every
    step but the last. The copy found in tutorials divides nothing by sigma_t and adds no noise; it is wrong.
    """

    def __init__(self, steps: int, *, variance: Variance = "posterior", clip: bool = False) -> None:
        super().__init__(steps, clip=clip)
        self._variance: Variance = variance

    @property
    def name(self) -> str:
        """``ddpm``, ``ddpm-beta`` and so on."""
        return "ddpm" + ("-beta" if self._variance == "beta" else "") + ("-clipped" if self._clip else "")

    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, draw: Callable[[], torch.Tensor]) -> torch.Tensor:
        """One ancestral step."""
        if move.last:  # the mean is x0 itself; written so because the division by sigma_t cancels
            return guess.x0
        mean = (x_t - move.beta / move.sigma_t * guess.epsilon) * (move.alpha_s / move.alpha_t)
        variance = move.beta if self._variance == "beta" else move.posterior_variance
        return mean + math.sqrt(variance) * draw()


@final
class DDIMSampler(Sampler):
    """Denoising diffusion implicit models (arXiv:2010.02502), first order in 1/steps.

    x_s = alpha_s x0 + sqrt(sigma_s^2 - tau^2) eps + tau z with tau^2 = eta^2 times the posterior variance;
    ``eta`` 0 is deterministic and 1 is ancestral sampling with the posterior variance.
    """

    def __init__(self, steps: int, *, eta: float = 0.0, clip: bool = False) -> None:
        super().__init__(steps, clip=clip)
        if not 0.0 <= eta <= 1.0:
            raise ConfigError(f"eta of DDIM lies between 0 (deterministic) and 1 (ancestral); found {eta}.")
        self._eta = eta

    @property
    def name(self) -> str:
        """``ddim`` or ``ddim-clipped``."""
        return "ddim" + ("-clipped" if self._clip else "")

    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, draw: Callable[[], torch.Tensor]) -> torch.Tensor:
        """One DDIM step."""
        variance = self._eta**2 * move.posterior_variance
        x_s = move.alpha_s * guess.x0 + math.sqrt(max(move.sigma_s**2 - variance, 0.0)) * guess.epsilon
        return x_s if variance == 0.0 else x_s + math.sqrt(variance) * draw()


SAMPLERS: Mapping[str, Callable[[int, float], Sampler]] = {
    "ddim": lambda steps, eta: DDIMSampler(steps, eta=eta),
    "ddim-clipped": lambda steps, eta: DDIMSampler(steps, eta=eta, clip=True),
    "ddpm": lambda steps, eta: DDPMSampler(steps),
    "ddpm-clipped": lambda steps, eta: DDPMSampler(steps, clip=True),
    "ddpm-beta": lambda steps, eta: DDPMSampler(steps, variance="beta"),
    "ddpm-beta-clipped": lambda steps, eta: DDPMSampler(steps, variance="beta", clip=True),
}
"""Samplers by the name a user types after ``--sampler``: (steps, eta) -> Sampler. ``-clipped`` clamps x0."""


def make_sampler(settings: SamplingSettings) -> Sampler:
    """Return the sampler that resolved ``settings`` name.

    Raises:
        ConfigError: for an unknown name, fewer than one step, eta outside 0..1, or eta where it has no meaning.
    """
    name = settings.sampler
    if name not in SAMPLERS:
        known = ", ".join(sorted(SAMPLERS))
        raise ConfigError(f"There is no sampler '{name}'.{did_you_mean(name, SAMPLERS)} Known: {known}.")
    if settings.eta != 0.0 and not name.startswith("ddim"):
        raise ConfigError(f"eta = {settings.eta} belongs to DDIM; sampler '{name}' has none. Leave it at 0.")
    return SAMPLERS[name](settings.steps, settings.eta)
