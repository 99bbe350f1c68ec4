"""Which of a schedule's timesteps a sampler visits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch

from ldm_eval.api import NoiseSchedule

__all__ = ["SPACINGS", "Spacing", "karras_timesteps", "uniform_timesteps"]

Spacing = Literal["uniform", "karras"]

_PURE_NOISE = 160.0
"""Above this sigma/alpha an image in [-1, 1] is drowned: one step down from there, however far it begins (the linear
schedule ends at 157, the cosine one at 20,000, one with zero terminal signal at infinity)."""


def uniform_timesteps(schedule: NoiseSchedule, steps: int) -> list[int]:
    """``steps`` timesteps evenly spaced from T-1 down to 0, strictly falling; 1 <= ``steps`` <= T."""
    last = schedule.steps - 1
    if steps == 1:
        return [last]
    return [round(last * (steps - 1 - i) / (steps - 1)) for i in range(steps)]


def karras_timesteps(schedule: NoiseSchedule, steps: int, rho: float = 7.0) -> list[int]:
    """``steps`` timesteps whose (sigma/alpha)^(1/rho) is evenly spaced (arXiv:2206.00364, equation 5).

    Each wanted noise level goes to the nearest timestep in log(sigma/alpha); where two would meet, which happens at the
    low end when ``steps`` is large, the noisier one moves up. The first is always T-1 and the last 0.
    """
    last = schedule.steps - 1
    if steps < 3:
        return uniform_timesteps(schedule, steps)
    every = torch.arange(schedule.steps)
    level = schedule.sigma(every) / schedule.alpha(every)  # infinite where there is no signal at all
    jump = int(level[-1] > _PURE_NOISE)  # 1: the first step only leads down to where there is something to see
    high, low = min(float(level[-1]), _PURE_NOISE) ** (1 / rho), float(level[0]) ** (1 / rho)
    share = torch.linspace(0.0, 1.0, steps - jump, dtype=torch.float64)
    wanted = ((high + share * (low - high)) ** rho).log()
    logs = level.log()
    above = torch.searchsorted(logs, wanted).clamp(1, last)
    nearest = torch.where(wanted - logs[above - 1] < logs[above] - wanted, above - 1, above).tolist()
    return _strictly_falling([last] * jump + [int(t) for t in nearest], last)


def _strictly_falling(timesteps: list[int], last: int) -> list[int]:
    """Move timesteps up as little as needed to make them distinct, and none above ``last``."""
    falling: list[int] = []
    for i in range(len(timesteps) - 1, -1, -1):
        lowest = falling[-1] + 1 if falling else 0
        falling.append(min(max(timesteps[i], lowest), last - i))
    return falling[::-1]


SPACINGS: Mapping[Spacing, Callable[[NoiseSchedule, int], list[int]]] = {
    "uniform": uniform_timesteps,
    "karras": karras_timesteps,
}
"""Timesteps by spacing: (schedule, steps) -> strictly falling list from T-1 to 0."""
