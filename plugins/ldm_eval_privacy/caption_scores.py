"""White-box scores of images with their captions: the denoising loss under several captions, and the prompt's pull.

All speak of the predicted noise, whatever the network predicts, and of what the denoiser sees: pixels, or the
autoencoder's latents. No guidance is applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ldm_eval.api import DiffusionParts, Role, Scalar, ScoreSpec
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval_privacy.denoising_loss import noise_levels

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = [
    "CAPTION_LOSSES",
    "PROMPT_PULL",
    "SHUFFLED_CAPTION_LOSSES",
    "caption_losses",
    "column_of",
    "prompt_pull",
    "variants_of",
]

_ROLES: tuple[Role, ...] = ("training", "holdout")
_LEVELS = "0.1 0.3 0.5"
_NOISES = 3
_VARIANTS = ("own", "first_half", "second_half", "empty", "fixed")
_FIXED = "a picture"
_SEEDS = 4

CAPTION_LOSSES = ScoreSpec(
    name="caption_losses",
    function="ldm_eval_privacy.caption_scores:caption_losses",
    roles=_ROLES,
    max_images=256,
    calls_per_image=_NOISES * len(_LEVELS.split()) * len(_VARIANTS),
    parameters={"noises": _NOISES, "levels": _LEVELS, "captions": " ".join(_VARIANTS), "fixed": _FIXED},
    prompts=True,
)
"""3 noises at 3 noise levels under 5 captions: 45 network calls an image."""

SHUFFLED_CAPTION_LOSSES = ScoreSpec(
    name="shuffled_caption_losses",
    function="ldm_eval_privacy.caption_scores:caption_losses",
    roles=_ROLES,
    max_images=256,
    calls_per_image=_NOISES * len(_LEVELS.split()) * 3,
    parameters={"noises": _NOISES, "levels": _LEVELS, "captions": "own first_half second_half", "fixed": _FIXED},
    prompts=True,
    shuffled=True,
)
"""The same with the caption of another image of the set: 27 network calls an image."""

PROMPT_PULL = ScoreSpec(
    name="prompt_pull",
    function="ldm_eval_privacy.caption_scores:prompt_pull",
    roles=_ROLES,
    max_images=1000,
    calls_per_image=2 * _SEEDS,
    parameters={"seeds": _SEEDS, "level": 0.98},
    prompts=True,
)
"""4 noises at one noise level, with the prompt and without: 8 network calls a prompt."""


def variants_of(parameters: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Under which captions the loss is taken. Raises ConfigError for one that there is not."""
    chosen = tuple(str(parameters["captions"]).split())
    if unknown := [variant for variant in chosen if variant not in _VARIANTS]:
        raise ConfigError(f"There is no caption '{unknown[0]}' to score with; there are {', '.join(_VARIANTS)}.")
    return chosen


def column_of(parameters: Mapping[str, Scalar], level: int, variant: str) -> int:
    """Column of the loss at the noise level of this number, under this caption."""
    variants = variants_of(parameters)
    return level * len(variants) + variants.index(variant)


