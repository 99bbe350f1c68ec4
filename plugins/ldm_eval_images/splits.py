"""Splitting a labelled set into what a model may learn from and what is kept from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class HalfSplit:
    """Rows of the two halves, ``int64``, disjoint, together every row."""

    train: NDArray[np.int64]
    holdout: NDArray[np.int64]


def stratified_halves(labels: NDArray[np.int64], seed: int = 0) -> HalfSplit:
    """Split rows half and half within every label; of an odd class the odd one out is for training.

    Each half is then shuffled: files sorted by class would otherwise give a single class to whoever takes the first
    rows of a set.

    Args:
        labels: ``(N,) int64``.
        seed: Seed of the split; equal labels and seed give equal halves.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    train, holdout = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        middle = (len(rows) + 1) // 2
        train.append(rows[:middle])
        holdout.append(rows[middle:])
    return HalfSplit(rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(holdout)))
