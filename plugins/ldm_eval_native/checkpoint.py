"""The checkpoint that ``ldm-eval train`` writes: weights, and everything needed to know and to repeat them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from ldm_eval.api import ModelIdentity, Prediction, SamplingSettings, Scalar, TrainingRecord
from ldm_eval.diffusion.schedules import DiscreteSchedule, make_schedule
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval_native.archive import names_format, read_archive, write_archive
from ldm_eval_native.autoencoder_file import StoredAutoencoder, is_autoencoder, parse_autoencoder
from ldm_eval_native.entries import read_entry, whole_values
from ldm_eval_native.unet import UNet, UNetConfig
from ldm_eval_native.weights import filled, plain, read_weights, refuse_nan, stored_as

__all__ = [
    "FORMAT",
    "VERSIONS",
    "Checkpoint",
    "LatentSpace",
    "build_network",
    "is_checkpoint",
    "load_checkpoint",
    "save_checkpoint",
]

FORMAT = "ldm-eval-native-checkpoint"
VERSIONS = {"pixels": 1, "latents": 2}
"""What is written: version 2 is version 1 with an autoencoder, so that pixel models stay readable everywhere."""
_WHAT = "a checkpoint of ldm-eval"


@dataclass(frozen=True, slots=True, eq=False)
class LatentSpace:
    """Where a latent model works: its autoencoder, and the measured ``scale`` that its latents are multiplied by."""

    autoencoder: StoredAutoencoder
    scale: float

    def __post_init__(self) -> None:
        """Raise ValueError for a scale that is no positive number."""
        if not 0.0 < self.scale < math.inf:
            raise ValueError(f"scale {self.scale}")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A trained model at rest.

    Attributes:
        architecture: The U-Net.
        schedule: Name of the noise schedule; its length is ``architecture.timesteps``.
        weights: Parameter name -> tensor, float32 or float16, as stored.
        image_shape: ``(C, H, W)``.
        training: What it was trained on and for how long.
        sampling: Default sampler and steps.
        prediction: What the network outputs.
        kind: ``"ema"`` or ``"raw"``.
        licence: Of the weights, as their author declared it.
        settings: Batch size, learning rate and trainer options, to repeat the training.
        latent: The latent space it works in; None for a model of pixels.
    """

    architecture: UNetConfig
    schedule: str
    weights: Mapping[str, torch.Tensor]
    image_shape: tuple[int, int, int]
    training: TrainingRecord
    sampling: SamplingSettings
    prediction: Prediction = "epsilon"
    kind: str = "ema"
    licence: str = ""
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    latent: LatentSpace | None = None

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """``(c, h, w)`` of what the network denoises: latents, or images."""
        return self.image_shape if self.latent is None else self.latent.autoencoder.architecture.latent_shape

    def noise_schedule(self) -> DiscreteSchedule:
        """The schedule it was trained with."""
        return make_schedule(self.schedule, self.architecture.timesteps)

    def identity(self, name: str, sha256: str) -> ModelIdentity:
        """Describe the model; ``sha256`` is that of the checkpoint file."""
        parameters = sum(tensor.numel() for tensor in self.weights.values())
        inner = 0 if self.latent is None else self.latent.autoencoder.parameters
        return ModelIdentity(
            name=name,
            backend="native",
            sha256=sha256,
            architecture=self._description(parameters),
            parameters=parameters + inner,
            weights=self.kind,
            licence=self.licence,
            training=self.training,
            classes=self.architecture.classes,
        )

    def _description(self, parameters: int) -> str:
        conditional = f", {self.architecture.classes} classes" if self.architecture.classes else ""
        network = (
            f"U-Net, {parameters / 1e6:.2f} M parameters, {self.prediction}, {self.schedule} schedule of "
            f"{self.architecture.timesteps} timesteps{conditional}"
        )
        kept = stored_as(self.weights)
        rounded = "" if kept == "float32" else f", weights rounded to {kept}"
        if self.latent is None:
            return network + rounded
        inner = self.latent.autoencoder
        elsewhere = "" if inner.training.data_digest == self.training.data_digest else ", trained on other images"
        return (
            f"latent diffusion: {network}; autoencoder {inner.parameters / 1e6:.2f} M, {inner.architecture}, "
            f"scale {self.latent.scale:.3g}{elsewhere}{rounded}"
        )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> str:
    """Write ``checkpoint`` atomically and return the SHA-256 of the file. Raises StoreError, or ModelError for NaN."""
    refuse_nan(checkpoint.weights, path)
    latent = checkpoint.latent
    document = {
        "format": FORMAT,
        "version": VERSIONS["pixels" if latent is None else "latents"],
        "architecture": asdict(checkpoint.architecture),
        "schedule": checkpoint.schedule,
        "prediction": checkpoint.prediction,
        "kind": checkpoint.kind,
        "image_shape": list(checkpoint.image_shape),
        "training": asdict(checkpoint.training),
        "sampling": asdict(checkpoint.sampling),
        "licence": checkpoint.licence,
        "settings": dict(checkpoint.settings),
        "weights": plain(checkpoint.weights),
    }
    if latent is not None:
        refuse_nan(latent.autoencoder.weights, path)
        document["autoencoder"] = latent.autoencoder.entries()
        document["autoencoder_sha256"] = latent.autoencoder.sha256
        document["scale"] = latent.scale
    return write_archive(path, document)