def caption_losses(
    parts: DiffusionParts, images: torch.Tensor, prompts: Sequence[str], seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """Mean squared error of the predicted noise, per image, noise level and caption: the parts of CLiD (2405.14800).

    The noises are drawn once from ``seed`` and shared by all images, levels and captions: a difference between two
    captions is not noise's doing.

    Args:
        parts: The inside of a model that takes text; any prediction type.
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        prompts: N captions.
        seed: Seed of the run.
        parameters: ``noises``: how many; ``levels``: shares of T; ``captions``: of ``own``, ``first_half`` and
            ``second_half`` (of its words), ``empty`` and ``fixed``, separated by spaces; ``fixed``: the caption that
            all images share.

    Returns:
        ``(N, levels x captions) float32``, captions of one level beside each other; lower where the network knows.

    Raises:
        ModelError: for a model that takes no text.
    """
    import torch

    from ldm_eval.diffusion.parameterisation import add_noise, predict
    from ldm_eval.diffusion.prompted import PromptedDenoiser
    from ldm_eval.diffusion.randomness import derived_seed

    if parts.text is None:
        raise ModelError("The loss under a caption needs a model that is told in words what to show.")
    generator = torch.Generator("cpu").manual_seed(derived_seed(seed, "privacy/caption_losses"))
    noises = torch.randn((int(parameters["noises"]), *parts.state_shape), generator=generator).to(parts.device)
    fixed = str(parameters["fixed"])
    told = [[_said(prompt, variant, fixed) for prompt in prompts] for variant in variants_of(parameters)]
    levels = noise_levels(parameters)
    with torch.no_grad():
        x0 = parts.to_states(images.to(parts.device, torch.float32))
        losses = torch.zeros((len(x0), len(levels) * len(told)), dtype=torch.float64)
        for row, level in enumerate(levels):
            t = torch.full((len(x0),), int(level * parts.schedule.steps), dtype=torch.int64, device=parts.device)
            for noise in noises:
                epsilon = noise.expand_as(x0)
                x_t = add_noise(parts.schedule, x0, epsilon, t)
                for column, captions in enumerate(told):
                    denoiser = PromptedDenoiser(parts.text, captions)
                    off = predict(denoiser, parts.schedule, "epsilon", x_t, t) - epsilon
                    error = off.square().flatten(1).mean(dim=1)
                    losses[:, row * len(told) + column] += error.to("cpu", torch.float64)
    mean: NDArray[np.float32] = (losses / len(noises)).to(torch.float32).numpy()
    return mean


def prompt_pull(
    parts: DiffusionParts, images: torch.Tensor, prompts: Sequence[str], seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """How far a prompt pulls the predicted noise from the unconditional one in the first step (2407.21720).

    x_T is pure noise in the shape that the denoiser sees, drawn from ``seed`` and shared by all prompts; of the images
    nothing is used. The timestep is the first one of a sampler of 50 steps, not T - 1: a schedule with zero terminal
    signal says nothing of the prompt there.

    Args:
        parts: The inside of a model that takes text; any prediction type.
        images: ``(N, C, H, W)``, not looked at.
        prompts: N prompts.
        seed: Seed of the run.
        parameters: ``seeds``: how many x_T; ``level``: the timestep as a share of T.

    Returns:
        ``(N, seeds) float32``: root mean square of eps(x_T, prompt) - eps(x_T, no prompt), that is their 2-norm over
        the square root of the dimension; higher where the prompt asks for one image.

    Raises:
        ModelError: for a model that takes no text.
    """
    import torch

    from ldm_eval.diffusion.parameterisation import predict
    from ldm_eval.diffusion.prompted import PromptedDenoiser
    from ldm_eval.diffusion.randomness import derived_seed

    if parts.text is None:
        raise ModelError("The pull of a prompt needs a model that is told in words what to show.")
    generator = torch.Generator("cpu").manual_seed(derived_seed(seed, "privacy/prompt_pull"))
    noises = torch.randn((int(parameters["seeds"]), *parts.state_shape), generator=generator).to(parts.device)
    at = int(float(parameters["level"]) * parts.schedule.steps)
    t = torch.full((len(prompts),), at, dtype=torch.int64, device=parts.device)
    with_prompt, without = PromptedDenoiser(parts.text, list(prompts)), PromptedDenoiser(parts.text)
    columns = []
    with torch.no_grad():
        for noise in noises:
            start = noise.expand(len(prompts), *noise.shape)
            told = predict(with_prompt, parts.schedule, "epsilon", start, t)
            pull = told - predict(without, parts.schedule, "epsilon", start, t)
            columns.append(pull.to(torch.float64).square().flatten(1).mean(dim=1).sqrt())
    rows: NDArray[np.float32] = torch.stack(columns, dim=1).to("cpu", torch.float32).numpy()
    return rows


def _said(caption: str, variant: str, fixed: str) -> str:
    words = caption.split()
    middle = (len(words) + 1) // 2
    said = {
        "own": caption,
        "first_half": " ".join(words[:middle]),
        "second_half": " ".join(words[middle:]),
        "empty": "",
        "fixed": fixed,
    }
    return said[variant]
