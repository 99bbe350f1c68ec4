"""Nearest training images in pixels: the de-duplicated, mirrored index, and the two rules read off it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_eval.api import ImageSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.duplicates import Duplicates

__all__ = ["PixelIndex", "PixelMatches", "comparable", "same_size"]


@dataclass(frozen=True, slots=True, eq=False)
class PixelMatches:
    """What the index says of N query images.

    Attributes:
        difference: ``(N,)`` float64, root mean square pixel difference to the nearest training image, in grey levels.
        ratio: ``(N,)`` float64, nearest distance over the mean of the k nearest, 0 where both are 0; None where the
            index has fewer than k + 1 different images.
        nearest: ``(N,)`` int64, row of the nearest image in the training set (the first of its duplicates).
        mirrored: ``(N,)`` bool, True where it is the mirror image that is near.
    """

    difference: NDArray[np.float64]
    ratio: NDArray[np.float64] | None
    nearest: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


class PixelIndex:
    """De-duplicated training images, searched exactly for queries and for their mirror images.

    Args:
        training: ``(N, D...)`` images from ``comparable``, float32 or uint8.
        grey_levels: Images closer than this (root mean square) are one image.
        neighbours: k of the relative rule.
    """

    def __init__(self, training: NDArray[np.generic], grey_levels: float, neighbours: int) -> None:
        from ldm_eval.stats.duplicates import find_duplicates

        self.duplicates: Duplicates = find_duplicates(training, near=grey_levels)
        self.neighbours = neighbours
        rows = self.duplicates.representatives
        unique = training if len(rows) == len(training) else training[rows]
        self._index = unique.reshape(len(unique), -1)

    @property
    def enough_for_ratio(self) -> bool:
        """True when there are more than ``neighbours`` different training images."""
        return self.duplicates.unique > self.neighbours

    def match(
        self, queries: NDArray[np.generic], on_progress: Callable[[int, int], None] | None = None
    ) -> PixelMatches:
        """Find the nearest training image of each of ``queries (N, C, H, W)``; ``on_progress`` as in ``nearest``."""
        import numpy as np

        from ldm_eval.stats.neighbours import nearest

        k = self.neighbours if self.enough_for_ratio else 1
        # A query is as far from a mirrored image as the mirrored query is from the image: the index is not doubled.
        straight = nearest(queries.reshape(len(queries), -1), self._index, k, on_progress=on_progress)
        flipped = queries[..., ::-1].reshape(len(queries), -1)
        mirrored = nearest(flipped, self._index, k, on_progress=on_progress)
        distances = np.concatenate([straight.distances, mirrored.distances], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(distances, order, axis=1)
        row = np.take_along_axis(np.concatenate([straight.indices, mirrored.indices], axis=1), order, axis=1)[:, 0]
        first, mean = found[:, 0], found.mean(axis=1)
        ratio = np.divide(first, mean, out=np.zeros_like(first), where=mean > 0) if self.enough_for_ratio else None
        return PixelMatches(
            difference=first / np.sqrt(self._index.shape[1]),
            ratio=ratio,
            nearest=self.duplicates.representatives[row],
            mirrored=order[:, 0] >= k,
        )


def same_size(sets: Sequence[ImageSet]) -> bool:
    """True when all sets have the same height and width."""
    return len({images.shape[1:] for images in sets}) == 1


def comparable(sets: Sequence[ImageSet], max_side: int) -> list[NDArray[np.generic]]:
    """Bring sets of one size into one pixel space: ``(N, C, h, w)`` each, same C, h, w.

    Grey stays one channel when every set is grey (also when it was stored as RGB). Images whose shorter side is twice
    ``max_side`` or more are averaged over whole blocks, as float32; smaller ones stay the uint8 they are.
    """
    import numpy as np

    grey = all(_is_grey(images) for images in sets)
    factor = max(1, min(sets[0].shape[1:]) // max_side)
    out: list[NDArray[np.generic]] = []
    for images in sets:
        blocks = [
            _block(images.pixels[start : start + 256, :1] if grey else images.rgb(start, start + 256), factor)
            for start in range(0, len(images), 256)
        ]
        out.append(np.concatenate(blocks))
    return out


def _is_grey(images: ImageSet) -> bool:
    if images.shape[0] == 1:
        return True
    return all(
        bool((block == block[:, :1]).all())
        for block in (images.pixels[start : start + 256] for start in range(0, len(images), 256))
    )


def _block(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.generic]:
    import numpy as np

    if factor == 1:
        return np.asarray(pixels)
    n, c, h, w = pixels.shape
    h, w = h // factor, w // factor
    cut = pixels[:, :, : h * factor, : w * factor].reshape(n, c, h, factor, w, factor)
    return np.asarray(cut.mean(axis=(3, 5), dtype=np.float32))
