"""What a model is to the rest of the tool: a backend that loads it, and the parts a white-box check may touch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch

    from ldm_eval.api.images import ImageSet

Prediction = Literal["epsilon", "x0", "v"]
"""What a network outputs: the noise, the clean image, or v = alpha_t eps - sigma_t x0 (arXiv:2202.00512)."""

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as the user typed it: a path, or a name that a backend knows (``demo``, ``phantom:gaussian``)."""

    text: str

    @property
    def path(self) -> Path:
        """The reference read as a path (it may not exist)."""
        return Path(self.text).expanduser()


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a checkpoint says of its own training; every field is what the trainer wrote, not a measurement.

    Attributes:
        data: Reference to the training data as given to ``train`` (a path or ``NAME:SPLIT``).
        data_digest: Digest of the ImageSet it was trained on.
        data_size: How many images.
        holdout: Reference to the images kept from training, or an empty string.
        steps: Optimiser steps.
        horizontal_flip: Whether mirrored images were shown too (copies may then be mirrored).
        seed: Seed of the training run.
        canaries: Rows of the data whose inclusion was decided by fair coin flips, ``"17+ 40- 99+"``: 40 was left out.
            ``data_digest`` is then that of all of the data, ``data_size`` the number trained on.
    """

    data: str
    data_digest: str
    data_size: int
    holdout: str
    steps: int
    horizontal_flip: bool
    seed: int
    canaries: str = ""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights these are. Two runs with the same identity touched the same model.

    Attributes:
        name: Short name for people and default folders: the file's stem, or the reference itself.
        backend: Name of the backend that loaded it.
        sha256: Digest of the weights file (for finished images: of the image set).
        architecture: One line, e.g. ``"U-Net, 0.43 M parameters, epsilon, linear schedule"``.
        parameters: Number of weights, or None where there are none.
        weights: ``"ema"``, ``"raw"`` or ``""``: which of a checkpoint's weights are used.
        revision: Pinned revision of a hub model, or an empty string.
        licence: As the checkpoint declares it; empty when it does not.
        training: What the checkpoint says of its training, or None.
        classes: How many class labels it can be conditioned on; 0 for an unconditional model.
    """

    name: str
    backend: str
    sha256: str
    architecture: str
    parameters: int | None = None
    weights: str = ""
    revision: str = ""
    licence: str = ""
    training: TrainingRecord | None = None
    classes: int = 0


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How to sample. ``steps`` 0 and ``sampler`` "" mean: the model's own default."""

    sampler: str = ""
    steps: int = 0
    guidance: float = 1.0
    eta: float = 0.0


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One image to make. The image depends on this request and the model alone, never on its batch.

    Attributes:
        sample_id: Position in the run, 0, 1, 2, ...
        seed: 63-bit seed derived from (run seed, sample_id) by ``diffusion.randomness.sample_seed``.
        settings: Sampler, steps, guidance.
        label: Class label for class-conditional models.
        prompt: Text for text-to-image models.
        group: Group the prompt was written for, when there is one.
    """

    sample_id: int
    seed: int
    settings: SamplingSettings
    label: int | None = None
    prompt: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """What a model gives: ``pixels`` is ``(N, C, H, W) float32 in [-1, 1]``, C the model's own, on any device."""

    pixels: torch.Tensor


class NoiseSchedule(Protocol):
    """x_t = alpha(t) x_0 + sigma(t) eps. Timesteps are integers 0 .. steps-1, noise grows with t."""

    @property
    def name(self) -> str:
        """e.g. ``"linear"``."""
        ...

    @property
    def steps(self) -> int:
        """T, the number of timesteps."""
        ...

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        """``(N,)`` int64 -> ``(N,)`` float64, sqrt(alpha_bar_t)."""
        ...

    def sigma(self, t: torch.Tensor) -> torch.Tensor:
        """``(N,)`` int64 -> ``(N,)`` float64, sqrt(1 - alpha_bar_t)."""
        ...


@runtime_checkable
class Denoiser(Protocol):
    """The network's native prediction; convert with ``diffusion.parameterisation``, never by hand."""

    @property
    def prediction(self) -> Prediction:
        """What the output means."""
        ...

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """``x_t (N, C, H, W) float32``, ``t (N,) int64`` -> prediction, the shape of ``x_t``."""
        ...


