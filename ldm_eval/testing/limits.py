"""What a sampler does to a Gaussian, exactly: the law of its samples for any schedule and any number of steps.

With the exact denoiser of N(mean, variance I) every unclipped step is affine in what it starts from, plus Gaussian
noise, so a sample is Gaussian and its mean and variance follow from a recursion over the visited noise levels. A
sampler whose sample statistics miss these numbers is wrong, however good its pictures look.

Everything that a step uses (x_t, the guesses of x_0 and of epsilon, those of the step before) is written as an affine
function of x_T. The steps themselves are stated again here, from the papers and not from ``diffusion.samplers``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ldm_eval.api import NoiseSchedule, SamplingSettings
from ldm_eval.diffusion.samplers import make_sampler
from ldm_eval.errors import ConfigError

__all__ = ["LIMITS", "Moments", "sampled_moments"]


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance of every pixel."""

    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class _Level:
    alpha: float
    sigma: float


@dataclass(frozen=True, slots=True)
class _Affine:
    """offset + slope x_T + noise that is independent of x_T."""

    offset: float
    slope: float
    noise: float = 0.0

    def plus(self, other: _Affine, share: float = 1.0) -> _Affine:
        """``self + share * other``, where both hold no noise."""
        return _Affine(self.offset + share * other.offset, self.slope + share * other.slope)

    def times(self, factor: float) -> _Affine:
        """``factor * self``."""
        return _Affine(factor * self.offset, factor * self.slope, factor**2 * self.noise)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step from ``here`` to ``there``; ``before`` is the level and the guess of x_0 of the step before it."""

    here: _Level
    there: _Level
    data: Moments
    eta: float
    before: tuple[_Level, _Affine] | None

    @property
    def last(self) -> bool:
        return self.there.sigma == 0.0

    @property
    def beta(self) -> float:
        return 1 - (self.here.alpha / self.there.alpha) ** 2

    @property
    def posterior(self) -> float:
        """Variance of q(x_s | x_t, x_0)."""
        return self.beta * (self.there.sigma / self.here.sigma) ** 2


def sampled_moments(data: Moments, schedule: NoiseSchedule, settings: SamplingSettings) -> Moments:
    """The exact law of a pixel sampled with the exact denoiser of ``data``.

    Args:
        data: The law that was "learned", the same for every pixel and independent between them.
        schedule: Noise schedule.
        settings: Resolved settings of an unclipped sampler; all of those have a closed form.

    Raises:
        ConfigError: for a clipped or unknown sampler, whose samples are not Gaussian.
    """
    if settings.sampler not in LIMITS:
        raise ConfigError(
            f"No closed form is known for the sampler '{settings.sampler}'; known for: {', '.join(LIMITS)}."
        )
    index = torch.tensor(make_sampler(settings).timesteps(schedule))
    levels = [_Level(float(a), float(s)) for a, s in zip(schedule.alpha(index), schedule.sigma(index), strict=True)]
    now, before = _Affine(0.0, 1.0), None
    for here, there in zip(levels, [*levels[1:], _Level(1.0, 0.0)], strict=True):
        after = LIMITS[settings.sampler](now, _Step(here, there, data, settings.eta, before))
        now, before = after, (here, _guess(now, here, data))
    return Moments(now.offset, now.slope**2 + now.noise)


def _guess(x_t: _Affine, at: _Level, data: Moments) -> _Affine:
    """E[x_0 | x_t] = mean + gain (x_t - alpha mean)."""
    gain = at.alpha * data.variance / (at.alpha**2 * data.variance + at.sigma**2)
    return _Affine(data.mean * (1 - gain * at.alpha) + gain * x_t.offset, gain * x_t.slope, gain**2 * x_t.noise)


def _combined(now: _Affine, step: _Step, on_x_t: float, on_x0: float, added: float) -> _Affine:
    """``on_x_t x_t + on_x0 E[x_0 | x_t]`` plus fresh noise; the guess moves with all of x_t, its noise included."""
    gain = step.here.alpha * step.data.variance / (step.here.alpha**2 * step.data.variance + step.here.sigma**2)
    moved = now.times(on_x_t + on_x0 * gain)
    return _Affine(
        moved.offset + on_x0 * step.data.mean * (1 - gain * step.here.alpha), moved.slope, moved.noise + added
    )


def _ancestral(now: _Affine, step: _Step, variance: float) -> _Affine:
    """The mean of q(x_s | x_t, x_0), arXiv:2006.11239 equation 7; no noise on the last step."""
    here, there = step.here, step.there
    on_x0 = there.alpha * step.beta / here.sigma**2
    on_x_t = here.alpha / there.alpha * (there.sigma / here.sigma) ** 2
    return _combined(now, step, on_x_t, on_x0, 0.0 if step.last else variance)


def _ddim(now: _Affine, step: _Step) -> _Affine:
    """arXiv:2010.02502, equation 12."""
    added = step.eta**2 * step.posterior
    on_x_t = math.sqrt(max(step.there.sigma**2 - added, 0.0)) / step.here.sigma
    return _combined(now, step, on_x_t, step.there.alpha - on_x_t * step.here.alpha, added)


def _width(here: _Level, there: _Level) -> float:
    """Way in lambda = log(alpha/sigma)."""
    if here.alpha == 0.0 or there.sigma == 0.0:
        return math.inf
    return math.log(there.alpha / there.sigma) - math.log(here.alpha / here.sigma)


def _multistep(now: _Affine, step: _Step) -> _Affine:
    """arXiv:2211.01095, algorithm 2; first order at both ends and where a step is over twice as wide as the last."""
    here, there = step.here, step.there
    data = _guess(now, here, step.data)
    if step.before is not None and not step.last:
        level, guess = step.before
        width, earlier = _width(here, there), _width(level, here)
        if width <= 2 * earlier:
            factor = width / (2 * earlier)
            data = data.times(1 + factor).plus(guess, -factor)
    # alpha_s (1 - e^-h) with e^-h = alpha_t sigma_s / (sigma_t alpha_s), which has a limit at alpha_t = 0
    kept = there.sigma / here.sigma
    return now.times(kept).plus(data, there.alpha - kept * here.alpha)


def _heun(now: _Affine, step: _Step) -> _Affine:
    """arXiv:2206.00364, algorithm 1 without churn, in x/alpha; uncorrected to the data and from hardly any signal."""
    here, there = step.here, step.there
    euler = _ddim(now, step)
    if step.last or there.alpha > 4 * here.alpha:
        return euler
    slopes = [
        x.plus(_guess(x, at, step.data), -at.alpha).times(1 / at.sigma) for x, at in ((now, here), (euler, there))
    ]
    way = there.sigma / there.alpha - here.sigma / here.alpha
    return now.times(there.alpha / here.alpha).plus(slopes[0].plus(slopes[1]), there.alpha * way / 2)


LIMITS: Mapping[str, Callable[[_Affine, _Step], _Affine]] = {
    "ddim": _ddim,
    "ddim-karras": _ddim,
    "ddpm": lambda now, step: _ancestral(now, step, step.posterior),
    "ddpm-beta": lambda now, step: _ancestral(now, step, step.beta),
    "dpm-solver++": _multistep,
    "dpm-solver++-karras": _multistep,
    "heun": _heun,
    "heun-karras": _heun,
}
"""One step of every sampler whose samples of a Gaussian are Gaussian: all that do not clip."""
