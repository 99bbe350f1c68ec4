"""Loading our own checkpoints and sampling from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import torch

from ldm_eval.api import (
    DiffusionParts,
    Images,
    LoadedModel,
    ModelIdentity,
    ModelRef,
    Prediction,
    SampleRequest,
    SamplingSettings,
)
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.samplers import make_sampler
from ldm_eval.errors import ConfigError
from ldm_eval_native.autoencoder_file import is_autoencoder
from ldm_eval_native.checkpoint import Checkpoint, build_network, is_checkpoint, load_checkpoint
from ldm_eval_native.compute import choose_device, reproducible
from ldm_eval_native.latents import NativeAutoencoder
from ldm_eval_native.unet import UNet

__all__ = ["NativeBackend", "NativeDenoiser", "NativeModel", "assemble", "load_model", "refuse_clipping"]

_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")


def refuse_clipping(sampler: str, model: str) -> None:
    """Raise ConfigError when ``sampler`` clamps to the range of pixels, which means nothing to latents."""
    if sampler.endswith("-clipped"):
        raise ConfigError(
            f"Sampler '{sampler}' clamps every guess to [-1, 1], the range of pixels; {model} works on latents, which "
            f"have no such range. Use '{sampler.removesuffix('-clipped')}': decoded images are clamped anyway."
        )


@final
class NativeDenoiser:
    """A U-Net in inference mode. Gradients flow to its input, and to its weights where someone lets them."""

    def __init__(self, network: UNet, prediction: Prediction) -> None:
        self._network = network
        self._prediction = prediction

    @property
    def prediction(self) -> Prediction:
        """What the network outputs."""
        return self._prediction

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """``x_t (N, C, H, W) float32``, ``t (N,) int64`` -> prediction of the same shape."""
        with reproducible(x_t.device):
            output: torch.Tensor = self._network(x_t, t, labels)
        return output


@final
class _Guided:
    """Classifier-free guidance (arXiv:2207.12598): u + w (c - u), two network calls."""

    def __init__(self, denoiser: NativeDenoiser, guidance: float) -> None:
        self._denoiser = denoiser
        self._guidance = guidance

    @property
    def prediction(self) -> Prediction:
        return self._denoiser.prediction

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        free = self._denoiser(x_t, t, None)
        return free + self._guidance * (self._denoiser(x_t, t, labels) - free)


@final
class NativeModel:
    """A checkpoint ready to sample.

    Args:
        checkpoint: What was read.
        network: Its network, on ``device``.
        identity: Which weights these are.
        device: Where to sample.
        autoencoder: Of a latent model, on ``device``; None for a model of pixels.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: UNet,
        identity: ModelIdentity,
        device: torch.device,
        autoencoder: NativeAutoencoder | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._schedule = checkpoint.noise_schedule()
        self._network = network
        self._denoiser = NativeDenoiser(network, checkpoint.prediction)
        self._identity = identity
        self._device = device
        self._autoencoder = autoencoder

    @property
    def identity(self) -> ModelIdentity:
        """Which weights these are."""
        return self._identity

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return self._checkpoint.image_shape

    @property
    def capacity(self) -> int | None:
        """No limit."""
        return None

    def resolve(self, settings: SamplingSettings) -> SamplingSettings:
        """Fill in the checkpoint's sampler and steps.

        Raises:
            ConfigError: for an unknown sampler, one that clamps to the range of pixels in a latent model, steps outside
                1..T, eta out of range, or guidance that an unconditional model cannot follow.
        """
        default = self._checkpoint.sampling
        resolved = replace(settings, sampler=settings.sampler or default.sampler, steps=settings.steps or default.steps)
        make_sampler(resolved).timesteps(self._schedule)
        if self._autoencoder is not None:
            refuse_clipping(resolved.sampler, f"'{self._identity.name}'")
        if resolved.guidance != 1.0 and not self._checkpoint.architecture.classes:
            raise ConfigError(
                f"Guidance {resolved.guidance:g} was asked for; '{self._identity.name}' is unconditional, so there is "
                "nothing to be guided by. Leave out --guidance."
            )
        return resolved

    def network_calls(self, settings: SamplingSettings) -> int:
        """The sampler's calls (one or two a step), twice that with guidance."""
        return make_sampler(settings).network_calls(self._schedule) * (1 if settings.guidance == 1.0 else 2)

    def generate(self, requests: Sequence[SampleRequest]) -> Images:
        """Make one image per request, in order; each from its own seed."""
        channels, height, width = self.image_shape
        pixels = torch.empty((len(requests), channels, height, width), device=self._device)
        for settings in dict.fromkeys(request.settings for request in requests):
            rows = [i for i, request in enumerate(requests) if request.settings == settings]
            chosen = [requests[i] for i in rows]
            pixels[rows] = self._draw(chosen, self.resolve(settings))
        return Images(pixels)

    @torch.inference_mode()
    def _draw(self, requests: Sequence[SampleRequest], settings: SamplingSettings) -> torch.Tensor:
        denoiser = self._denoiser if settings.guidance == 1.0 else _Guided(self._denoiser, settings.guidance)
        noise = SampleNoise([request.seed for request in requests], self._device)
        labels = self._labels(requests)
        shape = self._checkpoint.state_shape
        states = make_sampler(settings).sample(denoiser, self._schedule, noise, shape, labels)
        return states if self._autoencoder is None else self._autoencoder.decode(states)

    def _labels(self, requests: Sequence[SampleRequest]) -> torch.Tensor | None:
        classes = self._checkpoint.architecture.classes
        given = [request.label for request in requests]
        if all(label is None for label in given):
            return None
        if not classes:
            raise ConfigError(f"A class label was asked for; '{self._identity.name}' is unconditional. Leave it out.")
        outside = [label for label in given if label is not None and not 0 <= label < classes]
        if outside:
            raise ConfigError(f"Labels of '{self._identity.name}' are 0 .. {classes - 1}; found {outside[0]}.")
        return torch.tensor([classes if label is None else label for label in given], device=self._device)

    def white_box(self) -> DiffusionParts:
        """Schedule, denoiser (the EMA weights that ship), its weights and, in a latent model, the autoencoder."""
        return DiffusionParts(
            self._schedule,
            self._denoiser,
            self.image_shape,
            self._device,
            self._autoencoder,
            weights=self._network,
        )


