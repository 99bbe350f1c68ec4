"""The variational bound of models whose every number is known, in expectation, without random numbers.

For pixels that are independent of each other, every term depends on the data through E[x_0^2] and on the denoiser
through E[(x_0 - guess)^2] at each noise level: formulas for a Gaussian, integrals in one dimension for a mixture. Only
the discretised decoder needs the law itself. The terms are stated again here, and not taken from
``diffusion.likelihood``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from ldm_eval.api import NoiseSchedule
from ldm_eval.testing.limits import Moments

__all__ = [
    "ExpectedBound",
    "Mode",
    "expected_bound",
    "gaussian_errors",
    "mixture_entropy",
    "mixture_errors",
    "rounded_decoder",
    "rounded_normal",
]

Array = NDArray[np.float64]
_LOG2 = math.log(2.0)


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedBound:
    """Expectations over the data and the noise, bits per dimension: ``decoder``, ``transitions (T-1,)``, ``prior``."""

    decoder: float
    transitions: Array
    prior: float

    @property
    def total(self) -> float:
        """The bound."""
        return self.decoder + float(self.transitions.sum()) + self.prior


@dataclass(frozen=True, slots=True)
class Mode:
    """One Gaussian of a mixture in one dimension."""

    weight: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    alpha: Array
    sigma: Array

    @classmethod
    def of(cls, schedule: NoiseSchedule) -> _Levels:
        every = torch.arange(schedule.steps)
        return cls(schedule.alpha(every).numpy(), schedule.sigma(every).numpy())


def expected_bound(
    schedule: NoiseSchedule,
    squared_errors: Array,
    second_moment: float,
    *,
    variance: Literal["posterior", "beta"] = "posterior",
    decoder: float | None = None,
) -> ExpectedBound:
    """The bound in expectation.

    Args:
        schedule: Noise schedule.
        squared_errors: ``(T,)``, E[(x_0 - guess)^2] of one pixel at every noise level.
        second_moment: E[x_0^2] of one pixel.
        variance: Of the reverse transitions.
        decoder: Its term where it is not the Gaussian one of variance sigma_0^2.
    """
    at = _Levels.of(schedule)
    a, b, r, s = at.alpha[1:], at.alpha[:-1], at.sigma[:-1], at.sigma[1:]
    beta = 1 - (a / b) ** 2
    q = beta * (r / s) ** 2  # variance of q(x_{t-1} | x_t, x_0)
    p = q if variance == "posterior" else beta
    shift = (b * beta / s**2) ** 2 * squared_errors[1:]  # squared difference of the two means
    transitions = 0.5 * (np.log(p / q) + (q + shift) / p - 1) / _LOG2
    alpha, sigma = float(at.alpha[-1]), float(at.sigma[-1])
    prior = 0.5 * (alpha**2 * second_moment + sigma**2 - 1 - math.log(sigma**2)) / _LOG2
    width = float(at.sigma[0]) ** 2
    gaussian = 0.5 * (math.log(2 * math.pi * width) + float(squared_errors[0]) / width) / _LOG2
    return ExpectedBound(gaussian if decoder is None else decoder, transitions, prior)


def gaussian_errors(schedule: NoiseSchedule, learned: Moments, data: Moments | None = None) -> Array:
    """``(T,)``: E[(x_0 - E[x_0 | x_t])^2] when the denoiser has ``learned`` a Gaussian and the pixels are of ``data``.

    ``data`` need not be Gaussian: the guess is affine in x_t. By default it is what was learned.
    """
    truth = data or learned
    at = _Levels.of(schedule)
    gain = at.alpha * learned.variance / (at.alpha**2 * learned.variance + at.sigma**2)
    kept = 1 - gain * at.alpha
    errors: Array = kept**2 * (truth.variance + (truth.mean - learned.mean) ** 2) + gain**2 * at.sigma**2
    return errors


def mixture_errors(schedule: NoiseSchedule, modes: Sequence[Mode], points: int = 4001) -> Array:
    """``(T,)``: E[Var(x_0 | x_t)] of a mixture in one dimension, by the trapezoidal rule in x_t."""
    at = _Levels.of(schedule)
    return np.array([_unexplained(float(a), float(s), modes, points) for a, s in zip(at.alpha, at.sigma, strict=True)])


def _unexplained(alpha: float, sigma: float, modes: Sequence[Mode], points: int) -> float:
    weights, means, stds = (np.array([getattr(mode, name) for mode in modes]) for name in ("weight", "mean", "std"))
    spread = alpha**2 * stds**2 + sigma**2
    low = float((alpha * means - 12 * np.sqrt(spread)).min())
    high = float((alpha * means + 12 * np.sqrt(spread)).max())
    x = np.linspace(low, high, points)[:, None]
    density = weights / weights.sum() * np.exp(-((x - alpha * means) ** 2) / (2 * spread))
    density /= np.sqrt(2 * math.pi * spread)
    inner = means + alpha * stds**2 / spread * (x - alpha * means)  # E[x_0 | x_t, mode]
    total = np.maximum(density.sum(axis=1, keepdims=True), 1e-300)
    guess = (density * inner).sum(axis=1, keepdims=True) / total
    unexplained = (density * (stds**2 * sigma**2 / spread + (inner - guess) ** 2)).sum(axis=1)
    return float(np.trapezoid(unexplained, x[:, 0]))


def mixture_entropy(modes: Sequence[Mode], points: int = 20001) -> float:
    """Differential entropy of a mixture in one dimension, in bits: what no bound on its density goes below."""
    total = sum(mode.weight for mode in modes)
    low = min(mode.mean - 12 * mode.std for mode in modes)
    high = max(mode.mean + 12 * mode.std for mode in modes)
    x = np.linspace(low, high, points)
    density = np.zeros_like(x)
    for mode in modes:
        density += mode.weight / total * np.exp(-(((x - mode.mean) / mode.std) ** 2) / 2) / mode.std
    density /= math.sqrt(2 * math.pi)
    return float(-np.trapezoid(density * np.log2(np.maximum(density, 1e-300)), x))


def rounded_normal(law: Moments) -> Array:
    """``(256,)``: how often each level k/127.5 - 1 occurs when N(mean, variance) is rounded to it and clamped."""
    edges = (np.arange(255) + 0.5) / 127.5 - 1
    below = ndtr((edges - law.mean) / math.sqrt(law.variance))
    masses: Array = np.diff(np.concatenate([[0.0], below, [1.0]]))
    return masses


def rounded_decoder(schedule: NoiseSchedule, learned: Moments, shares: Array, nodes: int = 64) -> float:
    """E[-log2 p(x_0 | x_{t=0})] of the discretised decoder of variance sigma_0^2, for levels with ``shares (256,)``.

    The denoiser has ``learned`` a Gaussian; the integral over the noise is by Gauss and Hermite.
    """
    at = _Levels.of(schedule)
    alpha, sigma = float(at.alpha[0]), float(at.sigma[0])
    gain = alpha * learned.variance / (alpha**2 * learned.variance + sigma**2)
    level = (np.arange(256) / 127.5 - 1)[:, None]
    noise, weights = np.polynomial.hermite_e.hermegauss(nodes)
    guess = learned.mean + gain * (alpha * level + sigma * noise - alpha * learned.mean)
    low, high = (level - 1 / 255 - guess) / sigma, (level + 1 / 255 - guess) / sigma
    low[0], high[-1] = -np.inf, np.inf
    mirrored = low > 0  # the difference is taken where both are small
    low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
    bits = -(log_ndtr(high) + np.log(-np.expm1(log_ndtr(low) - log_ndtr(high)))) / _LOG2
    return float(shares @ (bits @ weights) / weights.sum())
