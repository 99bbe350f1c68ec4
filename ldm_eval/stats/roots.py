"""Centred sets of features read block by block, and their roots: nothing as large as a set is ever held in float64.

A set may be a memory map of any length. What is held beside it are one block of rows and matrices of d x d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas

__all__ = ["CentredRows", "Root", "centred", "root_of"]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

_BLOCK = 4096
"""Rows taken at once: 64 MiB of float64 at d = 2048."""

_SINGULAR = 1e-9
"""Smallest squared Cholesky pivot, relative to the largest variance, for which the fast root is trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class CentredRows:
    """``(given - mean) / sqrt(n - 1)`` in float64, one block at a time.

    Attributes:
        given: ``(n, d)`` as they came.
        mean: ``(d,)`` float64.
    """

    given: Features
    mean: Array

    def __len__(self) -> int:
        return len(self.given)

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Row numbers and the centred, scaled rows; a block is only good until the next one is asked for."""
        scale = math.sqrt(len(self) - 1)
        held = np.empty((min(_BLOCK, len(self)), self.given.shape[1]))
        for start in range(0, len(self), _BLOCK):
            rows = slice(start, min(len(self), start + _BLOCK))
            block = held[: rows.stop - rows.start]
            np.subtract(self.given[rows], self.mean, out=block)
            block /= scale
            yield rows, block

    def whole(self) -> Array:
        """``(n, d)`` all of them: for sets of no more than d rows."""
        return np.concatenate([block.copy() for _, block in self.blocks()])


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """A centred set as ``basis @ root`` with orthonormal columns in the basis, which is never formed.

    Attributes:
        rows: The set.
        root: ``(k, d)``, k its rank.
        columns: ``(k,)`` columns of the rows from which the basis follows; None: the basis is the identity (n <= d).
        corner: ``(k, k)`` upper triangular: the basis is ``rows[:, columns] @ corner^-1``.
        regular: All d columns in their order: root and corner are one invertible matrix.
    """

    rows: CentredRows
    root: Array
    columns: NDArray[np.intp] | None
    corner: Array | None
    regular: bool


def centred(x: Features) -> CentredRows:
    """Take the mean of ``x (n, d)``, n >= 2."""
    return CentredRows(x, np.asarray(x.mean(axis=0, dtype=np.float64)))


def root_of(rows: CentredRows) -> Root:
    """Factor a centred set by Cholesky on the columns that vary, or by QR where those are not independent either.

    Constant columns are common (dead units of a network) and cost nothing; no jitter is ever added.
    """
    n, d = rows.given.shape
    if n <= d:
        return Root(rows, rows.whole(), None, None, regular=False)
    covariance = _covariance(rows)
    rounding = n * np.finfo(np.float64).eps * np.abs(rows.mean)  # of the mean of n equal numbers
    alive = np.flatnonzero(np.diagonal(covariance) > np.square(rounding))
    corner = _cholesky(covariance if len(alive) == d else covariance[np.ix_(alive, alive)]) if len(alive) else None
    if corner is None:
        return _by_qr(rows, alive)
    if len(alive) == d:
        return Root(rows, corner, alive, corner, regular=True)
    return Root(rows, _spread(corner, alive, d), alive, corner, regular=False)


def _covariance(rows: CentredRows) -> Array:
    """``(d, d)`` the upper triangle of the covariance, which is all that is read."""
    d = rows.given.shape[1]
    total = np.zeros((d, d), order="F")
    for _, block in rows.blocks():
        total = blas.dsyrk(1.0, block.T, beta=1.0, c=total, overwrite_c=1)
    return total


def _cholesky(covariance: Array) -> Array | None:
    """Upper triangular root, or None where a pivot is too small to divide by. Its input is used up."""
    largest = float(np.diagonal(covariance).max())
    try:
        upper: Array = linalg.cholesky(covariance, lower=False, check_finite=False, overwrite_a=True)
    except linalg.LinAlgError:
        return None
    return upper if float(np.square(np.diagonal(upper)).min()) > _SINGULAR * largest else None


def _by_qr(rows: CentredRows, alive: NDArray[np.intp]) -> Root:
    """QR of the columns that vary, block by block, then with pivots on what is left: its diagonal tells the rank."""
    d, left = rows.given.shape[1], np.zeros((0, len(alive)))
    for _, block in rows.blocks() if len(alive) else ():
        (left,) = linalg.qr(np.concatenate([left, block[:, alive]]), mode="r", check_finite=False, overwrite_a=True)
        left = left[: len(alive)]
    triangle, order = linalg.qr(left, mode="r", pivoting=True, check_finite=False) if len(alive) else (left, alive)
    pivots = np.abs(np.diagonal(triangle))
    rank = int(np.count_nonzero(pivots > d * np.finfo(np.float64).eps * pivots.max(initial=0.0)))
    kept, columns = np.asarray(triangle[:rank], dtype=np.float64), alive[order]
    return Root(rows, _spread(kept, columns, d), columns[:rank], kept[:, :rank], regular=False)


def _spread(root: Array, columns: NDArray[np.intp], d: int) -> Array:
    """``(k, d)`` the columns of ``root`` in their places, zero elsewhere."""
    wide = np.zeros((len(root), d))
    wide[:, columns] = root
    return wide