class TextDenoiser(Protocol):
    """A denoiser that is told in words what the image shows."""

    @property
    def prediction(self) -> Prediction:
        """What the output means."""
        ...

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """``x_t (N, C, H, W) float32``, ``t (N,) int64``, N prompts -> prediction, the shape of ``x_t``.

        An empty prompt is the unconditional prediction. No guidance is applied.
        """
        ...


class Autoencoder(Protocol):
    """Between images and the latents that a latent diffusion model works on; deterministic both ways."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of an image."""
        ...

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """``(c, h, w)`` of a latent."""
        ...

    @property
    def scale(self) -> float:
        """The measured factor that gives the latents unit variance (arXiv:2112.10752, appendix G)."""
        ...

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` in [-1, 1] -> ``(N, c, h, w)``: the posterior's mean, no sample, scaled."""
        ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents ``(N, c, h, w)`` -> images ``(N, C, H, W) float32 in [-1, 1]``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DiffusionParts:
    """The inside of a model, for white-box checks.

    Attributes:
        schedule: Noise schedule.
        denoiser: The network that ships (EMA weights where the checkpoint has them), in inference mode.
        image_shape: ``(C, H, W)`` of the model's images.
        device: Where its tensors must live.
        autoencoder: What turns images into the denoiser's latents; None for a model that works on pixels.
        text: The same network told in words what to show; None for a model that takes no text.
        weights: The network that ``denoiser`` calls, so that gradients with respect to its weights can be taken; None
            where they are not shown. Whoever asks for gradients leaves the module as it was.
    """

    schedule: NoiseSchedule
    denoiser: Denoiser
    image_shape: tuple[int, int, int]
    device: torch.device
    autoencoder: Autoencoder | None = None
    text: TextDenoiser | None = None
    weights: torch.nn.Module | None = None

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """``(c, h, w)`` of what the denoiser sees: latents, or the images themselves."""
        return self.image_shape if self.autoencoder is None else self.autoencoder.latent_shape

    def to_states(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` images in [-1, 1] -> ``(N, c, h, w)``, what x_0 is to the denoiser."""
        return images if self.autoencoder is None else self.autoencoder.encode(images)


class LoadedModel(Protocol):
    """A model ready to sample."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights these are."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Native ``(C, H, W)`` of its images."""
        ...

    @property
    def capacity(self) -> int | None:
        """How many distinct samples it can give; None when there is no limit (finished images have one)."""
        ...

    def resolve(self, settings: SamplingSettings) -> SamplingSettings:
        """Fill in this model's defaults. Raises ConfigError for a sampler or option it does not have."""
        ...

    def network_calls(self, settings: SamplingSettings) -> int:
        """Forward passes of the network per sample with these (resolved) settings; 0 for finished images."""
        ...

    def generate(self, requests: Sequence[SampleRequest]) -> Images:
        """Make one image per request, in order. All a black-box model must do."""
        ...

    def white_box(self) -> DiffusionParts | None:
        """The inside, or None where there is none (finished images, a service)."""
        ...


@runtime_checkable
class FinishedModel(Protocol):
    """A model that is nothing but finished images: sample i is image i, with what is known about it."""

    @property
    def images(self) -> ImageSet:
        """The images, with their labels and prompts where they have them."""
        ...


class Backend(Protocol):
    """A family of models."""

    @property
    def name(self) -> str:
        """What the user types after ``--backend``."""
        ...

    def recognises(self, ref: ModelRef) -> float:
        """0..1, how surely this backend can load the reference. Looks at content, executes nothing."""
        ...

    def load(self, ref: ModelRef, device: str) -> LoadedModel:
        """Load for ``device`` (``"cpu"``, ``"cuda"``, ``"cuda:1"``). Raises ModelError."""
        ...


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """A light description of a backend; ``load`` imports it."""

    name: str
    summary: str
    load: Callable[[], Backend]
    requires: tuple[str, ...] = ()
    extra: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model that a plugin ships under a name of its own, e.g. ``demo``.

    Attributes:
        name: What the user types after ``--model``.
        summary: One line.
        path: Where its checkpoint lies; any backend that recognises the file loads it.
        policy: Where a gate policy for it lies, usable as ``--policy NAME``; None when there is none.
    """

    name: str
    summary: str
    path: Callable[[], Path]
    policy: Callable[[], Path] | None = None
