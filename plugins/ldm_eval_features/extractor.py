"""A convolutional network behind the protocol of a feature extractor."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ldm_eval.api import ExtractorContext, ExtractorInfo, Features
from ldm_eval.errors import DataError
from ldm_eval_features import weights
from ldm_eval_features.resize import resize
from ldm_eval_features.weights import PublishedWeights, StateDict

GPU_MICRO_BATCH = 128


class FeatureNetwork(Protocol):
    """What an ``nn.Module`` of this plugin offers beside ``forward``."""

    @property
    def dimension(self) -> int:
        """D, how many features an image has."""
        ...

    @property
    def classifier(self) -> torch.Tensor | None:
        """``(K, D)`` weights of the last layer, or None when the network does not classify."""
        ...

    def fold(self) -> None:
        """Fold batch norms into convolutions."""
        ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 3, size, size)`` -> ``(N, D)`` features."""
        ...


class Prepares(Protocol):
    """What stands between ``uint8`` images and a network."""

    @property
    def resize(self) -> str:
        """Short name of the resizing, e.g. ``"bilinear-antialias-224"``."""
        ...

    @property
    def canonical(self) -> str:
        """The text that enters the fingerprint: all that is done, in one line."""
        ...

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W) uint8`` -> ``(N, 3, size, size) float32``."""
        ...


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From ``uint8`` images to what a network sees: resize in float, then ``(v - shift) / scale``. No rounding."""

    operator: str
    size: int
    shift: float
    scale: float

    @property
    def resize(self) -> str:
        """Short name of the resizing, e.g. ``"bilinear-antialias-224"``."""
        return f"{self.operator}-{self.size}"

    @property
    def canonical(self) -> str:
        """The text that enters the fingerprint."""
        return (
            f"uint8 RGB -> float32; resize {self.operator} to {self.size}x{self.size}, not rounded; "
            f"(v - {self.shift:g}) / {self.scale:g}"
        )

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, 3, H, W) uint8`` -> ``(N, 3, size, size) float32``, channels last."""
        resized = resize(images.float(), self.size, self.operator)
        return resized.sub_(self.shift).div_(self.scale).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that makes one extractor: the network, its preprocessing, its published weights.

    Attributes:
        name: Name of the extractor.
        network: Builds the network; called on the meta device.
        preprocessing: What it sees.
        published: The weights the name stands for.
        licence: SPDX id of code and weights.
        micro_batch: Images per forward pass on a CPU: few enough for their activations to stay in its cache
            (``benchmarks/extractors.py --micro-batches``). A GPU takes ``GPU_MICRO_BATCH``.
    """

    name: str
    network: Callable[[], nn.Module]
    preprocessing: Prepares
    published: PublishedWeights
    licence: str
    micro_batch: int


class NetworkExtractor:
    """Features of images, in micro-batches of a fixed size, with batch norms folded and channels last.

    The features of an image do not depend on the images beside it; between batch sizes they differ by rounding alone
    (relative to the largest feature of the image: below 1e-5, see ``docs/decisions/0020-feature-extractors.md``).
    """

    def __init__(self, network: FeatureNetwork, info: ExtractorInfo, recipe: Recipe, device: torch.device) -> None:
        self._network = network
        self._info = info
        self._preprocessing = recipe.preprocessing
        self._step = recipe.micro_batch if device.type == "cpu" else GPU_MICRO_BATCH
        self._device = device

    @property
    def info(self) -> ExtractorInfo:
        """What a measurement says about this extractor."""
        return self._info

    @property
    def network(self) -> FeatureNetwork:
        """The network, on its device, with its weights."""
        return self._network

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """``(N, 3, H, W) uint8`` -> ``(N, D)`` features and ``(N, K)`` bias-free logits (if it classifies), float32.

        Raises:
            DataError: another type or shape.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
            raise DataError(
                f"Features were asked of an array {images.dtype} {images.shape}; images are (N, 3, H, W) uint8."
            )
        features = np.empty((len(images), self._info.dimension), np.float32)
        classifier = self._network.classifier
        logits = None if classifier is None else np.empty((len(images), len(classifier)), np.float32)
        step = self._step
        with torch.inference_mode(), _full_precision(self._device):
            for start in range(0, len(images), step):
                block = np.array(images[start : start + step])  # a copy: the set may be a read-only memory map
                seen = self._preprocessing(torch.from_numpy(block).to(self._device))
                found = self._network(seen)
                features[start : start + step] = found.cpu().numpy()
                if classifier is not None and logits is not None:
                    logits[start : start + step] = (found @ classifier.T).cpu().numpy()
        return Features(features, logits)


def load(recipe: Recipe, context: ExtractorContext) -> NetworkExtractor:
    """Find the weights, check them, and make the extractor.

    Raises:
        ConfigError: no weights, or weights that are not this network's.
    """
    path = weights.find(recipe.published, context)
    return build(recipe, weights.read(path, recipe.published), context.device)


def build(recipe: Recipe, state: StateDict, device: str) -> NetworkExtractor:
    """Make the extractor from weights in memory; with weights that are not the published ones it says so in its name.

    Raises:
        ConfigError: the weights are not this network's.
    """
    with torch.device("meta"):
        network = recipe.network()
    weights.fill(network, state, recipe.published)
    network.fold()  # type: ignore[operator]
    where = torch.device(device)
    network = network.to(device=where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    info = ExtractorInfo(
        name=recipe.name if state.published else f"{recipe.name}-unverified",
        fingerprint=_fingerprint(recipe, state),
        dimension=network.dimension,
        classes=None if network.classifier is None else len(network.classifier),
        resize=recipe.preprocessing.resize,
        licence=recipe.licence if state.published else "as declared by who provides the weights",
    )
    return NetworkExtractor(network, info, recipe, where)


def _fingerprint(recipe: Recipe, state: StateDict) -> str:
    lines = ["ldm-eval extractor 1", recipe.name, recipe.preprocessing.canonical, weights.weights_digest(state.tensors)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _full_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Float32 convolutions in full: cuDNN would round their inputs to 10 bits (TF32)."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
