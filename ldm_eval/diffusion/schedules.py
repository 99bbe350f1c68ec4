"""Discrete noise schedules: x_t = alpha_t x_0 + sigma_t eps with alpha_t = sqrt(alpha_bar_t), t = 0 .. T-1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import final

import torch

from ldm_eval.errors import ConfigError, did_you_mean

__all__ = [
    "SCHEDULES",
    "DiscreteSchedule",
    "cosine_schedule",
    "linear_schedule",
    "make_schedule",
    "scaled_linear_schedule",
    "with_zero_terminal_snr",
    "zero_terminal_snr_schedule",
]


@final
class DiscreteSchedule:
    """A variance-preserving schedule given by its betas (arXiv:2006.11239), held in float64.

    ``log alpha_bar`` is summed, not multiplied, and sigma comes from ``expm1``: at t = 0 of the linear schedule
    ``1 - alpha_bar`` is 1e-4 and the naive difference loses four digits.

    Args:
        name: For signatures and checkpoints.
        betas: ``(T,)``, each in (0, 1); the last of several may be 1, which leaves pure noise (alpha = 0 exactly).
    """

    def __init__(self, name: str, betas: torch.Tensor) -> None:
        betas = betas.detach().to("cpu", torch.float64)
        inside = betas.ndim == 1 and betas.numel() > 0 and bool(((betas > 0) & (betas <= 1)).all())
        if not inside or bool((betas[:-1] == 1).any()) or (betas.numel() == 1 and betas.item() == 1):
            raise ConfigError(f"Schedule '{name}' needs a list of betas between 0 and 1; found {betas}.")
        self._name = name
        self._betas = betas
        log_alpha_bar = torch.log1p(-betas).cumsum(0)
        self._alpha_bar = log_alpha_bar.exp()
        self._alpha = (0.5 * log_alpha_bar).exp()
        self._sigma = (-torch.expm1(log_alpha_bar)).sqrt()

    @property
    def name(self) -> str:
        """``"linear"``, ``"cosine"``, ..."""
        return self._name

    @property
    def steps(self) -> int:
        """T, the number of noise levels."""
        return int(self._betas.numel())

    @property
    def betas(self) -> torch.Tensor:
        """``(T,)`` float64, variance added between t-1 and t."""
        return self._betas.clone()

    @property
    def ends_in_pure_noise(self) -> bool:
        """True when alpha is zero at T-1: there x_t says nothing of x_0, nor does a prediction of epsilon."""
        return float(self._alpha[-1]) == 0.0

    @property
    def alpha_bar(self) -> torch.Tensor:
        """``(T,)`` float64, alpha_bar_t = prod over s <= t of (1 - beta_s)."""
        return self._alpha_bar.clone()

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        """``(N,)`` int64 -> ``(N,)`` float64 on the device of ``t``: sqrt(alpha_bar_t)."""
        return self._read(self._alpha, t)

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """``(N,)`` int64 -> ``(N,)`` float64 on the device of ``t``: sqrt(1 - alpha_bar_t)."""
        return self._read(self._sigma, t)

    def _read(self, table: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        # A negative index would wrap around silently to the noisiest step.
        index = t.detach().to("cpu", torch.int64)
        if index.numel() and (int(index.min()) < 0 or int(index.max()) >= self.steps):
            raise ConfigError(f"Timesteps of this schedule are 0 .. {self.steps - 1}; found {index.tolist()[:8]}.")
        return table[index].to(t.device)


def linear_schedule(steps: int = 1000) -> DiscreteSchedule:
    """Betas from 1e-4 to 0.02 at T = 1000 (arXiv:2006.11239); scaled by 1000/T elsewhere, which keeps alpha_bar_T."""
    smallest = 25  # below, the last scaled beta would reach 1
    if steps < smallest:
        raise ConfigError(f"The linear schedule needs at least {smallest} timesteps; found {steps}. Use 'cosine'.")
    scale = 1000 / steps
    return DiscreteSchedule("linear", torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64))


def cosine_schedule(steps: int = 1000) -> DiscreteSchedule:
    """alpha_bar(u) proportional to cos^2((u + 0.008)/1.008 * pi/2), betas capped at 0.999 (arXiv:2102.09672).

    Its last step has almost no signal (alpha near 5e-5 at T = 1000): from there an epsilon-prediction's error is
    multiplied by 1/alpha, so sample it with a clipping sampler.
    """
    if steps < 1:
        raise ConfigError(f"A schedule needs at least one timestep; found {steps}.")

    def alpha_bar(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - alpha_bar((t + 1) / steps) / alpha_bar(t / steps), 0.999) for t in range(steps)]
    return DiscreteSchedule("cosine", torch.tensor(betas, dtype=torch.float64))


def scaled_linear_schedule(steps: int = 1000) -> DiscreteSchedule:
    """sqrt(beta) evenly spaced, betas from 0.00085 to 0.012 at T = 1000, scaled by 1000/T elsewhere.

    The schedule of latent diffusion (arXiv:2112.10752): it ends with alpha = 0.068, so a sample that starts from pure
    noise starts a little off the law the network was trained on (arXiv:2305.08891).
    """
    smallest = 15  # below, the last scaled beta would come near 1
    if steps < smallest:
        raise ConfigError(
            f"The scaled-linear schedule needs at least {smallest} timesteps; found {steps}. Use 'cosine'."
        )
    first, last = (math.sqrt(beta * 1000 / steps) for beta in (0.00085, 0.012))
    return DiscreteSchedule("scaled-linear", torch.linspace(first, last, steps, dtype=torch.float64) ** 2)


def with_zero_terminal_snr(schedule: DiscreteSchedule, name: str) -> DiscreteSchedule:
    """Return ``schedule`` with alpha shifted and stretched to 0 at T-1, unchanged at 0 (arXiv:2305.08891, alg. 1).

    Sampling then starts exactly where training ended. An epsilon-prediction says nothing about x0 at T-1: the network
    must predict v or x0, and conversions from epsilon refuse there.

    Raises:
        ConfigError: for a schedule of a single timestep.
    """
    if schedule.steps < 2:
        raise ConfigError(f"Zero terminal signal needs at least 2 timesteps; schedule '{schedule.name}' has 1.")
    alpha = schedule.alpha_bar.sqrt()
    alpha = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
    betas = 1.0 - (alpha / torch.cat([alpha.new_ones(1), alpha[:-1]])) ** 2
    return DiscreteSchedule(name, betas)


def zero_terminal_snr_schedule(steps: int = 1000) -> DiscreteSchedule:
    """The scaled-linear schedule rescaled to end in pure noise; for networks that predict v or x0."""
    return with_zero_terminal_snr(scaled_linear_schedule(steps), "zero-terminal-snr")


SCHEDULES: Mapping[str, Callable[[int], DiscreteSchedule]] = {
    "linear": linear_schedule,
    "cosine": cosine_schedule,
    "scaled-linear": scaled_linear_schedule,
    "zero-terminal-snr": zero_terminal_snr_schedule,
}
"""Schedules by the name a checkpoint or a user writes."""


def make_schedule(name: str, steps: int) -> DiscreteSchedule:
    """Return the schedule ``name`` with ``steps`` timesteps. Raises ConfigError for another name or a bad length."""
    if name not in SCHEDULES:
        known = ", ".join(sorted(SCHEDULES))
        raise ConfigError(f"There is no noise schedule '{name}'.{did_you_mean(name, SCHEDULES)} Known: {known}.")
    return SCHEDULES[name](steps)
