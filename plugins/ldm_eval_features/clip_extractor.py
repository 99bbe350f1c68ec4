"""CLIP behind the protocol of an extractor that embeds text beside images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ldm_eval.api import ExtractorInfo, Features
from ldm_eval_features.clip import CONTEXT, Clip
from ldm_eval_features.extractor import NetworkExtractor
from ldm_eval_features.tokenizer import published_tokenizer

_TEXTS = 32


class ClipExtractor:
    """Projected features of images and texts in one space, not divided by their length.

    Args:
        images: The extractor of the image encoder.
        network: The network that it is part of, on the same device.
    """

    def __init__(self, images: NetworkExtractor, network: Clip) -> None:
        self._images, self._network = images, network
        self._info = dataclasses.replace(images.info, text=True)

    @property
    def info(self) -> ExtractorInfo:
        """What a measurement says about this extractor."""
        return self._info

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """``(N, 3, H, W) uint8`` -> ``(N, D)`` features. Raises DataError for another type or shape."""
        return self._images.extract(images)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """N texts -> ``(N, D) float32``; of a text longer than 75 tokens the end is left out."""
        tokens = published_tokenizer()(texts, CONTEXT)
        device = self._network.logit_scale.device
        found = np.empty((len(texts), self._info.dimension), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXTS):
                block = tokens[start : start + _TEXTS]
                block = block[:, : int(block.argmax(axis=1).max()) + 1]  # what follows the end mark is seen by nobody
                encoded = self._network.encode_text(torch.from_numpy(block.copy()).to(device))
                found[start : start + _TEXTS] = encoded.cpu().numpy()
        return found
