"""The nearest other rows of one set, exactly, with half the products: the distance of a pair serves both its rows.

Float32 products propose; every pair that rounding leaves in doubt is measured again in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Others", "Pairs", "Rows", "nearest_others", "pair_squares", "pairs_within", "prepare", "tiles"]

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Index = NDArray[np.int64]
Features = NDArray[np.float32] | NDArray[np.float64]

_TILE = 1024  # rows and columns of one product: as fast as a large one, and what follows stays in cache
_PAIR_ELEMENTS = 1 << 19  # float64 differences taken at once
_PENDING = 1 << 22  # proposed pairs held before they are thinned
_HELD = 1 << 26  # elements of a centred copy (256 MB) that is kept; larger sets are centred again tile by tile
_UNIT = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A set of features for float32 products and float64 decisions. It may be a memory map.

    Attributes:
        given: ``(N, D)`` as they came.
        centre: ``(D,)`` in their type, taken off every row before a product.
        norms: ``(N,)`` squared lengths of the centred rows.
        held: ``(N, D)`` float32, centred, of a set that is small enough; for a larger one a tile costs 5 % of its
            product.
    """

    given: Features
    centre: Features
    norms: Array
    held: Single | None

    def centred(self, rows: slice) -> Single:
        """Float32 rows for a product."""
        if self.held is not None:
            return self.held[rows]
        return np.asarray(np.subtract(self.given[rows], self.centre), dtype=np.float32)

    def squares_to(self, other: Rows, down: slice, across: slice) -> Single:
        """``(rows, columns)`` float32 squared distances of a tile."""
        squared: Single = self.centred(down) @ other.centred(across).T
        squared *= -2
        squared += self.norms[down, None].astype(np.float32)
        squared += other.norms[across].astype(np.float32)
        return squared

    def error_against(self, other: Rows) -> Array:
        """``(N,)``: by how much a squared distance to ``other`` may be off.

        The rounding of a float32 product of D terms is about ``sqrt(D) eps |x||y|``; sixteen times that is never met.
        The rest covers the norms and their additions.
        """
        longest = float(other.norms.max())
        product = 16.0 * np.sqrt(self.given.shape[1]) * np.sqrt(self.norms * longest)
        return np.asarray(_UNIT * (product + 8.0 * (self.norms + longest)) + 1e-30, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Rows ``i`` of one set and ``j`` of another (or of the same) with their float32 squared distances."""

    i: Index
    j: Index
    squared: Single

    def exchanged(self) -> Pairs:
        """The same pairs seen from the other set."""
        return Pairs(self.j, self.i, self.squared)


def prepare(features: Features, centre: Array) -> Rows:
    """Centre the rows; shifting loses no distance and saves digits."""
    where = centre.astype(np.float32) if features.dtype == np.float32 else centre
    norms = np.empty(len(features))
    held = np.empty(features.shape, dtype=np.float32) if features.size <= _HELD else None
    source = Rows(features, where, norms, None)
    for block in tiles(len(features)):
        centred = source.centred(block)
        norms[block] = np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
        if held is not None:
            held[block] = centred
    return Rows(features, where, norms, held)


def tiles(total: int) -> list[slice]:
    """Cut ``total`` rows into the blocks whose products are taken at once."""
    return [slice(start, min(total, start + _TILE)) for start in range(0, total, _TILE)]


def pairs_within(squared: Single, limits: Array, down: slice, across: slice) -> Pairs:
    """Find the pairs of a tile that are no farther apart than ``limits``, which is broadcast against the tile."""
    at = np.flatnonzero(squared <= np.nextafter(limits.astype(np.float32), np.float32(np.inf)))
    i, j = np.divmod(at, squared.shape[1])
    return Pairs(i + down.start, j + across.start, squared.ravel()[at])


def pair_squares(x: Features, i: Index, y: Features, j: Index) -> Array:
    """``(P,)`` squared distances of ``x[i]`` and ``y[j]`` as float64 sums of squared differences."""
    out = np.empty(len(i))
    step = max(1, _PAIR_ELEMENTS // x.shape[1])
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        gaps = np.subtract(x[i[part]], y[j[part]], dtype=np.float64)
        out[part] = np.einsum("ij,ij->i", gaps, gaps)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Others:
    """``squares (N, k)`` ascending squared distances to the k nearest other rows, and ``indices (N, k)`` of those."""

    squares: Array
    indices: Index


def nearest_others(rows: Rows, k: int) -> Others:
    """Find the ``k`` nearest other rows of each row, exact duplicates included; ties in the order of the rows.

    In a crowd of more than ``4 k + 64`` rows that float32 cannot tell apart, that many of them are measured exactly.
    """
    n = len(rows.norms)
    doubt = 2.0 * rows.error_against(rows)
    reach = _first_reach(rows, k) + doubt
    held: list[Pairs] = []
    waiting = 0
    for pairs in _proposals(rows, reach):
        held.append(pairs)
        waiting += len(pairs.i)
        if waiting > _PENDING:
            held, waiting = [_thinned(held, doubt, k)], 0
    close = _thinned(held, doubt, k)
    squares = pair_squares(rows.given, close.i, rows.given, close.j)
    order = np.lexsort((close.j, squares, close.i))
    nearest = order[_ranks(close.i) < k]
    return Others(squares[nearest].reshape(n, k), close.j[nearest].reshape(n, k))


def _first_reach(rows: Rows, k: int) -> Array:
    """``(N,)`` squared distance to the k-th nearest row of the own tile: the k-th nearest of all is no farther."""
    reach = np.full(len(rows.norms), np.inf)
    for block in tiles(len(reach)):
        squared = rows.squares_to(rows, block, block)
        np.fill_diagonal(squared, np.inf)
        if len(squared) > k:
            reach[block] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return reach


def _proposals(rows: Rows, reach: Array) -> Iterator[Pairs]:
    """Every pair within reach of its owner, each product taken once."""
    blocks = tiles(len(reach))
    for position, down in enumerate(blocks):
        for across in blocks[position:]:
            squared = rows.squares_to(rows, down, across)
            if down == across:
                np.fill_diagonal(squared, np.inf)
            else:
                yield pairs_within(squared, reach[across], down, across).exchanged()
            yield pairs_within(squared, reach[down, None], down, across)


def _thinned(held: list[Pairs], doubt: Array, k: int) -> Pairs:
    """Keep, sorted by owner, what may be among its k nearest."""
    owner = np.concatenate([one.i for one in held])
    other = np.concatenate([one.j for one in held])
    squared = np.concatenate([one.squared for one in held])
    order = np.lexsort((squared, owner))
    owner, other, squared = owner[order], other[order], squared[order]
    rank = _ranks(owner)
    limit = np.full(len(doubt), np.inf)
    kth = rank == k - 1
    limit[owner[kth]] = squared[kth]
    keep = (squared <= (limit + doubt)[owner]) & (rank < 4 * k + 64)
    return Pairs(owner[keep], other[keep], squared[keep])


def _ranks(owner: Index) -> Index:
    """Position of each entry within its owner's run; ``owner`` is sorted."""
    return np.arange(len(owner)) - np.searchsorted(owner, owner)
