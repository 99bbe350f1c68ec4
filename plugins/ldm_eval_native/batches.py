"""What a training step is shown: images, noise and noise levels as a function of (seed, step) alone.

Because nothing here has a state, a resumed training sees exactly what the uninterrupted one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from ldm_eval.api import ImageSet
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.randomness import derived_seed

__all__ = ["Batch", "TrainingBatches", "evaluation_batch"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """``images, noise (B, C, H, W) float32``, ``t (B,) int64``, ``labels (B,) int64`` or None; on the CPU."""

    images: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    labels: torch.Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        labels = None if self.labels is None else self.labels.to(device)
        return Batch(self.images.to(device), self.noise.to(device), self.t.to(device), labels)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    generator = torch.Generator().manual_seed(derived_seed(seed, "training order", epoch))
    return torch.randperm(size, generator=generator).numpy()


def _labels(data: ImageSet, rows: NDArray[np.int64]) -> torch.Tensor | None:
    return None if data.labels is None else torch.from_numpy(data.labels[rows].astype(np.int64))


@final
class TrainingBatches:
    """Shuffled epochs, one after the other, cut into batches.

    Args:
        data: Training images.
        batch_size: Images per step.
        timesteps: T of the schedule.
        seed: Seed of the training.
        horizontal_flip: Mirror each image with probability one half.
        classes: Class labels, 0 for none; label ``classes`` means "hidden".
        label_dropout: Share of labels hidden.
    """

    def __init__(
        self,
        data: ImageSet,
        *,
        batch_size: int,
        timesteps: int,
        seed: int,
        horizontal_flip: bool = False,
        classes: int = 0,
        label_dropout: float = 0.0,
    ) -> None:
        self._data = data
        self._batch_size = batch_size
        self._timesteps = timesteps
        self._seed = seed
        self._flip = horizontal_flip
        self._classes = classes
        self._label_dropout = label_dropout

    def at(self, step: int) -> Batch:
        """The batch of step ``step`` (0, 1, 2, ...)."""
        size, b = len(self._data), self._batch_size
        positions = np.arange(step * b, (step + 1) * b)
        epochs = positions // size
        rows = np.concatenate(
            [_order(self._seed, int(e), size)[positions[epochs == e] % size] for e in np.unique(epochs)]
        )
        generator = torch.Generator().manual_seed(derived_seed(self._seed, "training step", step))
        images = to_float(self._data.pixels[rows])
        noise = torch.randn(images.shape, generator=generator)
        t = torch.randint(self._timesteps, (b,), generator=generator)
        if self._flip:
            mirrored = torch.rand(b, generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        labels = _labels(self._data, rows) if self._classes else None
        if labels is not None:
            hidden = torch.rand(b, generator=generator) < self._label_dropout
            labels = labels.masked_fill(hidden, self._classes)
        return Batch(images, noise, t, labels)


def evaluation_batch(data: ImageSet, *, timesteps: int, seed: int, labels: bool, at_most: int = 512) -> Batch:
    """A fixed batch to watch a loss on: images spread over the set, noise levels spread over the schedule.

    Two sets get the same noise and noise levels row by row, so that their losses differ by the images alone.
    """
    n = min(at_most, len(data))
    rows = np.linspace(0, len(data) - 1, n).round().astype(np.int64)
    generator = torch.Generator().manual_seed(derived_seed(seed, "evaluation"))
    levels = torch.randperm(at_most, generator=generator)[:n]
    t = ((levels + 0.5) / at_most * timesteps).to(torch.int64)
    noise = torch.randn((at_most, *data.shape), generator=generator)[:n]
    return Batch(to_float(data.pixels[rows]), noise, t, _labels(data, rows) if labels else None)
