"""Denoisers whose every answer is known in closed form.

A network that is trained to predict noise converges to eps(x_t, t) = E[eps | x_t] = -sigma_t grad log p_t(x_t), where
p_t is the data's law after noising; one that predicts x0 or v to E[x_0 | x_t] or E[v | x_t]. For the laws below these
expectations are formulas, so samplers, likelihoods and privacy attacks can be put before a "perfectly trained network"
of any kind and their answers compared with the truth. Each kind is computed from the law and not converted from
another: v and x0 are exact where alpha = 0, epsilon is its own limit there.

All compute in float64, give the type they are given, and live on the device of the tensors they were made with. Labels
are accepted and ignored: these models are not conditional.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch

from ldm_eval.api import NoiseSchedule, Prediction
from ldm_eval.diffusion.parameterisation import Estimate
from ldm_eval.errors import ModelError, did_you_mean

__all__ = ["GaussianDenoiser", "MixtureDenoiser", "OptimalDenoiser"]

_ELEMENTS_AT_ONCE = 1 << 23
"""float64 numbers in the largest temporary array: 64 MiB."""

_PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "x0", "v")


class _ClosedForm(ABC):
    """What the three share: the shape check, the call in float64, the prediction type."""

    def __init__(self, schedule: NoiseSchedule, shape: tuple[int, int, int], prediction: Prediction) -> None:
        if prediction not in _PREDICTIONS:
            hint = did_you_mean(prediction, _PREDICTIONS)
            raise ModelError(f"A phantom predicts one of {', '.join(_PREDICTIONS)}; found '{prediction}'.{hint}")
        self._schedule = schedule
        self._shape = shape
        self._prediction: Prediction = prediction

    @property
    def prediction(self) -> Prediction:
        """What it was made to predict."""
        return self._prediction

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of the images it denoises."""
        return self._shape

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """``x_t (N, C, H, W)``, ``t (N,) int64`` -> the expectation of its prediction given x_t, like ``x_t``.

        Raises:
            ModelError: for images of another shape.
        """
        if tuple(x_t.shape[1:]) != self._shape or t.shape != x_t.shape[:1]:
            raise ModelError(
                f"This phantom denoises images of shape {self._shape} with one timestep each; "
                f"found images {tuple(x_t.shape)} and timesteps {tuple(t.shape)}."
            )
        flat = x_t.detach().to(torch.float64).flatten(1)
        alpha = self._schedule.alpha(t).to(flat)[:, None]
        sigma = self._schedule.sigma(t).to(flat)[:, None]
        known = self._expect(flat, alpha, sigma)
        if self._prediction == "epsilon":
            answer = known.epsilon
        elif self._prediction == "x0":
            answer = known.x0
        else:
            answer = alpha * known.epsilon - sigma * known.x0
        return answer.reshape(x_t.shape).to(x_t.dtype)

    @abstractmethod
    def _expect(self, x_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> Estimate:
        """E[eps | x_t] and E[x_0 | x_t], ``(N, D)`` each, for ``(N, D)``, ``(N, 1)``, ``(N, 1)``, all float64."""


@final
class GaussianDenoiser(_ClosedForm):
    """The exact denoiser of x_0 ~ N(mean, S): eps = sigma (alpha^2 S + sigma^2 I)^-1 (x_t - alpha mean).

    It has learned the law and not one image: nothing is memorised, and every membership attack has an AUC of 1/2.

    Args:
        mean: ``(C, H, W)``, in the model's range [-1, 1].
        variance: A number, or a tensor that broadcasts to ``(C, H, W)``: the diagonal of S. For a full matrix use
            ``with_covariance``.
        schedule: Noise schedule.
        prediction: What it predicts.

    Raises:
        ModelError: for a variance that is negative, not finite or of another shape.
    """

    def __init__(
        self,
        mean: torch.Tensor,
        variance: torch.Tensor | float,
        schedule: NoiseSchedule,
        prediction: Prediction = "epsilon",
    ) -> None:
        super().__init__(schedule, _image_shape(mean), prediction)
        self._mean = mean.detach().to(torch.float64).flatten()
        self._variance = _variances(variance, mean).flatten()
        self._basis: torch.Tensor | None = None

    @classmethod
    def with_covariance(
        cls,
        mean: torch.Tensor,
        covariance: torch.Tensor,
        schedule: NoiseSchedule,
        prediction: Prediction = "epsilon",
    ) -> GaussianDenoiser:
        """The same with a full ``covariance (D, D)``, D = C*H*W, symmetric and positive semi-definite.

        Raises:
            ModelError: when it is none of these.
        """
        dimension = mean.numel()
        matrix = covariance.detach().to(mean.device, torch.float64)
        if matrix.shape != (dimension, dimension) or not torch.allclose(matrix, matrix.T):
            raise ModelError(
                f"The covariance of a Gaussian phantom must be a symmetric ({dimension}, {dimension}) matrix; "
                f"found shape {tuple(matrix.shape)}."
            )
        values, basis = torch.linalg.eigh(matrix)
        if float(values.min()) < -1e-9 * max(float(values.max()), 1e-300):
            raise ModelError(
                f"The covariance of a Gaussian phantom must not have negative eigenvalues; found {float(values.min())}."
            )
        denoiser = cls(mean, 0.0, schedule, prediction)
        denoiser._variance = values.clamp_min(0.0)
        denoiser._basis = basis
        return denoiser

    def _expect(self, x_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> Estimate:
        centred = x_t - alpha * self._mean
        if self._basis is not None:
            centred = centred @ self._basis
        scaled = centred / (alpha**2 * self._variance + sigma**2)
        noise, signal = sigma * scaled, alpha * self._variance * scaled
        if self._basis is not None:
            noise, signal = noise @ self._basis.T, signal @ self._basis.T
        return Estimate(epsilon=noise, x0=self._mean + signal)


@final
class MixtureDenoiser(_ClosedForm):
    """The exact denoiser of a mixture of K Gaussians with diagonal covariances.

    Given component k the answer is that of ``GaussianDenoiser``; they are averaged with the posterior weights
    r_k proportional to w_k N(x_t; alpha mean_k, alpha^2 S_k + sigma^2 I), computed from logarithms.

    Args:
        weights: ``(K,)``, not negative; scaled to sum to one.
        means: ``(K, C, H, W)``.
        variances: A number, or a tensor that broadcasts to ``(K, C, H, W)``.
        schedule: Noise schedule.
        prediction: What it predicts.

    Raises:
        ModelError: for weights or variances that cannot be.
    """

    def __init__(
        self,
        weights: torch.Tensor,
        means: torch.Tensor,
        variances: torch.Tensor | float,
        schedule: NoiseSchedule,
        prediction: Prediction = "epsilon",
    ) -> None:
        if means.ndim != 4 or weights.shape != means.shape[:1] or len(means) == 0:
            raise ModelError(
                "A mixture phantom needs means (K, C, H, W) and one weight each; "
                f"found means {tuple(means.shape)} and weights {tuple(weights.shape)}."
            )
        super().__init__(schedule, _image_shape(means[0]), prediction)
        shares = weights.detach().to(means.device, torch.float64)
        if not bool((shares >= 0).all()) or not 0 < float(shares.sum()) < math.inf:
            raise ModelError(f"The weights of a mixture phantom must be positive numbers; found {weights.tolist()}.")
        self._log_weights = (shares / shares.sum()).log()
        self._means = means.detach().to(torch.float64).flatten(1)
        self._variances = _variances(variances, means).flatten(1)

    def _expect(self, x_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> Estimate:
        rows = max(1, _ELEMENTS_AT_ONCE // self._means.numel())
        blocks = zip(*(torch.split(values, rows) for values in (x_t, alpha, sigma)), strict=True)
        answers = [self._block(*block) for block in blocks]
        return Estimate(torch.cat([one.epsilon for one in answers]), torch.cat([one.x0 for one in answers]))

    def _block(self, x_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> Estimate:
        a, s = alpha[:, :, None], sigma[:, :, None]
        spread = a**2 * self._variances + s**2  # (n, K, D)
        centred = x_t[:, None, :] - a * self._means
        log_density = -0.5 * (centred**2 / spread + spread.log()).sum(dim=2)  # up to a constant
        posterior = (self._log_weights + log_density).softmax(dim=1)
        scaled = centred / spread
        return Estimate(
            epsilon=torch.einsum("nk,nkd->nd", posterior, s * scaled),
            x0=torch.einsum("nk,nkd->nd", posterior, self._means + a * self._variances * scaled),
        )


@final
class OptimalDenoiser(_ClosedForm):
    """The best possible denoiser of a finite training set: a network that has memorised all of it.

    E[x_0 | x_t] is the average of the training images with weights softmax(-|x_t - alpha x_i|^2 / (2 sigma^2))
    (arXiv:2206.00364, appendix B.3). Sampled with any sampler it gives back training images; every membership attack
    on it has an AUC near 1.

    Args:
        training: ``(N, C, H, W) float32`` in [-1, 1]. Read in blocks; an image that is there twice
            counts twice, as it would in training.
        schedule: Noise schedule.
        prediction: What it predicts.

    Raises:
        ModelError: for an empty set or another shape.
    """

    def __init__(self, training: torch.Tensor, schedule: NoiseSchedule, prediction: Prediction = "epsilon") -> None:
        if training.ndim != 4 or len(training) == 0:
            raise ModelError(
                f"The optimal denoiser needs at least one training image (N, C, H, W); found {tuple(training.shape)}."
            )
        super().__init__(schedule, _image_shape(training[0]), prediction)
        # A small set is kept in float64, a large one is converted block by block at every call.
        dtype = torch.float64 if training.numel() <= _ELEMENTS_AT_ONCE else torch.float32
        self._training = training.detach().to(torch.float32).flatten(1).to(dtype)
        blocks = torch.split(self._training, max(1, _ELEMENTS_AT_ONCE // self._training.shape[1]))
        self._half_norms = torch.cat([0.5 * block.to(torch.float64).square().sum(dim=1) for block in blocks])

    def _expect(self, x_t: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> Estimate:
        # -|x - a x_i|^2 / 2s^2 without its part that is the same for all i, which is the part that cancels badly.
        largest = x_t.new_full((len(x_t), 1), -math.inf)
        total = torch.zeros_like(largest)
        weighted = torch.zeros_like(x_t)
        rows = max(1, _ELEMENTS_AT_ONCE // max(len(x_t), x_t.shape[1]))
        parts = zip(torch.split(self._training, rows), torch.split(self._half_norms, rows), strict=True)
        for block, half_norms in parts:
            images = block.to(torch.float64)
            logits = (alpha * (x_t @ images.T) - alpha**2 * half_norms) / sigma**2
            new_largest = torch.maximum(largest, logits.amax(dim=1, keepdim=True))
            shrink = (largest - new_largest).exp()
            weights = (logits - new_largest).exp()
            total = total * shrink + weights.sum(dim=1, keepdim=True)
            weighted = weighted * shrink + weights @ images
            largest = new_largest
        x0 = weighted / total
        return Estimate(epsilon=(x_t - alpha * x0) / sigma, x0=x0)


def _image_shape(image: torch.Tensor) -> tuple[int, int, int]:
    if image.ndim != 3:
        raise ModelError(f"A phantom's images have the shape (C, H, W); found {tuple(image.shape)}.")
    channels, height, width = image.shape
    return int(channels), int(height), int(width)


def _variances(variance: torch.Tensor | float, like: torch.Tensor) -> torch.Tensor:
    values = torch.as_tensor(variance, dtype=torch.float64, device=like.device)
    try:
        values = values.expand(like.shape)
    except RuntimeError as error:
        raise ModelError(
            f"A phantom's variance must broadcast to {tuple(like.shape)}; found {tuple(values.shape)}."
        ) from error
    if not bool(((values >= 0) & values.isfinite()).all()):
        raise ModelError("A phantom's variance must be finite and not negative.")
    return values
