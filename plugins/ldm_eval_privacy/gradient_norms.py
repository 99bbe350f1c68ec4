"""The gradient of an image's denoising loss with respect to the network's weights, one norm per tensor of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ldm_eval.api import DiffusionParts, Scalar, ScoreSpec
from ldm_eval_privacy.denoising_loss import noise_levels

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["GRADIENT_NORMS", "gradient_norms"]

_LEVELS = "0.05 0.15 0.25 0.35 0.45 0.55 0.65 0.75 0.85 0.95"

GRADIENT_NORMS = ScoreSpec(
    name="gradient_norms",
    function="ldm_eval_privacy.gradient_norms:gradient_norms",
    roles=("training", "holdout"),
    max_images=256,
    calls_per_image=3 * len(_LEVELS.split()),
    parameters={"levels": _LEVELS},
)
"""Ten calls an image and the way back through them, which costs about two calls each."""


def gradient_norms(
    parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """GSA1: Euclidean norms of d loss / d weights, per image and tensor of weights (arXiv:2308.06405).

    The loss is the mean squared error of the predicted noise over all timesteps of the grid, one noise each, drawn once
    from ``seed`` and shared by all images. One pass back through all of them gives the gradient, as in the authors'
    code. Images are taken one at a time: a gradient of a batch would be a mean over images.

    Args:
        parts: The inside of the model, with its weights; any prediction type.
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        seed: Seed of the run.
        parameters: ``levels``: shares of T, separated by spaces.

    Returns:
        ``(N, tensors of weights) float32``; ``(N, 0)`` for a model that does not show its weights.
    """
    import torch

    from ldm_eval.diffusion.parameterisation import add_noise, predict
    from ldm_eval.diffusion.randomness import derived_seed

    if parts.weights is None:
        return torch.zeros((len(images), 0)).numpy()
    steps = [int(level * parts.schedule.steps) for level in noise_levels(parameters)]
    rows = []
    with torch.inference_mode(False), torch.enable_grad(), _trainable(parts.weights) as weights:
        generator = torch.Generator("cpu").manual_seed(derived_seed(seed, "privacy/gradient_norms"))
        noise = torch.randn((len(steps), *parts.state_shape), generator=generator).to(parts.device)
        t = torch.tensor(steps, dtype=torch.int64, device=parts.device)
        with torch.no_grad():
            states = parts.to_states(images.clone().to(parts.device, torch.float32))
        for state in states:
            x_t = add_noise(parts.schedule, state.expand_as(noise), noise, t)
            loss = (predict(parts.denoiser, parts.schedule, "epsilon", x_t, t) - noise).square().mean()
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            norms = [loss.new_zeros(()) if one is None else one.norm() for one in gradients]
            rows.append(torch.stack(norms).detach().to("cpu", torch.float32))
    found: NDArray[np.float32] = torch.stack(rows).numpy()
    return found


@contextmanager
def _trainable(network: torch.nn.Module) -> Iterator[list[torch.nn.Parameter]]:
    """Let gradients flow to the weights, and leave the network as it was."""
    weights = list(network.parameters())
    before = [one.requires_grad for one in weights]
    try:
        for one in weights:
            one.requires_grad_(True)
        yield weights
    finally:
        for one, was in zip(weights, before, strict=True):
            one.requires_grad_(was)
