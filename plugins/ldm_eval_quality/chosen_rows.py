"""The rows of a set that a measure is taken of, and back from them to the whole set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["at_rows", "chosen", "joined"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def chosen(features: NDArray[np.float32], rows: Index) -> NDArray[np.float32]:
    """``features[rows]``; the features themselves, never a copy of all of them, where every row is chosen in order."""
    if len(rows) == len(features) and np.array_equal(rows, np.arange(len(features))):
        return features
    return features[rows]


def at_rows(contributions: Array, rows: Index, total: int) -> Array:
    """``(total,)`` with the contributions in their rows and NaN in those of images that were not used."""
    placed = np.full(total, np.nan)
    placed[rows] = contributions
    return placed


def joined(first: Array, first_rows: Index, second: Array, second_rows: Index, total: int) -> Array:
    """Contributions of two disjoint parts of one set as those of the set: the sum of their means is the new mean.

    Each part is scaled by how much smaller it is than both together, so that the variances of the two means add up.
    """
    both = len(first_rows) + len(second_rows)
    placed = at_rows(first * (both / len(first_rows)), first_rows, total)
    placed[second_rows] = second * (both / len(second_rows))
    return placed
