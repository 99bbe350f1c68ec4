"""The variational bound on -log p(x_0), term by term, in bits per dimension (lower is better).

For a chain with timesteps 0 .. T-1 (arXiv:2006.11239, equation 5, there numbered 1 .. T)::

    L_T = KL(q(x_{T-1} | x_0) || N(0, I))                                  prior: does the chain end in pure noise?
    L_t = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)),  t = 1 .. T-1     transitions: one network call each
    L_0 = -log p(x_0 | x_{t=0})                                            decoder

The transitions and the prior do not depend on the unit of x; the decoder does. A ``gaussian`` decoder gives a density
over the model's range [-1, 1] (add log2(127.5) for bits per grey level), a ``discretised`` one the probability of an
8-bit level. In the latent space of an autoencoder all of it is a bound on the latent, never bits per pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from ldm_eval.api import Denoiser, NoiseSchedule
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.parameterisation import add_noise, predict
from ldm_eval.errors import ConfigError, DataError

__all__ = [
    "Decoder",
    "ReverseVariance",
    "VariationalBound",
    "decoder_term",
    "decoder_variance",
    "prior_term",
    "transition_term",
    "variational_bound",
]

ReverseVariance = Literal["posterior", "beta"]
"""Variance of p(x_{t-1} | x_t): that of q(x_{t-1} | x_t, x_0), or beta_t."""

Decoder = Literal["gaussian", "discretised"]
"""p(x_0 | x_{t=0}): a density, or the probability of an 8-bit level."""


@dataclass(frozen=True, slots=True, eq=False)
class VariationalBound:
    """Every term in bits per dimension, float64, one row an image.

    Attributes:
        decoder: ``(N,)`` L_0.
        transitions: ``(N, T-1)`` L_1 .. L_{T-1}.
        prior: ``(N,)`` L_T.
    """

    decoder: torch.Tensor
    transitions: torch.Tensor
    prior: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """``(N,)`` the bound: an unbiased estimate from one noise per term."""
        return self.decoder + self.transitions.sum(dim=1) + self.prior


def _bits(nats: torch.Tensor) -> torch.Tensor:
    """``(N, ...)`` nats of every dimension -> ``(N,)`` bits per dimension."""
    return nats.flatten(1).mean(dim=1) / math.log(2.0)


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.to(like.device, torch.float64).reshape(-1, *([1] * (like.ndim - 1)))


def prior_term(schedule: NoiseSchedule, x0: torch.Tensor) -> torch.Tensor:
    """L_T for ``x0 (N, C, H, W)`` -> ``(N,)``; 0 exactly for a schedule that ends in pure noise."""
    last = torch.tensor([schedule.steps - 1])
    alpha, sigma = float(schedule.alpha(last)), float(schedule.sigma(last))
    variance = sigma**2
    # variance - 1 = -alpha^2, without the cancellation
    return _bits(0.5 * (alpha**2 * (x0.to(torch.float64).square() - 1.0) - math.log(variance)))


def transition_term(
    schedule: NoiseSchedule,
    t: torch.Tensor,
    x0: torch.Tensor,
    guess: torch.Tensor,
    *,
    variance: ReverseVariance | torch.Tensor = "posterior",
) -> torch.Tensor:
    """L_t, the divergence of two Gaussians whose means differ by alpha_{t-1} beta_t/sigma_t^2 (x_0 - guess).

    Args:
        schedule: Noise schedule.
        t: ``(N,)`` int64, each in 1 .. T-1.
        x0: ``(N, C, H, W)``.
        guess: The same shape: what the network makes of x_t (``parameterisation.predict`` as x0).
        variance: That of p, by name or as ``(N,)`` positive numbers.

    Returns:
        ``(N,)`` float64 bits per dimension.

    Raises:
        ConfigError: for a timestep 0 (that is the decoder's) or a variance that is not positive.
    """
    if bool((t < 1).any()):
        raise ConfigError("Transitions of the bound are numbered 1 .. T-1; timestep 0 belongs to the decoder.")
    alpha_s, sigma_s, sigma_t = schedule.alpha(t - 1), schedule.sigma(t - 1), schedule.sigma(t)
    beta = 1.0 - (schedule.alpha(t) / alpha_s) ** 2
    posterior = beta * (sigma_s / sigma_t) ** 2
    if isinstance(variance, torch.Tensor):
        chosen = variance.to(posterior)
    else:
        chosen = posterior if variance == "posterior" else beta
    _refuse_not_positive(chosen)
    ratio = posterior / chosen
    widths = ratio - 1.0 - ratio.log()
    gain = (alpha_s * beta / sigma_t**2) ** 2 / chosen
    error = (x0.to(torch.float64) - guess.to(torch.float64)).square()
    return _bits(0.5 * (_column(widths, x0) + _column(gain, x0) * error))


def _refuse_not_positive(variance: torch.Tensor) -> None:
    if not bool((variance > 0).all()):
        raise ConfigError(
            f"A variance of the bound must be greater than zero; found {float(variance.min()):g}. (The posterior "
            "variance of timestep 0 is zero, and the likelihood with it infinite or nothing.)"
        )


def decoder_variance(schedule: NoiseSchedule) -> float:
    """beta_0 = sigma_0^2, the default of ``decoder_term``: the posterior variance there would be 0."""
    return float(schedule.sigma(torch.tensor([0]))) ** 2


def decoder_term(
    x0: torch.Tensor, guess: torch.Tensor, variance: float, *, decoder: Decoder = "discretised"
) -> torch.Tensor:
    """L_0 = -log2 p(x_0) of a Gaussian around ``guess``, per dimension.

    Args:
        x0: ``(N, C, H, W)`` in [-1, 1].
        guess: The same shape, the network's x0 at timestep 0.
        variance: Of the decoder, > 0; usually ``decoder_variance(schedule)``.
        decoder: ``gaussian``: a density, which may be negative in bits. ``discretised``: the mass of the level, its
            edges half a level away and infinite beyond 0 and 255 (arXiv:2006.11239, equation 13).

    Returns:
        ``(N,)`` float64 bits per dimension.

    Raises:
        ConfigError: for a variance that is not positive.
        DataError: when ``discretised`` is asked of images that are not on the 256 levels.
    """
    _refuse_not_positive(torch.tensor(variance, dtype=torch.float64))
    image, mean = x0.to(torch.float64), guess.to(torch.float64)
    if decoder == "gaussian":
        return _bits(0.5 * ((image - mean).square() / variance + math.log(2.0 * math.pi * variance)))
    level = ((image + 1.0) * 127.5).round()
    exact = level / 127.5 - 1.0
    if bool(((exact - image).abs() > 1e-5).any()) or bool(((level < 0) | (level > 255)).any()):
        raise DataError(
            "The discretised likelihood is that of 8-bit images: every value must be one of k/127.5 - 1, k = 0 .. 255. "
            "Convert stored images with 'to_float', or ask for the gaussian decoder."
        )
    infinite = torch.tensor(math.inf, dtype=torch.float64, device=image.device)
    below = torch.where(level == 0, -infinite, (exact - 1.0 / 255.0 - mean) / math.sqrt(variance))
    above = torch.where(level == 255, infinite, (exact + 1.0 / 255.0 - mean) / math.sqrt(variance))
    return _bits(-_log_normal_mass(below, above))


def _log_normal_mass(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """log(Phi(high) - Phi(low)), from the tail where both are small: far from the mean the difference would be 0."""
    mirrored = low > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    upper: torch.Tensor = torch.special.log_ndtr(high)
    lower: torch.Tensor = torch.special.log_ndtr(low)
    return upper + torch.log(-torch.expm1(lower - upper))


@torch.no_grad()
def variational_bound(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    x0: torch.Tensor,
    noise: SampleNoise,
    labels: torch.Tensor | None = None,
    *,
    variance: ReverseVariance = "posterior",
    decoder: Decoder = "discretised",
) -> VariationalBound:
    """Every term of the bound with one noise per image and timestep: T network calls.

    Args:
        denoiser: Network, on the device of ``x0``.
        schedule: The schedule it was trained with.
        x0: ``(N, C, H, W)`` images in [-1, 1].
        noise: One generator per image.
        labels: ``(N,)`` int64 class labels, or None.
        variance: Of the transitions.
        decoder: See ``decoder_term``.

    Raises:
        ConfigError: for a number of generators that is not N.
        DataError: see ``decoder_term``.
        ModelError: where a prediction of epsilon cannot tell x0.
    """
    if len(noise) != len(x0):
        raise ConfigError(f"The bound needs one noise generator per image; found {len(noise)} for {len(x0)}.")
    channels, height, width = x0.shape[1:]
    terms: list[torch.Tensor] = []
    for step in range(schedule.steps):
        t = torch.full((len(x0),), step, dtype=torch.int64, device=x0.device)
        x_t = add_noise(schedule, x0, noise.draw((channels, height, width)), t)
        guess = predict(denoiser, schedule, "x0", x_t, t, labels)
        if step == 0:
            terms.append(decoder_term(x0, guess, decoder_variance(schedule), decoder=decoder))
        else:
            terms.append(transition_term(schedule, t, x0, guess, variance=variance))
    transitions = torch.stack(terms[1:], dim=1) if len(terms) > 1 else x0.new_zeros((len(x0), 0), dtype=torch.float64)
    return VariationalBound(terms[0], transitions, prior_term(schedule, x0))
