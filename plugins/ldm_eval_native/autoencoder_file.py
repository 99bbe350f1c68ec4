"""The file that ``ldm-eval train --trainer autoencoder`` writes: the first half of a latent model, at rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ldm_eval.api import ModelIdentity, Scalar, TrainingRecord
from ldm_eval.errors import ConfigError, ModelError
from ldm_eval_native.archive import names_format, read_archive, write_archive
from ldm_eval_native.autoencoder import AutoencoderConfig, KLAutoencoder
from ldm_eval_native.entries import read_entry, whole_values
from ldm_eval_native.weights import filled, plain, read_weights, refuse_nan, stored_as

__all__ = [
    "AUTOENCODER_FORMAT",
    "StoredAutoencoder",
    "is_autoencoder",
    "load_autoencoder",
    "parse_autoencoder",
    "save_autoencoder",
]

AUTOENCODER_FORMAT = "ldm-eval-native-kl-autoencoder"
_VERSION = 1
_WHAT = "an autoencoder of ldm-eval"


@dataclass(frozen=True, slots=True, eq=False)
class StoredAutoencoder:
    """A trained autoencoder at rest, in a file of its own or inside the checkpoint of a latent model.

    Attributes:
        architecture: The network.
        weights: Parameter name -> tensor, float32 or float16, as stored.
        training: What it was trained on and for how long.
        kind: ``"ema"`` or ``"raw"``.
        licence: Of the weights, as their author declared it.
        settings: Batch size, learning rate and trainer options, to repeat the training.
        sha256: Of its own file; empty before there is one.
    """

    architecture: AutoencoderConfig
    weights: Mapping[str, torch.Tensor]
    training: TrainingRecord
    kind: str = "ema"
    licence: str = ""
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    sha256: str = ""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.numel() for tensor in self.weights.values())

    def network(self, path: Path) -> KLAutoencoder:
        """Its network, on the CPU, in inference mode. Raises ModelError, naming ``path``, when weights do not fit."""
        return filled(lambda: KLAutoencoder(self.architecture), self.weights, path)

    def rounded_to(self, dtype: torch.dtype) -> StoredAutoencoder:
        """The same with every weight rounded to ``dtype``."""
        return replace(self, weights={name: tensor.to(dtype) for name, tensor in self.weights.items()})

    def identity(self, name: str) -> ModelIdentity:
        """Describe it as the model that it is for its trainer."""
        kept = stored_as(self.weights)
        rounded = "" if kept == "float32" else f", weights rounded to {kept}"
        return ModelIdentity(
            name=name,
            backend="native",
            sha256=self.sha256,
            architecture=f"KL autoencoder, {self.parameters / 1e6:.2f} M parameters, {self.architecture}{rounded}",
            parameters=self.parameters,
            weights=self.kind,
            licence=self.licence,
            training=self.training,
        )

    def entries(self) -> dict[str, Any]:
        """Plain values and tensors; ``parse_autoencoder`` reads them back."""
        return {
            "architecture": asdict(self.architecture) | {"image_shape": list(self.architecture.image_shape)},
            "kind": self.kind,
            "training": asdict(self.training),
            "licence": self.licence,
            "settings": dict(self.settings),
            "weights": plain(self.weights),
        }


def parse_autoencoder(entries: Mapping[str, Any], sha256: str) -> StoredAutoencoder:
    """Read what ``entries()`` gave. Raises KeyError, TypeError, ValueError or ConfigError for anything else."""
    architecture = dict(entries["architecture"])
    architecture["image_shape"] = whole_values(architecture["image_shape"])
    architecture["multipliers"] = whole_values(architecture["multipliers"])
    return StoredAutoencoder(
        architecture=read_entry(AutoencoderConfig, architecture),
        weights=read_weights(entries["weights"]),
        training=read_entry(TrainingRecord, entries["training"]),
        kind=str(entries["kind"]),
        licence=str(entries["licence"]),
        settings=dict(entries["settings"]),
        sha256=sha256,
    )


def save_autoencoder(path: Path, autoencoder: StoredAutoencoder) -> StoredAutoencoder:
    """Write it atomically and return it with the SHA-256 of the file. Raises StoreError, or ModelError for NaN."""
    refuse_nan(autoencoder.weights, path)
    document = {"format": AUTOENCODER_FORMAT, "version": _VERSION, **autoencoder.entries()}
    return replace(autoencoder, sha256=write_archive(path, document))


def is_autoencoder(path: Path) -> bool:
    """True when the file names this format; nothing in it is executed."""
    return names_format(path, AUTOENCODER_FORMAT)


def load_autoencoder(path: Path) -> StoredAutoencoder:
    """Read an autoencoder's file.

    Raises:
        ModelError: for a file that is missing, empty, cut off, of another kind or version, that wants to run code, or
            whose entries or weights are unusable.
    """
    archive = read_archive(path, AUTOENCODER_FORMAT, _WHAT)
    version = archive.document.get("version")
    if version != _VERSION:
        raise ModelError(
            f"{path} is an autoencoder of version {version!r}; this ldm-eval reads version {_VERSION}. Use the version "
            "of ldm-eval that wrote it, or train it again."
        )
    try:
        autoencoder = parse_autoencoder(archive.document, archive.sha256)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise ModelError(
            f"{path} is not a usable autoencoder: its entries are wrong ({error}). Train it again."
        ) from error
    refuse_nan(autoencoder.weights, path)
    return autoencoder
