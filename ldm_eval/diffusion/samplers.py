"""Samplers: from noise to images, one noise level at a time.

A sampler visits ``steps`` of the T timesteps from T-1 down to 0 (``spacing``), then leaves for the data (alpha = 1,
sigma = 0). Between two visited levels t > s everything is written in the respaced quantities
alpha_{t|s} = alpha_bar_t / alpha_bar_s and beta_{t|s} = 1 - alpha_{t|s}, never in the betas of the full chain.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, final

import torch

from ldm_eval.api import Denoiser, NoiseSchedule, SamplingSettings
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.parameterisation import Estimate, estimate
from ldm_eval.diffusion.spacing import SPACINGS, Spacing
from ldm_eval.errors import ConfigError, did_you_mean

__all__ = [
    "SAMPLERS",
    "DDIMSampler",
    "DDPMSampler",
    "DPMSolverSampler",
    "HeunSampler",
    "Move",
    "Sampler",
    "Surroundings",
    "make_sampler",
]


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

    @property
    def width(self) -> float:
        """The way h = lambda_s - lambda_t in lambda = log(alpha/sigma); infinite from pure noise and to the data."""
        if self.last or self.alpha_t == 0.0:
            return math.inf
        return math.log(self.alpha_s / self.alpha_t * (self.sigma_t / self.sigma_s))


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What a step may use beside the point where it stands.

    Attributes:
        draw: Fresh standard normal noise of the shape of x_t; call it only for noise that is used.
        look: The network's estimate for an x_s at the level the move leads to; one more network call.
        previous: The estimate and the move of the step before, or None at the first.
    """

    draw: Callable[[], torch.Tensor]
    look: Callable[[torch.Tensor], Estimate]
    previous: tuple[Estimate, Move] | None


class Sampler(ABC):
    """Draws images with a denoiser and a schedule. ``sample`` is the same for all; a subclass writes ``step``.

    Args:
        steps: Noise levels visited.
        spacing: Which: ``uniform`` in the timestep, or ``karras``.
        clip: Clamp the predicted x0 to [-1, 1] at every step (and epsilon with it). Off unless the sampler's name
            says so: it changes the distribution, and for data that is not bounded (Gaussians) it is wrong.
    """

    def __init__(self, steps: int, *, spacing: Spacing = "uniform", clip: bool = False) -> None:
        if steps < 1:
            raise ConfigError(f"A sampler needs at least one step; found {steps}.")
        self._steps = steps
        self._spacing: Spacing = spacing
        self._clip = clip

    @property
    @abstractmethod
    def method(self) -> str:
        """The name without the suffixes that say how it is spaced and clipped."""

    @abstractmethod
    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, around: Surroundings) -> torch.Tensor:
        """Return x_s ``(N, C, H, W)`` from x_t and what the network said of it."""

    def looks_ahead(self, move: Move) -> bool:
        """Whether ``step`` calls ``look`` on this move."""
        return False

    @final
    @property
    def name(self) -> str:
        """The name in ``SAMPLERS`` that makes this sampler."""
        return self.method + ("-karras" if self._spacing == "karras" else "") + ("-clipped" if self._clip else "")

    @final
    @property
    def steps(self) -> int:
        """Noise levels visited."""
        return self._steps

    @final
    def network_calls(self, schedule: NoiseSchedule) -> int:
        """Network calls per image (without guidance, which doubles them)."""
        return self._steps + sum(self.looks_ahead(move) for move in _moves(schedule, self.timesteps(schedule)))

    @final
    def timesteps(self, schedule: NoiseSchedule) -> list[int]:
        """Visited timesteps, falling from T-1 to 0. Raises ConfigError for more steps than the schedule has."""
        if self._steps > schedule.steps:
            raise ConfigError(
                f"{self._steps} sampling steps were asked for; this model's schedule has {schedule.steps} timesteps. "
                f"Use --steps {schedule.steps} or less."
            )
        return SPACINGS[self._spacing](schedule, self._steps)

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

        def look(x: torch.Tensor, t: int, alpha: float, sigma: float) -> Estimate:
            now = torch.full((len(noise),), t, dtype=torch.int64, device=noise.device)
            guess = estimate(denoiser, schedule, x, now, labels)
            if not self._clip:
                return guess
            x0 = guess.x0.clamp(-1.0, 1.0)
            return Estimate(epsilon=(x - alpha * x0) / sigma, x0=x0)

        x = noise.draw(shape)
        previous: tuple[Estimate, Move] | None = None
        following = [*visited[1:], 0]
        for t, s, move in zip(visited, following, _moves(schedule, visited), strict=True):
            guess = look(x, t, move.alpha_t, move.sigma_t)
            ahead = partial(look, t=s, alpha=move.alpha_s, sigma=move.sigma_s)
            x = self.step(x, guess, move, Surroundings(partial(noise.draw, shape), ahead, previous))
            previous = guess, move
        return x


