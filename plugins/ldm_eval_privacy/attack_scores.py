"""White-box scores of membership attacks: SimA, PIA and PIAN, SecMI, and the autoencoder's own reconstruction error.

None of them draws random numbers, so neither the batch, nor the order, nor the role of an image matters. All speak of
the predicted noise, whatever the network predicts, and of what the denoiser sees: pixels, or the autoencoder's latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ldm_eval.api import DiffusionParts, Role, Scalar, ScoreSpec
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval_privacy.denoising_loss import noise_levels

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["AUTOENCODER", "PIA", "SECMI", "SIMA", "autoencoder", "norms_of", "pia", "secmi", "secmi_steps", "sima"]

_ROLES: tuple[Role, ...] = ("training", "holdout")
_IMAGES = 256

SIMA = ScoreSpec(
    name="sima",
    function="ldm_eval_privacy.attack_scores:sima",
    roles=_ROLES,
    max_images=_IMAGES,
    calls_per_image=6,
    parameters={"levels": "0 0.02 0.05 0.1 0.2 0.3", "norms": "2 4"},
)
"""One call at each of six timesteps, given as shares of the schedule's T; two norms of what it says."""

PIA = ScoreSpec(
    name="pia",
    function="ldm_eval_privacy.attack_scores:pia",
    roles=_ROLES,
    max_images=_IMAGES,
    calls_per_image=9,
    parameters={"levels": "0.05 0.1 0.2 0.3", "norms": "2 4"},
)
"""One call at t = 0, then one each for PIA and PIAN at four timesteps."""

SECMI = ScoreSpec(
    name="secmi",
    function="ldm_eval_privacy.attack_scores:secmi",
    roles=_ROLES,
    max_images=_IMAGES,
    calls_per_image=13,
    parameters={"levels": "0.03 0.06 0.09", "stride": 0.01},
)
"""Ten steps of deterministic inversion, and one back at each of three timesteps of that path."""

AUTOENCODER = ScoreSpec(
    name="autoencoder_reconstruction",
    function="ldm_eval_privacy.attack_scores:autoencoder",
    roles=_ROLES,
    max_images=_IMAGES,
    calls_per_image=0,
)
"""No call of the denoiser: images are encoded and decoded once."""


def norms_of(parameters: Mapping[str, Scalar]) -> tuple[float, ...]:
    """The norms p that are asked for. Raises ConfigError for text that is no list of numbers >= 1."""
    text = str(parameters["norms"])
    try:
        norms = tuple(float(part) for part in text.split())
    except ValueError:
        norms = ()
    if not norms or not all(1 <= norm < float("inf") for norm in norms):
        raise ConfigError(f"Norms are numbers from 1, separated by spaces; found {text!r}.")
    return norms