def is_checkpoint(path: Path) -> bool:
    """True when the file names this format; nothing in it is executed."""
    return names_format(path, FORMAT)


def load_checkpoint(path: Path) -> tuple[Checkpoint, str]:
    """Read a checkpoint and the SHA-256 of its file.

    Raises:
        ModelError: for a file that is missing, empty, cut off, of another kind or version, that wants to run code, or
            whose entries or weights are unusable.
    """
    if is_autoencoder(path):
        raise ModelError(
            f"{path} is an autoencoder, the first half of a latent model: it makes no images of its own. Train the "
            f"second half with 'ldm-eval train -o autoencoder={path} --data ... --output model.pt', and load that."
        )
    archive = read_archive(path, FORMAT, _WHAT)
    version = archive.document.get("version")
    if version not in VERSIONS.values():
        known = " and ".join(map(str, VERSIONS.values()))
        raise ModelError(
            f"{path} has checkpoint version {version!r}; this ldm-eval reads versions {known}. Use the version of "
            "ldm-eval that wrote it, or train it again."
        )
    try:
        checkpoint = _parse(archive.document)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise ModelError(
            f"{path} is not a usable checkpoint: its entries are wrong ({error}). Train it again."
        ) from error
    refuse_nan(checkpoint.weights, path)
    if checkpoint.latent is not None:
        refuse_nan(checkpoint.latent.autoencoder.weights, path)
    return checkpoint, archive.sha256


def _parse(document: dict[str, Any]) -> Checkpoint:
    architecture = dict(document["architecture"])
    architecture["multipliers"] = whole_values(architecture["multipliers"])
    channels, height, width = whole_values(document["image_shape"])
    if not (1 <= channels <= 4 and 1 <= height <= 4096 and 1 <= width <= 4096):
        raise ValueError(f"image shape {document['image_shape']}")
    if document["prediction"] not in get_args(Prediction):
        raise ValueError(f"prediction {document['prediction']!r}")
    checkpoint = Checkpoint(
        architecture=read_entry(UNetConfig, architecture),
        schedule=str(document["schedule"]),
        weights=read_weights(document["weights"]),
        image_shape=(channels, height, width),
        training=read_entry(TrainingRecord, document["training"]),
        sampling=read_entry(SamplingSettings, document["sampling"]),
        prediction=document["prediction"],
        kind=str(document["kind"]),
        licence=str(document["licence"]),
        settings=dict(document["settings"]),
        latent=_parse_latent(document),
    )
    _check_shapes(checkpoint)
    checkpoint.noise_schedule()
    return checkpoint


def _parse_latent(document: dict[str, Any]) -> LatentSpace | None:
    if document["version"] == VERSIONS["pixels"]:
        return None
    autoencoder = parse_autoencoder(document["autoencoder"], str(document["autoencoder_sha256"]))
    return LatentSpace(autoencoder, float(document["scale"]))


def _check_shapes(checkpoint: Checkpoint) -> None:
    if checkpoint.latent is not None:
        decoded = checkpoint.latent.autoencoder.architecture.image_shape
        if decoded != checkpoint.image_shape:
            raise ValueError(f"an autoencoder of {decoded} for images of {checkpoint.image_shape}")
    channels = checkpoint.state_shape[0]
    if checkpoint.architecture.image_channels != channels:
        raise ValueError(f"{channels} channels for a network of {checkpoint.architecture.image_channels}")


def build_network(checkpoint: Checkpoint, path: Path) -> UNet:
    """Return the network with the checkpoint's weights in float32, on the CPU, in inference mode.

    Raises:
        ModelError: when weights and architecture do not belong together.
    """
    return filled(lambda: UNet(checkpoint.architecture), checkpoint.weights, path)
