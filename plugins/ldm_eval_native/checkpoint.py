"""The checkpoint that ``ldm-eval train`` writes: weights, and everything needed to know and to repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from ldm_eval.api import ModelIdentity, Prediction, SamplingSettings, Scalar, TrainingRecord
from ldm_eval.diffusion.schedules import DiscreteSchedule, make_schedule
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval_native.archive import names_format, read_archive, write_archive
from ldm_eval_native.unet import UNet, UNetConfig

__all__ = ["FORMAT", "VERSION", "Checkpoint", "build_network", "is_checkpoint", "load_checkpoint", "save_checkpoint"]

FORMAT = "ldm-eval-native-checkpoint"
VERSION = 1
_WHAT = "a checkpoint of ldm-eval"


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

    def noise_schedule(self) -> DiscreteSchedule:
        """The schedule it was trained with."""
        return make_schedule(self.schedule, self.architecture.timesteps)

    @property
    def stored_as(self) -> str:
        """``"float32"`` or ``"float16"``."""
        dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in self.weights.values()})
        return "+".join(dtypes)

    def identity(self, name: str, sha256: str) -> ModelIdentity:
        """Describe the model; ``sha256`` is that of the checkpoint file."""
        parameters = sum(tensor.numel() for tensor in self.weights.values())
        conditional = f", {self.architecture.classes} classes" if self.architecture.classes else ""
        rounded = "" if self.stored_as == "float32" else f", weights rounded to {self.stored_as}"
        return ModelIdentity(
            name=name,
            backend="native",
            sha256=sha256,
            architecture=(
                f"U-Net, {parameters / 1e6:.2f} M parameters, {self.prediction}, {self.schedule} schedule of "
                f"{self.architecture.timesteps} timesteps{conditional}{rounded}"
            ),
            parameters=parameters,
            weights=self.kind,
            licence=self.licence,
            training=self.training,
        )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> str:
    """Write ``checkpoint`` atomically and return the SHA-256 of the file. Raises StoreError, or ModelError for NaN."""
    _refuse_nan(checkpoint.weights, path)
    return write_archive(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "architecture": asdict(checkpoint.architecture),
            "schedule": checkpoint.schedule,
            "prediction": checkpoint.prediction,
            "kind": checkpoint.kind,
            "image_shape": list(checkpoint.image_shape),
            "training": asdict(checkpoint.training),
            "sampling": asdict(checkpoint.sampling),
            "licence": checkpoint.licence,
            "settings": dict(checkpoint.settings),
            "weights": {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()},
        },
    )


def is_checkpoint(path: Path) -> bool:
    """True when the file names this format; nothing in it is executed."""
    return names_format(path, FORMAT)


def load_checkpoint(path: Path) -> tuple[Checkpoint, str]:
    """Read a checkpoint and the SHA-256 of its file.

    Raises:
        ModelError: for a file that is missing, empty, cut off, of another kind or version, that wants to run code, or
            whose entries or weights are unusable.
    """
    archive = read_archive(path, FORMAT, _WHAT)
    version = archive.document.get("version")
    if version != VERSION:
        raise ModelError(
            f"{path} has checkpoint version {version!r}; this ldm-eval reads version {VERSION}. Use the version of "
            "ldm-eval that wrote it, or train it again."
        )
    try:
        checkpoint = _parse(archive.document)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise ModelError(
            f"{path} is not a usable checkpoint: its entries are wrong ({error}). Train it again."
        ) from error
    _refuse_nan(checkpoint.weights, path)
    return checkpoint, archive.sha256


def _parse(document: dict[str, Any]) -> Checkpoint:
    architecture = dict(document["architecture"])
    architecture["multipliers"] = tuple(int(value) for value in architecture["multipliers"])
    channels, height, width = (int(value) for value in document["image_shape"])
    if not (1 <= height <= 4096 and 1 <= width <= 4096):
        raise ValueError(f"image shape {document['image_shape']}")
    if document["prediction"] not in get_args(Prediction):
        raise ValueError(f"prediction {document['prediction']!r}")
    weights = dict(document["weights"])
    for name, tensor in weights.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in (torch.float32, torch.float16):
            raise TypeError(f"weight {name!r} is not a float tensor")
    config = UNetConfig(**architecture)
    if config.image_channels != channels:
        raise ValueError(f"{channels} image channels for a network of {config.image_channels}")
    checkpoint = Checkpoint(
        architecture=config,
        schedule=str(document["schedule"]),
        weights=weights,
        image_shape=(channels, height, width),
        training=TrainingRecord(**document["training"]),
        sampling=SamplingSettings(**document["sampling"]),
        prediction=document["prediction"],
        kind=str(document["kind"]),
        licence=str(document["licence"]),
        settings=dict(document["settings"]),
    )
    checkpoint.noise_schedule()
    return checkpoint


def _refuse_nan(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(
            f"{len(broken)} of {len(weights)} weight tensors of {path} contain NaN or infinite values (first: "
            f"'{broken[0]}'). Training has diverged or the file is damaged: train again with a lower --learning-rate."
        )


def build_network(checkpoint: Checkpoint, path: Path) -> UNet:
    """Return the network with the checkpoint's weights in float32, on the CPU, in inference mode.

    It is laid out without memory and without random numbers first, and the names and shapes compared, so that a file
    of another architecture costs nothing and gets one clear error.

    Raises:
        ModelError: when weights and architecture do not belong together.
    """
    with torch.device("meta"):
        network = UNet(checkpoint.architecture)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint.weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
        details = [
            f"{title} {len(names)} (first: '{names[0]}')"
            for title, names in (
                ("missing", sorted(expected.keys() - found.keys())),
                ("unknown", sorted(found.keys() - expected.keys())),
                ("of another shape", wrong),
            )
            if names
        ]
        raise ModelError(
            f"The weights in {path} are those of another architecture than the file names: {'; '.join(details)}. "
            "Load the checkpoint that was trained, unchanged."
        )
    network.load_state_dict({name: tensor.float() for name, tensor in checkpoint.weights.items()}, assign=True)
    return network.eval().requires_grad_(False)