@final
class NativeBackend:
    """Checkpoints written by ``ldm-eval train``."""

    @property
    def name(self) -> str:
        """``native``."""
        return "native"

    def recognises(self, ref: ModelRef) -> float:
        """1 for a file that names our format; a little for anything called a checkpoint, to explain what it is."""
        if is_checkpoint(ref.path):
            return 1.0
        if is_autoencoder(ref.path):
            return 0.2
        return 0.1 if ref.path.suffix.lower() in _SUFFIXES and not ref.path.is_dir() else 0.0

    def load(self, ref: ModelRef, device: str) -> LoadedModel:
        """Read the checkpoint and put its network on ``device``. Raises ModelError or ConfigError."""
        return load_model(ref.path, device)


def load_model(path: Path, device: str) -> NativeModel:
    """Load a checkpoint file for ``device``. Raises ModelError for the file, ConfigError for the device."""
    target = choose_device(device)
    checkpoint, sha256 = load_checkpoint(path)
    return assemble(checkpoint, checkpoint.identity(path.stem, sha256), target, path)


def assemble(checkpoint: Checkpoint, identity: ModelIdentity, device: torch.device, path: Path) -> NativeModel:
    """Put the networks of a checkpoint on ``device``. Raises ModelError, naming ``path``, when weights do not fit."""
    # Sampling took 24 to 27 % less time in this layout (8x8 and 28x28 images, batches of 64, two cores).
    network = build_network(checkpoint, path).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    autoencoder = None
    if checkpoint.latent is not None:
        coder = checkpoint.latent.autoencoder.network(path).to(device)
        coder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        autoencoder = NativeAutoencoder(coder, checkpoint.latent.scale)
    return NativeModel(checkpoint, network, identity, device, autoencoder)
