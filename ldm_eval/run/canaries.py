"""Canaries: training images whose inclusion fair coin flips decided, so that leakage can be audited in one run.

One training with many independent flips bounds the privacy of the training from below (arXiv:2305.08846).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import CANARY, ImageSet
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.stats.digests import image_digest

__all__ = ["INCLUDED", "LEFT_OUT", "Canaries", "flip_coins", "read_canaries", "rows_of"]

INCLUDED, LEFT_OUT = "included", "left out"
_ENTRY = re.compile(r"(\d{1,12})([+-])")
_PURPOSE = "canaries"


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """Which rows of the data were flipped for, in ascending order, and what the coin said.

    Attributes:
        rows: ``(m,) int64``.
        included: ``(m,) bool``.
    """

    rows: NDArray[np.int64]
    included: NDArray[np.bool_]

    def __str__(self) -> str:
        """As a checkpoint keeps it: ``"17+ 40- 99+"``."""
        pairs = zip(self.rows.tolist(), self.included.tolist(), strict=True)
        return " ".join(f"{row}{'+' if inside else '-'}" for row, inside in pairs)

    def trained_on(self, data: ImageSet) -> ImageSet:
        """The data without the canaries that were left out."""
        kept = np.ones(len(data), dtype=bool)
        kept[self.rows[~self.included]] = False
        return rows_of(data, np.flatnonzero(kept))

    def of(self, data: ImageSet) -> ImageSet:
        """The canaries themselves, with what the coin said in ``groups["canary"]``."""
        chosen = rows_of(data, self.rows)
        said = np.where(self.included, INCLUDED, LEFT_OUT)
        return replace(chosen, name=f"canaries of {data.name}", groups={**chosen.groups, CANARY: said})


def flip_coins(data: ImageSet, count: int, seed: int) -> Canaries:
    """Choose ``count`` different rows and flip a fair coin for each; a function of the seed and the numbers alone.

    Raises:
        ConfigError: for more canaries than half of the images, or fewer than two.
    """
    if not 2 <= count <= len(data) // 2:
        raise ConfigError(
            f"--canaries {count}: give 2 to {len(data) // 2}, half of the {len(data)} training images; "
            "about half of the canaries are left out of the training."
        )
    rng = np.random.default_rng(derived_seed(seed, _PURPOSE))
    rows = np.sort(rng.choice(len(data), count, replace=False)).astype(np.int64)
    return Canaries(rows, rng.random(count) < 0.5)


def read_canaries(text: str, size: int) -> Canaries:
    """What a checkpoint says, for data of ``size`` images.

    Raises:
        DataError: for text that no training wrote, a row that is not there or that stands twice.
    """
    matches = [_ENTRY.fullmatch(entry) for entry in text.split()]
    found = [(int(match[1]), match[2] == "+") for match in matches if match]
    rows = np.array([row for row, _ in found], dtype=np.int64)
    if len(found) < len(matches) or len(np.unique(rows)) < len(rows) or (rows >= size).any():
        raise DataError(
            f"The checkpoint's canaries ('{text[:40]}') are not rows of the {size} images that its data names."
        )
    return Canaries(rows, np.array([inside for _, inside in found], dtype=bool))


def rows_of(images: ImageSet, rows: NDArray[np.int64]) -> ImageSet:
    """These images of a set, as a set of their own."""
    pixels = images.pixels[rows]
    return replace(
        images,
        pixels=pixels,
        ids=tuple(images.ids[int(row)] for row in rows),
        digest=image_digest(pixels),
        groups={name: values[rows] for name, values in images.groups.items()},
        labels=None if images.labels is None else images.labels[rows],
        prompts=None if images.prompts is None else images.prompts[rows],
        known_features={},
    )
