"""Between images and the latents that a latent diffusion model works on (arXiv:2112.10752)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from ldm_eval.api import ImageSet
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.errors import ModelError
from ldm_eval_native.autoencoder import KLAutoencoder
from ldm_eval_native.compute import reproducible

__all__ = ["LatentSource", "Latents", "NativeAutoencoder", "encode_images"]

_LARGEST_BATCH = 64
_ACTIVATION_BYTES = 32 << 20  # of one full-resolution feature map; a few are alive at a time


def micro_batch(network: KLAutoencoder) -> int:
    """Images at a time: as many as keep one feature map at full resolution below 32 MiB, 64 at most."""
    _, height, width = network.config.image_shape
    each = 4 * network.config.channels * network.config.multipliers[0] * height * width
    return max(1, min(_LARGEST_BATCH, _ACTIVATION_BYTES // each))


@final
class NativeAutoencoder:
    """The autoencoder of a latent model, in inference mode; deterministic both ways, in micro-batches.

    Gradients may flow to its input, not to its weights.

    Args:
        network: With its weights, on its device.
        scale: What latents are multiplied by to have unit variance.
    """

    def __init__(self, network: KLAutoencoder, scale: float) -> None:
        self._network = network
        self._scale = scale
        self._batch = micro_batch(network)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of an image."""
        return self._network.config.image_shape

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """``(c, h, w)`` of a latent."""
        return self._network.config.latent_shape

    @property
    def scale(self) -> float:
        """The factor that gave the training set's latents unit variance."""
        return self._scale

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` in [-1, 1] -> ``(N, c, h, w)``: the posterior's mean, no sample, times ``scale``."""
        with reproducible(images.device):
            parts = [self._network.encode(part).mean * self._scale for part in torch.split(images, self._batch)]
        return torch.cat(parts)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents ``(N, c, h, w)`` -> images ``(N, C, H, W) float32``, clamped to [-1, 1]."""
        with reproducible(latents.device):
            parts = [
                self._network.decode(part / self._scale).clamp(-1.0, 1.0) for part in torch.split(latents, self._batch)
            ]
        return torch.cat(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """Posteriors of N images: ``mean, std (N, c, h, w) float32`` on the CPU, not scaled."""

    mean: torch.Tensor
    std: torch.Tensor

    def joined(self, other: Latents) -> Latents:
        """Both, one after the other."""
        return Latents(torch.cat([self.mean, other.mean]), torch.cat([self.std, other.std]))

    def scale(self) -> float:
        """1 / standard deviation of the latents, over all images, channels and positions together.

        The latents are posterior samples, and their variance is not estimated from draws but computed:
        variance of the means + mean of the variances (float64). arXiv:2112.10752 takes one sampled batch.

        Raises:
            ModelError: when the latents are constant or no numbers.
        """
        mean, std = self.mean.double(), self.std.double()
        variance = float(mean.var(correction=0) + std.square().mean())
        if not 0.0 < variance < math.inf:
            raise ModelError(
                f"The autoencoder's latents of the training set have variance {variance}, so there is nothing to learn "
                "from them. Train the autoencoder again, with a smaller -o kl or a lower --learning-rate."
            )
        return 1.0 / math.sqrt(variance)


@torch.no_grad()
def encode_images(network: KLAutoencoder, data: ImageSet, device: torch.device, *, mirrored: bool = False) -> Latents:
    """Encode every image of ``data`` once, in micro-batches; ``mirrored``: left and right exchanged first."""
    means, stds = [], []
    with reproducible(device):
        for images in _blocks(data, micro_batch(network)):
            posterior = network.encode((images.flip(-1) if mirrored else images).to(device))
            means.append(posterior.mean.cpu())
            stds.append(posterior.std.cpu())
    return Latents(torch.cat(means), torch.cat(stds))


def _blocks(data: ImageSet, size: int) -> Iterator[torch.Tensor]:
    for start in range(0, len(data), size):
        yield to_float(data.pixels[start : start + size])


@final
class LatentSource:
    """Scaled latents of a set, as the diffusion trainer's x_0.

    Args:
        latents: Of the set.
        scale: What they are multiplied by.
        labels: Class labels of the set, or None.
        mirrored: Latents of the mirrored images; needed where images are mirrored.
    """

    def __init__(
        self, latents: Latents, scale: float, labels: NDArray[np.int64] | None, mirrored: Latents | None = None
    ) -> None:
        both = latents if mirrored is None else latents.joined(mirrored)
        self._mean, self._std = both.mean * scale, both.std * scale
        self._size = len(latents.mean)
        self._labels = labels

    def __len__(self) -> int:
        return self._size

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(c, h, w)``."""
        channels, height, width = self._mean.shape[1:]
        return channels, height, width

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Class labels, or None."""
        return self._labels

    def draw(self, rows: NDArray[np.int64], mirrored: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        """Posterior samples of the images at ``rows``, their noise from ``generator``."""
        at = torch.from_numpy(rows)
        if mirrored is not None:
            at = at + self._size * mirrored
        noise = torch.randn((len(rows), *self.shape), generator=generator)
        return self._mean[at] + self._std[at] * noise

    def still(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Posterior means of the images at ``rows``."""
        return self._mean[torch.from_numpy(rows)]