def sima(
    parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """SimA: the norm of the noise that the network sees in the clean image, per timestep and norm (arXiv:2509.25003).

    The image is given to the network as it is, neither scaled by alpha_t nor noised, with the timestep t beside it, as
    in the authors' code. The score of a network that knows the image points back at it and is short.

    Args:
        parts: The inside of the model; any prediction type.
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        seed: Not used: nothing is drawn.
        parameters: ``levels``: shares of T; ``norms``: p, separated by spaces.

    Returns:
        ``(N, levels x norms) float32``, (mean |eps|^p)^(1/p), norms of one level beside each other.
    """
    import torch

    from ldm_eval.diffusion.parameterisation import predict

    x0 = _states(parts, images)
    columns = []
    with torch.no_grad():
        for t in _timesteps(parts, parameters, len(x0)):
            columns += _norms(predict(parts.denoiser, parts.schedule, "epsilon", x0, t), norms_of(parameters))
    return _rows(columns)


def pia(
    parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """PIA and PIAN: how far the noise seen at t is from the noise seen in the clean image (arXiv:2305.18355).

    eps_0 = eps(x_0, 0); x_t = alpha_t x_0 + sigma_t eps_0; the score is |eps_0 - eps(x_t, t)|_p. PIAN first scales
    eps_0 to the mean absolute value of a standard normal number, sqrt(2/pi), as the authors' code does.

    Args:
        parts: The inside of the model; any prediction type.
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        seed: Not used: nothing is drawn.
        parameters: ``levels``: shares of T; ``norms``: p, separated by spaces.

    Returns:
        ``(N, 2 x levels x norms) float32``: PIA, then PIAN; (mean |difference|^p)^(1/p), lower for images that the
        network knows.
    """
    import math

    import torch

    from ldm_eval.diffusion.parameterisation import add_noise, predict

    x0 = _states(parts, images)
    columns = []
    with torch.no_grad():
        start = torch.zeros(len(x0), dtype=torch.int64, device=parts.device)
        seen = predict(parts.denoiser, parts.schedule, "epsilon", x0, start)
        size = seen.abs().flatten(1).mean(dim=1).clamp_min(torch.finfo(seen.dtype).tiny)
        scaled = seen * (math.sqrt(2 / math.pi) / size).reshape(-1, 1, 1, 1)
        for noise in (seen, scaled):
            for t in _timesteps(parts, parameters, len(x0)):
                x_t = add_noise(parts.schedule, x0, noise, t)
                difference = noise - predict(parts.denoiser, parts.schedule, "epsilon", x_t, t)
                columns += _norms(difference, norms_of(parameters))
    return _rows(columns)


def secmi_steps(parts: DiffusionParts, parameters: Mapping[str, Scalar]) -> tuple[int, tuple[int, ...]]:
    """SecMI's stride k in timesteps, and at which multiples of it the error is read.

    Raises:
        ModelError: for a schedule that is too short to go one step further than the last.
    """
    total = parts.schedule.steps
    stride = max(1, round(float(parameters["stride"]) * total))
    reads = tuple(max(1, round(level * total / stride)) for level in noise_levels(parameters))
    if (max(reads) + 1) * stride >= total:
        raise ModelError(
            f"SecMI walks {max(reads) + 1} steps of {stride} into the noise; this schedule has only {total} timesteps."
        )
    return stride, reads


def secmi(
    parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """SecMI: the t-error of deterministic inversion, one step of DDIM forth and back (arXiv:2302.01316).

    From x_0 the path x_k, x_2k, ... follows the network's own noise (DDIM run backwards). At t the error is the mean
    square of x_t less what one further step to t + k and one back give. The further step is the path's next one, so the
    timesteps share it.

    Args:
        parts: The inside of the model; any prediction type.
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        seed: Not used: nothing is drawn.
        parameters: ``stride``: k as a share of T (at least one timestep); ``levels``: t as shares of T, rounded to
            multiples of k.

    Returns:
        ``(N, levels) float32``, lower for images that the network knows.

    Raises:
        ModelError: for a schedule that is too short.
    """
    import torch

    from ldm_eval.diffusion.parameterisation import add_noise, estimate

    stride, reads = secmi_steps(parts, parameters)
    state = _states(parts, images)

    def step(x: torch.Tensor, start: int, end: int) -> torch.Tensor:
        t = torch.full((len(x),), start, dtype=torch.int64, device=parts.device)
        known = estimate(parts.denoiser, parts.schedule, x, t)
        return add_noise(parts.schedule, known.x0, known.epsilon, torch.full_like(t, end))

    errors: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for at in range(max(reads) + 1):
            further = step(state, at * stride, (at + 1) * stride)
            if at in reads:
                back = step(further, (at + 1) * stride, at * stride)
                errors[at] = (state - back).to(torch.float64).square().flatten(1).mean(dim=1)
            state = further
    return _rows([errors[at] for at in reads])


def autoencoder(
    parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """How badly the autoencoder of a latent model gives an image back: mean square and mean absolute difference.

    An autoencoder that was trained on the same images can leak what the denoiser does not.

    Args:
        parts: The inside of the model.
        images: ``(N, C, H, W) float32 in [-1, 1]``.
        seed: Not used: nothing is drawn.
        parameters: None.

    Returns:
        ``(N, 2) float32``, lower for images that it knows; ``(N, 0)`` for a model without an autoencoder.
    """
    import torch

    if parts.autoencoder is None:
        return torch.zeros((len(images), 0)).numpy()
    given = images.to(parts.device, torch.float32)
    with torch.no_grad():
        difference = (parts.autoencoder.decode(parts.autoencoder.encode(given)) - given).to(torch.float64).flatten(1)
    return _rows([difference.square().mean(dim=1), difference.abs().mean(dim=1)])


def _states(parts: DiffusionParts, images: torch.Tensor) -> torch.Tensor:
    import torch

    with torch.no_grad():
        return parts.to_states(images.to(parts.device, torch.float32))


def _timesteps(parts: DiffusionParts, parameters: Mapping[str, Scalar], n: int) -> list[torch.Tensor]:
    import torch

    steps = [int(level * parts.schedule.steps) for level in noise_levels(parameters)]
    return [torch.full((n,), t, dtype=torch.int64, device=parts.device) for t in steps]


def _norms(values: torch.Tensor, norms: tuple[float, ...]) -> list[torch.Tensor]:
    import torch

    flat = values.to(torch.float64).abs().flatten(1)
    return [flat.pow(p).mean(dim=1).pow(1 / p) for p in norms]


def _rows(columns: list[torch.Tensor]) -> NDArray[np.float32]:
    import torch

    rows: NDArray[np.float32] = torch.stack(columns, dim=1).to("cpu", torch.float32).numpy()
    return rows
