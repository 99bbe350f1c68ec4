"""What every comparison of two sets of features asks of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ldm_eval.errors import DataError

__all__ = ["LARGEST", "refuse_unusable", "rows_not_finite"]

Features = NDArray[np.floating]

LARGEST = 1e15
"""Largest feature that is computed with: the sum of the squares of 10,000 of them is finite in float32."""

_BLOCK = 1 << 21
"""Features looked at once, so that a memory map needs no memory."""


def rows_not_finite(features: Features) -> NDArray[np.int64]:
    """Numbers of the rows of ``features (N, D)`` that hold a NaN, an infinity or more than LARGEST, read in blocks."""
    rows = max(1, _BLOCK // max(1, features.shape[1]))
    found = [
        start + np.flatnonzero(~(np.abs(features[start : start + rows]) <= LARGEST).all(axis=1))
        for start in range(0, len(features), rows)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *found])


def refuse_unusable(first: Features, second: Features, names: tuple[str, str], what: str, least: int) -> None:
    """Refuse two sets of features that cannot be compared.

    Args:
        first: ``(N, D)`` features.
        second: ``(M, D)`` features.
        names: What the sets are called in the message.
        what: What was asked for, e.g. ``"A kernel distance"``.
        least: Fewest rows of each.

    Raises:
        DataError: for another number of dimensions, too few rows, values that are not finite, or unequal widths.
    """
    for name, values in zip(names, (first, second), strict=True):
        if values.ndim != 2 or values.shape[0] < least or values.shape[1] < 1:
            raise DataError(
                f"{what} was asked of a {name} set of shape {values.shape}; it needs (N >= {least}, D >= 1)."
            )
        if len(rows_not_finite(values)):
            raise DataError(
                f"The {name} feature set holds values that are not finite (or beyond "
                f"{LARGEST:g}); check the images and extractor."
            )
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"Features of {first.shape[1]} and {second.shape[1]} dimensions cannot be compared; use one extractor."
        )
