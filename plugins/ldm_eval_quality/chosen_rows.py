"""The rows of a set that a measure is taken of, and back from them to the whole set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["among_all", "chosen"]

Index = NDArray[np.int64]


def chosen(features: NDArray[np.float32], rows: Index) -> NDArray[np.float32]:
    """``features[rows]``; the features themselves, never a copy of all of them, where every row is chosen in order."""
    if len(rows) == len(features) and np.array_equal(rows, np.arange(len(features))):
        return features
    return features[rows]


def among_all(total: int, rows: Index, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(total,)``: ``values`` of the images at ``rows``, NaN for the images that were not used."""
    out = np.full(total, np.nan)
    out[rows] = values
    return out
