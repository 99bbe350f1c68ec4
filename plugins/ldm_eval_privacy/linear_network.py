"""A network with weights whose optimum, and whose every gradient, is a formula: one matrix per noise level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from ldm_eval.api import NoiseSchedule, Prediction

__all__ = ["LinearNetwork"]


@final
class LinearNetwork(torch.nn.Module):
    """x_0 is guessed as W_t x_t, with the best matrix for data of a given second moment C at each timestep.

    W_t = alpha_t C (alpha_t^2 C + sigma_t^2 I)^-1 minimises E|x_0 - W x_t|^2. With C of the law it has learned the law;
    with the mean of x x^T over a few training images it is the same network fitted to those.

    Args:
        second_moment: ``(D, D)``, D = C*H*W.
        schedule: Noise schedule.
        timesteps: Where it has been trained; it answers at no other.
    """

    def __init__(self, second_moment: torch.Tensor, schedule: NoiseSchedule, timesteps: Sequence[int]) -> None:
        super().__init__()
        self._layer = {t: layer for layer, t in enumerate(timesteps)}
        moment = second_moment.to(torch.float64)
        noise = torch.eye(len(moment), dtype=torch.float64)
        layers = []
        for t in timesteps:
            alpha, sigma = (float(of(torch.tensor([t]))) for of in (schedule.alpha, schedule.sigma))
            best = torch.linalg.solve(alpha**2 * moment + sigma**2 * noise, alpha * moment)
            layers.append(torch.nn.Parameter(best.T.to(torch.float32), requires_grad=False))
        self.layers = torch.nn.ParameterList(layers)

    @property
    def prediction(self) -> Prediction:
        """``x0``."""
        return "x0"

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """``x_t (N, C, H, W)``, ``t (N,)`` -> the guess at x_0, like ``x_t``."""
        flat = x_t.flatten(1)
        rows = [flat[row] @ self.layers[self._layer[int(step)]].T for row, step in enumerate(t)]
        return torch.stack(rows).reshape(x_t.shape)
