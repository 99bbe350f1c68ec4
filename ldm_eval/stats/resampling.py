"""Splits, bootstrap weights and permutation p-values; all randomness comes from the generator passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ldm_eval.errors import DataError

__all__ = [
    "Halves",
    "bootstrap_counts",
    "disjoint_parts",
    "others",
    "permutation_p_value",
    "shuffled_splits",
    "subset",
]

Index = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Two disjoint sets of row numbers, drawn without replacement."""

    first: Index
    second: Index


def disjoint_parts(total: int, size: int, rng: np.random.Generator) -> Halves:
    """Draw two disjoint parts of at most ``size`` rows each: both hold ``min(size, total // 2)``.

    Args:
        total: Rows there are, at least 2.
        size: Rows wanted in each part, at least 1.
        rng: Decides which rows.

    Raises:
        DataError: when there are not two rows to part.
    """
    if total < 2 or size < 1:
        raise DataError(f"Two disjoint parts of {size} were asked of {total} rows; at least two rows are needed.")
    count = min(size, total // 2)
    order = rng.permutation(total).astype(np.int64)
    return Halves(order[:count], order[count : 2 * count])


def subset(total: int, size: int, rng: np.random.Generator) -> Index:
    """Row numbers, in order, of ``min(size, total)`` rows drawn without replacement; all of them when that is all."""
    if size >= total:
        return np.arange(total, dtype=np.int64)
    return np.sort(rng.permutation(total)[:size]).astype(np.int64)


def others(total: int, rng: np.random.Generator) -> Index:
    """``(total,)``: for each row another row, each of them once; a random cycle (for one row, the row itself)."""
    cycle = rng.permutation(total).astype(np.int64)
    found = np.empty_like(cycle)
    found[cycle] = np.roll(cycle, -1)
    return found


def shuffled_splits(total: int, splits: int, rng: np.random.Generator) -> list[Index]:
    """Shuffle ``total`` rows and cut them into ``splits`` parts whose sizes differ by at most one.

    Raises:
        DataError: when a part would be empty.
    """
    if not 1 <= splits <= total:
        raise DataError(f"{splits} splits were asked of {total} rows; each needs at least one row.")
    return [part.astype(np.int64) for part in np.array_split(rng.permutation(total), splits)]


def bootstrap_counts(total: int, draws: int, rng: np.random.Generator) -> Array:
    """``(draws, total)``: how often each row is drawn when ``total`` rows are drawn with replacement."""
    return rng.multinomial(total, np.full(total, 1.0 / total), size=draws).astype(np.float64)


def permutation_p_value(
    observed: float, statistic: Callable[[Index], float], total: int, permutations: int, rng: np.random.Generator
) -> float:
    """P-value of ``observed`` (large values speak against the null) over random orders of ``total`` exchangeable rows.

    ``(1 + number of orders with a statistic at least as large) / (1 + permutations)``: valid at every sample size.
    ``statistic`` gets the order as ``(total,)`` row numbers.
    """
    reached = sum(statistic(rng.permutation(total).astype(np.int64)) >= observed for _ in range(permutations))
    return (1 + int(reached)) / (1 + permutations)
