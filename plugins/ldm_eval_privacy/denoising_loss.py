"""The denoising loss of single images, averaged over shared noises, at a few noise levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ldm_eval.api import DiffusionParts, Scalar, ScoreSpec
from ldm_eval.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["DENOISING_LOSS", "noise_levels", "score"]

_NOISES = 8
_LEVELS = "0.02 0.05 0.1 0.2 0.3 0.5"

DENOISING_LOSS = ScoreSpec(
    name="denoising_loss",
    function="ldm_eval_privacy.denoising_loss:score",
    roles=("training", "holdout"),
    max_images=256,
    calls_per_image=_NOISES * len(_LEVELS.split()),
    parameters={"noises": _NOISES, "levels": _LEVELS},
)
"""8 noises at 6 noise levels, given as shares of the schedule's T: 48 network calls an image."""


def noise_levels(parameters: Mapping[str, Scalar]) -> tuple[float, ...]:
    """Noise levels as shares of T, one per column of the score. Raises ConfigError for text that is no list of them."""
    text = str(parameters["levels"])
    try:
        levels = tuple(float(part) for part in text.split())
    except ValueError:
        levels = ()
    if not levels or not all(0 <= level < 1 for level in levels):
        raise ConfigError(f"Noise levels are numbers from 0 to below 1, separated by spaces; found {text!r}.")
    return levels


def score(
    parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """Mean squared error of the predicted noise, per image and noise level (arXiv:2301.13188, section 5; 2302.01316).

    The noises are drawn once from ``seed`` and shared by all images and levels, so the difference between two images
    is not noise's doing, and neither the batch nor the order matters (beyond the network's own rounding). For a latent
    model x_0 is the mean of the autoencoder's posterior, scaled, so the same image always gives the same latent.

    Args:
        parts: The inside of the model; any prediction type.
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        seed: Seed of the run.
        parameters: ``noises``: how many; ``levels``: shares of T, separated by spaces.

    Returns:
        ``(N, K) float32``, lower for images the network knows better.
    """
    import torch

    from ldm_eval.diffusion.parameterisation import add_noise, predict
    from ldm_eval.diffusion.randomness import derived_seed

    generator = torch.Generator("cpu").manual_seed(derived_seed(seed, "privacy/denoising_loss"))
    noises = torch.randn((int(parameters["noises"]), *parts.state_shape), generator=generator).to(parts.device)
    levels = noise_levels(parameters)
    x0 = parts.to_states(images.to(parts.device, torch.float32))
    losses = torch.zeros((len(x0), len(levels)), dtype=torch.float64)
    with torch.no_grad():
        for column, level in enumerate(levels):
            t = torch.full((len(x0),), int(level * parts.schedule.steps), dtype=torch.int64, device=parts.device)
            for noise in noises:
                epsilon = noise.expand_as(x0)
                x_t = add_noise(parts.schedule, x0, epsilon, t)
                guess = predict(parts.denoiser, parts.schedule, "epsilon", x_t, t)
                losses[:, column] += (guess - epsilon).square().flatten(1).mean(dim=1).to("cpu", torch.float64)
    mean: NDArray[np.float32] = (losses / len(noises)).to(torch.float32).numpy()
    return mean