def _moves(schedule: NoiseSchedule, visited: Sequence[int]) -> list[Move]:
    """The moves between the visited timesteps, and the last one to the data."""
    index = torch.tensor(visited, dtype=torch.int64)
    alphas = [*schedule.alpha(index).tolist(), 1.0]
    sigmas = [*schedule.sigma(index).tolist(), 0.0]
    return [Move(alphas[i], sigmas[i], alphas[i + 1], sigmas[i + 1]) for i in range(len(visited))]


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
    def method(self) -> str:
        """``ddpm`` or ``ddpm-beta``."""
        return "ddpm" + ("-beta" if self._variance == "beta" else "")

    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, around: Surroundings) -> torch.Tensor:
        """One ancestral step."""
        if move.last:  # the mean is x0 itself; written so because the division by sigma_t cancels
            return guess.x0
        if move.alpha_t == 0.0:  # nothing of x_t is kept: the same mean, where the formula below is 0/0
            mean = move.alpha_s * guess.x0
        else:
            mean = (x_t - move.beta / move.sigma_t * guess.epsilon) * (move.alpha_s / move.alpha_t)
        variance = move.beta if self._variance == "beta" else move.posterior_variance
        return mean + math.sqrt(variance) * around.draw()


@final
class DDIMSampler(Sampler):
    """Denoising diffusion implicit models (arXiv:2010.02502), first order in 1/steps.

    x_s = alpha_s x0 + sqrt(sigma_s^2 - tau^2) eps + tau z with tau^2 = eta^2 times the posterior variance;
    ``eta`` 0 is deterministic and 1 is ancestral sampling with the posterior variance.
    """

    def __init__(self, steps: int, *, eta: float = 0.0, spacing: Spacing = "uniform", clip: bool = False) -> None:
        super().__init__(steps, spacing=spacing, clip=clip)
        if not 0.0 <= eta <= 1.0:
            raise ConfigError(f"eta of DDIM lies between 0 (deterministic) and 1 (ancestral); found {eta}.")
        self._eta = eta

    @property
    def method(self) -> str:
        """``ddim``."""
        return "ddim"

    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, around: Surroundings) -> torch.Tensor:
        """One DDIM step."""
        variance = self._eta**2 * move.posterior_variance
        x_s = move.alpha_s * guess.x0 + math.sqrt(max(move.sigma_s**2 - variance, 0.0)) * guess.epsilon
        return x_s if variance == 0.0 else x_s + math.sqrt(variance) * around.draw()


