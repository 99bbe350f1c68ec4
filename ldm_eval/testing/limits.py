"""What a sampler does to a Gaussian, exactly: the law of its samples for any schedule and any number of steps.

With the exact denoiser of N(mean, variance I) every unclipped step is affine in x_t plus Gaussian noise, so a sample
is Gaussian and its mean and variance follow from a recursion over the visited noise levels. A sampler whose sample
statistics miss these numbers is wrong, however good its pictures look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ldm_eval.api import NoiseSchedule, SamplingSettings
from ldm_eval.diffusion.samplers import make_sampler
from ldm_eval.errors import ConfigError

__all__ = ["Moments", "sampled_moments"]


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance of every pixel."""

    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class _Level:
    alpha: float
    sigma: float


def sampled_moments(data: Moments, schedule: NoiseSchedule, settings: SamplingSettings) -> Moments:
    """The exact law of a pixel sampled with the exact denoiser of ``data``.

    Args:
        data: The law that was "learned", the same for every pixel and independent between them.
        schedule: Noise schedule.
        settings: Resolved settings of an unclipped sampler: ``ddpm``, ``ddpm-beta`` or ``ddim`` with any eta.

    Raises:
        ConfigError: for a clipped or unknown sampler, whose samples are not Gaussian.
    """
    if settings.sampler not in ("ddpm", "ddpm-beta", "ddim"):
        raise ConfigError(f"No closed form is known for the sampler '{settings.sampler}'; use ddpm, ddpm-beta or ddim.")
    index = torch.tensor(make_sampler(settings).timesteps(schedule))
    levels = [_Level(float(a), float(s)) for a, s in zip(schedule.alpha(index), schedule.sigma(index), strict=True)]
    now = Moments(0.0, 1.0)
    for here, there in zip(levels, [*levels[1:], _Level(1.0, 0.0)], strict=True):
        now = _step(now, here, there, data, settings)
    return now


def _step(now: Moments, here: _Level, there: _Level, data: Moments, settings: SamplingSettings) -> Moments:
    """One step from ``here`` to ``there``, written in E[x_0 | x_t] = data.mean + gain (x_t - alpha data.mean)."""
    gain = here.alpha * data.variance / (here.alpha**2 * data.variance + here.sigma**2)
    offset = data.mean * (1 - gain * here.alpha)
    ratio = here.alpha / there.alpha
    beta = 1 - ratio**2
    posterior = beta * (there.sigma / here.sigma) ** 2
    if settings.sampler == "ddim":
        added = settings.eta**2 * posterior
        on_x_t = math.sqrt(there.sigma**2 - added) / here.sigma
        on_x0 = there.alpha - on_x_t * here.alpha
    else:  # the mean of q(x_s | x_t, x_0), arXiv:2006.11239 equation 7
        last = there.sigma == 0.0
        added = 0.0 if last else beta if settings.sampler == "ddpm-beta" else posterior
        on_x0 = there.alpha * beta / here.sigma**2
        on_x_t = ratio * there.sigma**2 / here.sigma**2
    slope = on_x_t + on_x0 * gain
    return Moments(slope * now.mean + on_x0 * offset, slope**2 * now.variance + added)
