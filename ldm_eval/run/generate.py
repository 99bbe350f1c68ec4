"""Sampling into the store, block by block; what is already there is not made again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldm_eval.api import LoadedModel, SampleRequest, SamplingSettings
from ldm_eval.diffusion.quantise import to_uint8
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.errors import ModelError
from ldm_eval.run.progress import Progress
from ldm_eval.store.samples import SampleStore

__all__ = ["fill_store", "make_requests"]


def make_requests(
    count: int, run_seed: int, settings: SamplingSettings, labels: Sequence[int] | None = None
) -> tuple[SampleRequest, ...]:
    """The requests of a run: ids 0 .. count-1, each with its own seed, and its class where ``labels`` are given."""
    return tuple(
        SampleRequest(i, sample_seed(run_seed, i), settings, label=None if labels is None else labels[i])
        for i in range(count)
    )


def fill_store(store: SampleStore, model: LoadedModel, batch_size: int, progress: Progress) -> None:
    """Generate the blocks that are missing and seal the store.

    Raises:
        ModelError: when the model gives the wrong number, shape or range of images.
        StoreError: when they cannot be written.
    """
    blocks = store.blocks
    missing = store.missing()
    total = sum(len(blocks[number]) for number in missing)
    if total:
        with progress.stage("sampling", total):
            for number in missing:
                store.write(number, _block(blocks[number], model, batch_size, progress))
    store.seal()


def _block(
    requests: tuple[SampleRequest, ...], model: LoadedModel, batch_size: int, progress: Progress
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    parts = []
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        pixels = model.generate(batch).pixels
        if tuple(pixels.shape) != (len(batch), *model.image_shape):
            raise ModelError(
                f"The model was asked for {len(batch)} images of {model.image_shape} and gave {tuple(pixels.shape)}."
            )
        parts.append(to_uint8(pixels).cpu().numpy())
        progress.advance(len(batch))
    stored = np.concatenate(parts)
    return stored if stored.shape[1] == 3 else np.repeat(stored, 3, axis=1)
