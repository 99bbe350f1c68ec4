"""Conversions between what a network predicts and what a formula needs: epsilon, x0 and v.

With x_t = alpha x_0 + sigma eps and alpha^2 + sigma^2 = 1 (arXiv:2202.00512)::

    v = alpha eps - sigma x_0,    eps = sigma x_t + alpha v,    x_0 = alpha x_t - sigma v
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import torch

from ldm_eval.api import Denoiser, NoiseSchedule, Prediction
from ldm_eval.errors import ModelError

__all__ = ["Estimate", "add_noise", "convert", "estimate", "predict", "training_target"]

_SMALLEST = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """One network call read in two ways; each ``(N, C, H, W)``, with x_t = alpha x0 + sigma epsilon exactly."""

    epsilon: torch.Tensor
    x0: torch.Tensor


def _columns(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.to(like.device, like.dtype).reshape(-1, *([1] * (like.ndim - 1)))


def add_noise(schedule: NoiseSchedule, x0: torch.Tensor, epsilon: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return x_t = alpha_t x_0 + sigma_t eps for ``x0, epsilon (N, C, H, W)`` and ``t (N,) int64``."""
    return _columns(schedule.alpha(t), x0) * x0 + _columns(schedule.sigma(t), x0) * epsilon


def training_target(
    schedule: NoiseSchedule, prediction: Prediction, x0: torch.Tensor, epsilon: torch.Tensor, t: torch.Tensor
) -> torch.Tensor:
    """Return what a network of kind ``prediction`` should say of x_t, for ``x0, epsilon (N, C, H, W)``, ``t (N,)``."""
    if prediction == "epsilon":
        return epsilon
    if prediction == "x0":
        return x0
    if prediction == "v":
        return _columns(schedule.alpha(t), x0) * epsilon - _columns(schedule.sigma(t), x0) * x0
    assert_never(prediction)


def convert(
    output: torch.Tensor,
    native: Prediction,
    wanted: Prediction,
    x_t: torch.Tensor,
    alpha: torch.Tensor,
    sigma: torch.Tensor,
) -> torch.Tensor:
    """Rewrite a prediction of kind ``native`` as kind ``wanted``.

    Args:
        output: ``(N, C, H, W)`` prediction for ``x_t``.
        native: What ``output`` is.
        wanted: What is asked for.
        x_t: ``(N, C, H, W)`` noisy images.
        alpha: ``(N,)`` float64, sqrt(alpha_bar_t).
        sigma: ``(N,)`` float64, sqrt(1 - alpha_bar_t).

    Raises:
        ModelError: where the conversion divides by zero: x0 and v from epsilon at alpha = 0 (a schedule with zero
            terminal signal), epsilon and v from x0 at sigma = 0.
    """
    if native == wanted:
        return output
    if native == "v":
        a, s = _columns(alpha, x_t), _columns(sigma, x_t)
        return a * x_t - s * output if wanted == "x0" else s * x_t + a * output
    divisor, symbol = (alpha, "alpha") if native == "epsilon" else (sigma, "sigma")
    if bool((divisor < _SMALLEST).any()):
        raise ModelError(
            f"A prediction of {native} was asked for {wanted} where {symbol} is zero, which it cannot tell. "
            "Use a network that predicts v, or a schedule that never reaches this noise level."
        )
    a, s = _columns(alpha, x_t), _columns(sigma, x_t)
    if native == "epsilon":
        return (x_t - s * output) / a if wanted == "x0" else (output - s * x_t) / a
    if native == "x0":
        return (x_t - a * output) / s if wanted == "epsilon" else (a * x_t - output) / s
    assert_never(native)


def _call(denoiser: Denoiser, x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    output = denoiser(x_t, t, labels)
    if output.shape != x_t.shape:
        raise ModelError(
            f"A denoiser must give the shape of its input; it was given {tuple(x_t.shape)} and gave "
            f"{tuple(output.shape)}. A network that also predicts variances must be wrapped to give the mean only."
        )
    return output


def predict(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    wanted: Prediction,
    x_t: torch.Tensor,
    t: torch.Tensor,
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """Call ``denoiser`` at ``x_t (N, C, H, W)``, ``t (N,) int64`` and return its prediction as ``wanted``."""
    output = _call(denoiser, x_t, t, labels)
    return convert(output, denoiser.prediction, wanted, x_t, schedule.alpha(t), schedule.sigma(t))


def estimate(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    x_t: torch.Tensor,
    t: torch.Tensor,
    labels: torch.Tensor | None = None,
) -> Estimate:
    """Call ``denoiser`` once and return both its epsilon and its x0."""
    output = _call(denoiser, x_t, t, labels)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    native = denoiser.prediction
    return Estimate(
        epsilon=convert(output, native, "epsilon", x_t, alpha, sigma),
        x0=convert(output, native, "x0", x_t, alpha, sigma),
    )