@final
class DPMSolverSampler(Sampler):
    """DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2): deterministic, second order, one network call per step.

    With lambda = log(alpha/sigma), h = lambda_s - lambda_t and h' the width of the step before::

        D = x0_t + h/(2h') (x0_t - x0_previous),    x_s = sigma_s/sigma_t x_t + alpha_s (1 - e^-h) D

    D = x0_t at the first step, at the last (to the data, h = infinity), and where h > 2h', as on the last steps of
    ``uniform`` spacing: published as it stands the rule extrapolates there by several steps, and 20 steps on
    N(.4, .5^2) came out worse than DDIM's (error .24 against .14; .05 with this guard). ``karras`` spacing hardly
    ever meets it.
    """

    @property
    def method(self) -> str:
        """``dpm-solver++``."""
        return "dpm-solver++"

    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, around: Surroundings) -> torch.Tensor:
        """One multistep update."""
        if move.last:
            return guess.x0
        data = guess.x0
        if around.previous is not None:
            before, earlier = around.previous
            if move.width <= 2.0 * earlier.width:
                data = data + move.width / (2.0 * earlier.width) * (guess.x0 - before.x0)
        kept = move.sigma_s / move.sigma_t
        return kept * x_t + (move.alpha_s - move.alpha_t * kept) * data


@final
class HeunSampler(Sampler):
    """Heun's second-order rule on the probability flow (arXiv:2206.00364, algorithm 1 without churn).

    In x/alpha and sigma/alpha the flow is d(x/alpha)/d(sigma/alpha) = eps, the same equation as EDM's; a step
    goes along the mean of the slopes at its two ends, which takes a second network call. There is no correction on the
    step to the data (as in EDM), nor on one that leaves from hardly any signal (see ``looks_ahead``).
    """

    @property
    def method(self) -> str:
        """``heun``."""
        return "heun"

    def looks_ahead(self, move: Move) -> bool:
        """False to the data, and where alpha grows more than fourfold.

        Such a step (the first of a schedule that ends in pure noise) multiplies the difference of the slopes, and with
        it the network's error, by alpha_s/alpha_t; at alpha_t = 0 the rule has no limit.
        """
        return not move.last and move.alpha_s <= 4.0 * move.alpha_t

    def step(self, x_t: torch.Tensor, guess: Estimate, move: Move, around: Surroundings) -> torch.Tensor:
        """Euler's step, and Heun's correction where it is made."""
        euler = move.alpha_s * guess.x0 + move.sigma_s * guess.epsilon
        if not self.looks_ahead(move):
            return euler
        distance = move.sigma_s - move.alpha_s * move.sigma_t / move.alpha_t
        return euler + 0.5 * distance * (around.look(euler).epsilon - guess.epsilon)


SAMPLERS: Mapping[str, Callable[[int, float], Sampler]] = {
    "ddim": lambda steps, eta: DDIMSampler(steps, eta=eta),
    "ddim-clipped": lambda steps, eta: DDIMSampler(steps, eta=eta, clip=True),
    "ddim-karras": lambda steps, eta: DDIMSampler(steps, eta=eta, spacing="karras"),
    "ddim-karras-clipped": lambda steps, eta: DDIMSampler(steps, eta=eta, spacing="karras", clip=True),
    "ddpm": lambda steps, eta: DDPMSampler(steps),
    "ddpm-clipped": lambda steps, eta: DDPMSampler(steps, clip=True),
    "ddpm-beta": lambda steps, eta: DDPMSampler(steps, variance="beta"),
    "ddpm-beta-clipped": lambda steps, eta: DDPMSampler(steps, variance="beta", clip=True),
    "dpm-solver++": lambda steps, eta: DPMSolverSampler(steps),
    "dpm-solver++-clipped": lambda steps, eta: DPMSolverSampler(steps, clip=True),
    "dpm-solver++-karras": lambda steps, eta: DPMSolverSampler(steps, spacing="karras"),
    "dpm-solver++-karras-clipped": lambda steps, eta: DPMSolverSampler(steps, spacing="karras", clip=True),
    "heun": lambda steps, eta: HeunSampler(steps),
    "heun-clipped": lambda steps, eta: HeunSampler(steps, clip=True),
    "heun-karras": lambda steps, eta: HeunSampler(steps, spacing="karras"),
    "heun-karras-clipped": lambda steps, eta: HeunSampler(steps, spacing="karras", clip=True),
}
"""Samplers by the name a user types after ``--sampler``: (steps, eta) -> Sampler.

``-karras`` spaces the timesteps as EDM does, ``-clipped`` clamps x0.
"""


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
