"""What a training step is shown: images, noise and noise levels as a function of (seed, step) alone.

Because nothing here has a state, a resumed training sees exactly what the uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Protocol, Self, final

import numpy as np
import torch
from numpy.typing import NDArray

from ldm_eval.api import ImageSet
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.randomness import derived_seed

__all__ = [
    "Batch",
    "PictureBatch",
    "PictureBatches",
    "PixelSource",
    "Source",
    "TensorBatch",
    "TrainingBatches",
    "evaluation_batch",
    "evaluation_pictures",
]

_WATCHED = 512  # at most so many images of a set are used to watch a loss


@dataclass(frozen=True, slots=True, eq=False)
class TensorBatch:
    """Tensors with one row per image, or None where a batch has no such thing; a subclass names them."""

    def to(self, device: torch.device) -> Self:
        """The same batch on ``device``."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self._tensors().items()})

    def pieces(self, size: int) -> Iterator[Self]:
        """The batch in pieces of at most ``size`` rows."""
        tensors = self._tensors()
        for start in range(0, len(self), size):
            yield replace(self, **{name: tensor[start : start + size] for name, tensor in tensors.items()})

    def __len__(self) -> int:
        return len(next(iter(self._tensors().values())))

    def _tensors(self) -> dict[str, torch.Tensor]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Batch(TensorBatch):
    """For a denoiser: ``images, noise (B, C, H, W) float32``, ``t (B,) int64``, ``labels (B,) int64`` or None.

    ``images`` are what x_0 is: pixels, or the scaled latents of a latent model.
    """

    images: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    labels: torch.Tensor | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class PictureBatch(TensorBatch):
    """For an autoencoder: ``images (B, C, H, W)``, and the noise ``(B, c, h, w)`` of its posterior samples."""

    images: torch.Tensor
    noise: torch.Tensor


class Source(Protocol):
    """A set that x_0 is drawn from."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of each."""
        ...

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Class labels, or None."""
        ...

    def draw(self, rows: NDArray[np.int64], mirrored: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        """``(B, C, H, W) float32`` for training; ``mirrored (B,) bool`` says which to mirror; None: none."""
        ...

    def still(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """The same without any chance, for losses that are watched."""
        ...


@final
class PixelSource:
    """The images of a set in [-1, 1], as they are."""

    def __init__(self, data: ImageSet) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        return self._data.shape

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Class labels, or None."""
        return self._data.labels

    def draw(self, rows: NDArray[np.int64], mirrored: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        """The images at ``rows``; nothing of them is left to chance."""
        images = self.still(rows)
        if mirrored is None:
            return images
        return torch.where(mirrored[:, None, None, None], images.flip(-1), images)

    def still(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """The images at ``rows``."""
        return to_float(self._data.pixels[rows])


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    generator = torch.Generator().manual_seed(derived_seed(seed, "training order", epoch))
    return torch.randperm(size, generator=generator).numpy()


def _rows(seed: int, step: int, batch_size: int, size: int) -> NDArray[np.int64]:
    """Which images step ``step`` shows: shuffled epochs, one after the other, cut into batches."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // size
    return np.concatenate([_order(seed, int(e), size)[positions[epochs == e] % size] for e in np.unique(epochs)])


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, "training step", step))


def _spread(size: int, at_most: int) -> NDArray[np.int64]:
    """Rows to watch, spread over a set."""
    return np.linspace(0, size - 1, min(at_most, size)).round().astype(np.int64)


def _labels(source: Source, rows: NDArray[np.int64]) -> torch.Tensor | None:
    return None if source.labels is None else torch.from_numpy(source.labels[rows].astype(np.int64))


@final
class TrainingBatches:
    """Batches for a denoiser.

    Args:
        source: What it learns from.
        batch_size: Images per step.
        timesteps: T of the schedule.
        seed: Seed of the training.
        horizontal_flip: Mirror each image with probability one half.
        classes: Class labels, 0 for none; label ``classes`` means "hidden".
        label_dropout: Share of labels hidden.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        timesteps: int,
        seed: int,
        horizontal_flip: bool = False,
        classes: int = 0,
        label_dropout: float = 0.0,
    ) -> None:
        self._source = source
        self._batch_size = batch_size
        self._timesteps = timesteps
        self._seed = seed
        self._flip = horizontal_flip
        self._classes = classes
        self._label_dropout = label_dropout

    def at(self, step: int) -> Batch:
        """The batch of step ``step`` (0, 1, 2, ...)."""
        b = self._batch_size
        rows = _rows(self._seed, step, b, len(self._source))
        generator = _generator(self._seed, step)
        noise = torch.randn((b, *self._source.shape), generator=generator)
        t = torch.randint(self._timesteps, (b,), generator=generator)
        mirrored = torch.rand(b, generator=generator) < 0.5 if self._flip else None
        labels = _labels(self._source, rows) if self._classes else None
        if labels is not None:
            hidden = torch.rand(b, generator=generator) < self._label_dropout
            labels = labels.masked_fill(hidden, self._classes)
        return Batch(self._source.draw(rows, mirrored, generator), noise, t, labels)


@final
class PictureBatches:
    """Batches for an autoencoder: images of ``data``, in the order that a denoiser with this seed would see them.

    Args:
        data: Training images.
        latent_shape: ``(c, h, w)``.
        batch_size: Images per step.
        seed: Seed of the training.
        horizontal_flip: Mirror each image with probability one half.
    """

    def __init__(
        self,
        data: ImageSet,
        *,
        latent_shape: tuple[int, int, int],
        batch_size: int,
        seed: int,
        horizontal_flip: bool = False,
    ) -> None:
        self._source = PixelSource(data)
        self._latent_shape = latent_shape
        self._batch_size = batch_size
        self._seed = seed
        self._flip = horizontal_flip

    def at(self, step: int) -> PictureBatch:
        """The batch of step ``step`` (0, 1, 2, ...)."""
        b = self._batch_size
        rows = _rows(self._seed, step, b, len(self._source))
        generator = _generator(self._seed, step)
        noise = torch.randn((b, *self._latent_shape), generator=generator)
        mirrored = torch.rand(b, generator=generator) < 0.5 if self._flip else None
        return PictureBatch(self._source.draw(rows, mirrored, generator), noise)


def evaluation_batch(source: Source, *, timesteps: int, seed: int, labels: bool, at_most: int = _WATCHED) -> Batch:
    """A fixed batch to watch a loss on: images spread over the set, noise levels spread over the schedule.

    Two sets get the same noise and noise levels row by row, so that their losses differ by the images alone.
    """
    rows = _spread(len(source), at_most)
    n = len(rows)
    generator = torch.Generator().manual_seed(derived_seed(seed, "evaluation"))
    levels = torch.randperm(at_most, generator=generator)[:n]
    t = ((levels + 0.5) / at_most * timesteps).to(torch.int64)
    noise = torch.randn((at_most, *source.shape), generator=generator)[:n]
    return Batch(source.still(rows), noise, t, _labels(source, rows) if labels else None)


def evaluation_pictures(data: ImageSet, *, latent_shape: tuple[int, int, int], seed: int) -> PictureBatch:
    """A fixed batch to watch an autoencoder on: images spread over the set; equal noise for every set."""
    rows = _spread(len(data), _WATCHED)
    generator = torch.Generator().manual_seed(derived_seed(seed, "evaluation"))
    noise = torch.randn((_WATCHED, *latent_shape), generator=generator)[: len(rows)]
    return PictureBatch(PixelSource(data).still(rows), noise)
