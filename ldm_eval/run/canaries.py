"""Canaries: training images whose inclusion fair coin flips decided, so that leakage can be audited in one run.

One training with many independent flips bounds the privacy of the training from below (arXiv:2305.08846).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import CANARY, ImageSet, ModelIdentity
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.stats.digests import image_digest
from ldm_eval.stats.neighbours import nearest

__all__ = ["INCLUDED", "LEFT_OUT", "Canaries", "flip_coins", "read_canaries", "rows_of", "without_flips"]

INCLUDED, LEFT_OUT = "included", "left out"
_ENTRY = re.compile(r"([0-9]{1,12})([+-])")
_PURPOSE = "canaries"
_SAME = 4.0
"""Root mean square difference, in grey levels of 8 bits, up to which two images are one, as in the privacy checks."""

_SIDE = 32
_BLOCK = 1 << 22  # pixels converted at a time


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
    """Choose ``count`` different rows and flip a fair coin for each; a function of the seed and the data alone.

    An image that the data hold twice is no canary: leaving one of the two out would change nothing, so the audit would
    see less than there is. Near duplicates count as duplicates.

    Raises:
        ConfigError: for more canaries than half of the images, fewer than two, more than there are images without a
            duplicate, or a class label that would be left out whole.
    """
    if not 2 <= count <= len(data) // 2:
        raise ConfigError(
            f"--canaries {count}: give 2 to {len(data) // 2}, half of the {len(data)} training images; "
            "about half of the canaries are left out of the training."
        )
    rng = np.random.default_rng(derived_seed(seed, _PURPOSE))
    rows = np.sort(_single(data, rng.permutation(len(data)), count)).astype(np.int64)
    chosen = Canaries(rows, rng.random(count) < 0.5)
    if data.labels is not None:
        kept = np.delete(data.labels, rows[~chosen.included])
        if len(gone := np.setdiff1d(data.labels, kept)):
            raise ConfigError(
                f"--canaries {count} with --seed {seed}: the coin left out every image of class {gone[0]}. Use fewer "
                "canaries, or another seed."
            )
    return chosen


def _single(data: ImageSet, order: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The first ``count`` rows of ``order`` whose image has no duplicate in the data."""
    points = _reduced(data)
    radius = _SAME * np.sqrt(points.shape[1])
    found: list[NDArray[np.int64]] = []
    known = 0
    for start in range(0, len(order), count):
        rows = order[start : start + count]
        nearest_other = nearest(points[rows], points, 2).distances[:, 1]  # the first is the image itself, at 0
        single = rows[nearest_other > radius][: count - known]
        found.append(single)
        known += len(single)
        if known == count:
            return np.concatenate(found)
    raise ConfigError(
        f"--canaries {count}: only {known} of the {len(data)} training images have no duplicate among the others (root "
        f"mean square difference at most {_SAME:g} grey levels). Give {known} at most, or remove the duplicates."
    )


def _reduced(data: ImageSet) -> NDArray[np.uint8]:
    """``(N, D) uint8``, grey levels of 8 bits: means of blocks, at most 32 by 32 of them and each channel.

    Means of equal blocks are never farther apart (root mean square) than the images, so near duplicates stay near (but
    for the rounding); and they never take more memory than the images.
    """
    _, height, width = data.shape
    rows, columns = (np.linspace(0, side, min(side, _SIDE), endpoint=False).astype(int) for side in (height, width))
    sizes = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    scale = np.float32(255 / np.iinfo(data.pixels.dtype).max)
    reduced = np.empty((len(data), data.shape[0] * sizes.size), dtype=np.uint8)
    step = max(1, _BLOCK // int(np.prod(data.shape)))
    for start in range(0, len(data), step):
        block = np.asarray(data.pixels[start : start + step]).astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(block, rows, axis=2), columns, axis=3)
        reduced[start : start + step] = np.rint(sums / sizes * scale).reshape(len(block), -1)
    return reduced


def read_canaries(text: str, data: ImageSet, trained_on: int) -> Canaries:
    """What a checkpoint says, for the data it names; ``trained_on`` is how many images it says it was trained on.

    Raises:
        DataError: for text that no training wrote: a row that is not there, stands twice or out of order, or more or
            fewer left out than the number trained on says.
    """
    matches = [_ENTRY.fullmatch(entry) for entry in text.split()]
    found = [(int(match[1]), match[2] == "+") for match in matches if match]
    rows = np.array([row for row, _ in found], dtype=np.int64)
    included = np.array([inside for _, inside in found], dtype=bool)
    size = len(data)
    rising = len(found) >= 2 and bool((np.diff(rows) > 0).all()) and rows[-1] < size
    if len(found) < len(matches) or not rising or size - int((~included).sum()) != trained_on:
        raise DataError(
            f"The checkpoint's canaries ('{text[:40]}') are not those of a training on {trained_on} of the {size} "
            "images that its data names: the file was changed after the training. Train it again."
        )
    return Canaries(rows, included)


def without_flips(identity: ModelIdentity) -> ModelIdentity:
    """As results show it: how many canaries there were, and not what the coins said.

    A card is for readers, and which of the images were trained on is nothing that all of them must be told.
    """
    record = identity.training
    if record is None or not record.canaries:
        return identity
    return replace(identity, training=replace(record, canaries=str(len(record.canaries.split()))))


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
