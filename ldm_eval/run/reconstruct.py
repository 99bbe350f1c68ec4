"""The holdout images after the model's own autoencoder: what a latent model loses before it has sampled anything."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import DiffusionParts, ImageSet, LoadedModel
from ldm_eval.errors import ModelError
from ldm_eval.run.progress import Progress
from ldm_eval.stats.digests import image_digest
from ldm_eval.store.atomic import write_array

__all__ = ["reconstruct", "seconds_per_image", "why_not"]

_PROBE = 16
"""Images in a timed batch; the first batch, which warms up, is not timed."""


def why_not(model: LoadedModel, holdout: ImageSet | None) -> str:
    """Why this model cannot reconstruct these images; empty when it can. Without a holdout only the model is asked."""
    parts = model.white_box()
    if parts is None:
        return "needs the model's autoencoder, and this model does not show its inside"
    if parts.autoencoder is None:
        return "this model works on pixels; there is no autoencoder"
    if holdout is not None and holdout.shape != tuple(parts.autoencoder.image_shape):
        sees, found = ("x".join(map(str, shape)) for shape in (parts.autoencoder.image_shape, holdout.shape))
        return (
            f"the autoencoder takes images of {sees}, the holdout images are {found}: give them as the model saw them"
        )
    return ""


def reconstruct(model: LoadedModel, holdout: ImageSet, batch_size: int, kept: Path, progress: Progress) -> ImageSet:
    """Encode (the posterior's mean, no sample), decode and quantise every holdout image, in order.

    Args:
        model: The model; ``why_not`` must have nothing against it.
        holdout: Images of the autoencoder's shape.
        batch_size: Images per call of the network.
        kept: File in the run's work folder that the pixels are kept in; taken from there when it is there already.
        progress: News for the user.

    Returns:
        A set like the holdout set, image by image, with its ids, groups and labels.

    Raises:
        ModelError: when the autoencoder gives the wrong number, shape or range of images.
        StoreError: when they cannot be written.
    """
    pixels = _stored(kept, holdout)
    if pixels is None:
        parts = model.white_box()
        with progress.stage("reconstructions", len(holdout)):
            made = []
            for start in range(0, len(holdout), batch_size):
                made.append(_batch(parts, np.asarray(holdout.pixels[start : start + batch_size])))
                progress.advance(len(made[-1]))
        pixels = np.concatenate(made)
        write_array(kept, pixels)
    name = f"{holdout.name} after the model's autoencoder"
    return replace(holdout, name=name, pixels=pixels, digest=image_digest(pixels))


def seconds_per_image(model: LoadedModel, batch_size: int) -> float:
    """Time of one image on this machine, from one batch of black images."""
    count = min(_PROBE, batch_size)
    black = np.zeros((count, *model.image_shape), dtype=np.uint8)
    parts = model.white_box()
    _batch(parts, black)
    begun = time.perf_counter()
    _batch(parts, black)
    return (time.perf_counter() - begun) / count


def _batch(parts: DiffusionParts | None, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import torch

    from ldm_eval.diffusion.quantise import to_float, to_uint8

    if parts is None or parts.autoencoder is None:
        raise ModelError("Reconstructions were asked of a model that shows no autoencoder.")
    with torch.inference_mode():
        images = to_float(pixels).to(parts.device)
        made = parts.autoencoder.decode(parts.autoencoder.encode(images))
        if made.shape != images.shape:
            raise ModelError(f"The autoencoder was given {tuple(images.shape)} and decoded {tuple(made.shape)}.")
        quantised: NDArray[np.uint8] = to_uint8(made).cpu().numpy()
    return quantised


def _stored(kept: Path, holdout: ImageSet) -> NDArray[np.uint8] | None:
    """What an interrupted run kept; None when it is not there or not whole."""
    try:
        pixels: NDArray[np.uint8] = np.load(kept, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.dtype == np.uint8 and pixels.shape == holdout.pixels.shape else None
