"""How fast a deterministic sampler approaches the probability flow, whose limit is a formula.

In one dimension the flow keeps quantiles, so x_T goes to the x_0 with F_0(x_0) = F_T(x_T), for any mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from scipy.optimize import brentq
from scipy.special import ndtr

from ldm_eval.api import Denoiser, NoiseSchedule, Prediction
from ldm_eval.diffusion.samplers import Sampler
from ldm_eval.diffusion.schedules import linear_schedule
from ldm_eval.testing.bounds import Mode
from ldm_eval.testing.denoisers import GaussianDenoiser, MixtureDenoiser
from ldm_eval.testing.impulses import RepeatedNoise, chosen

__all__ = ["LAWS", "STARTS", "STEPS", "exact_denoiser", "fine_schedule", "flow_limit", "path_ends", "path_errors"]

LAWS: Mapping[str, tuple[Mode, ...]] = {
    "gaussian": (Mode(1.0, 0.4, 0.5),),
    "mixture": (Mode(0.3, -0.5, 0.2), Mode(0.7, 0.4, 0.1)),
}
"""What was "learned", in one dimension."""

STARTS = (-2.0, -1.0, -0.3, 0.0, 0.5, 1.0, 2.0)
"""The x_T that are followed."""

STEPS = (40, 80, 160, 320)
"""Numbers of steps, each twice the one before."""


@cache
def fine_schedule() -> NoiseSchedule:
    """So fine that neither the integer timesteps nor the last step from sigma = 0.001 to the data shows."""
    return linear_schedule(100_000)


def exact_denoiser(law: str, prediction: Prediction = "epsilon") -> Denoiser:
    """The exact denoiser of one of ``LAWS``, in float64."""
    modes = LAWS[law]
    weights, means, stds = (
        torch.tensor([getattr(mode, name) for mode in modes], dtype=torch.float64) for name in ("weight", "mean", "std")
    )
    if len(modes) == 1:
        return GaussianDenoiser(means.reshape(1, 1, 1), float(stds[0]) ** 2, fine_schedule(), prediction)
    shape = (-1, 1, 1, 1)
    return MixtureDenoiser(weights, means.reshape(shape), (stds**2).reshape(shape), fine_schedule(), prediction)


@cache
def flow_limit(law: str) -> torch.Tensor:
    """``(7,)``: where the exact probability flow takes ``STARTS``."""
    modes, schedule = LAWS[law], fine_schedule()
    last = torch.tensor([schedule.steps - 1])
    a, s = schedule.alpha(last).item(), schedule.sigma(last).item()

    def cumulated(x: float, alpha: float, sigma: float) -> float:
        widths = [(alpha**2 * mode.std**2 + sigma**2) ** 0.5 for mode in modes]
        parts = zip(modes, widths, strict=True)
        return float(sum(mode.weight * ndtr((x - alpha * mode.mean) / width) for mode, width in parts))

    def arrives(x: float) -> float:
        share = cumulated(x, a, s)
        return float(brentq(lambda y: cumulated(y, 1.0, 0.0) - share, -5, 5, xtol=1e-13))

    return torch.tensor([arrives(x) for x in STARTS], dtype=torch.float64)


def path_ends(sampler: Sampler, law: str, prediction: Prediction = "epsilon") -> torch.Tensor:
    """``(7,)``: where ``sampler`` takes ``STARTS`` with the exact denoiser."""
    starts = RepeatedNoise(torch.tensor(STARTS, dtype=torch.float64))
    return sampler.sample(exact_denoiser(law, prediction), fine_schedule(), chosen(starts), (1, 1, 1)).flatten()


def path_errors(make: Callable[[int], Sampler], law: str, steps: Sequence[int] = STEPS) -> list[float]:
    """Largest error over the starts, for each number of steps; a sampler of order p divides it by 2^p each time."""
    return [float((path_ends(make(count), law) - flow_limit(law)).abs().max()) for count in steps]
