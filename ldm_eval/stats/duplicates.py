"""Which images of a set are the same image: by their bytes, then by a pixel rule, then by connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldm_eval.errors import DataError
from ldm_eval.stats.neighbours import nearest

__all__ = ["Duplicates", "find_duplicates"]

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """A set divided into groups of images that are the same.

    Attributes:
        representatives: ``(U,)`` int64, ascending: the first image of each group. These are the de-duplicated set.
        group: ``(N,)`` int64 in 0..U-1: the group of each image, i.e. a row of ``representatives``.
        multiplicity: ``(U,)`` int64: how many images each group has.
        exact: Images that are byte for byte equal to an earlier one.
        near: Further images that join an earlier group only by the pixel rule.
    """

    representatives: Index
    group: Index
    multiplicity: Index
    exact: int
    near: int

    @property
    def unique(self) -> int:
        """U, the size of the de-duplicated set."""
        return len(self.representatives)


def find_duplicates(pixels: NDArray[Any], near: float) -> Duplicates:
    """Group images that are equal, or connected by pairs that differ by at most ``near``.

    The rule for a pair is on the root mean square of the pixel differences, in the unit of ``pixels`` (grey levels for
    uint8). Groups are the connected components, so two images in a group may differ by more than ``near``. All pairs
    are found, not only the k nearest.

    Args:
        pixels: ``(N, ...)``, one image per row, N >= 1.
        near: Largest root mean square difference of a near-duplicate; 0 groups equal images only.

    Raises:
        DataError: for an empty set.
    """
    if len(pixels) == 0:
        raise DataError("Duplicates were asked for in an empty set of images.")
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    rows = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1])))[:, 0]
    _, first, equal = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    first = first[order]
    equal = np.argsort(order, kind="stable")[equal]  # group numbers in the order of first appearance
    component = _components(flat[first], near * np.sqrt(flat.shape[1])) if near > 0 else np.arange(len(first))
    group = component[equal]
    representatives = np.unique(group, return_index=True)[1]
    return Duplicates(
        representatives=representatives.astype(np.int64),
        group=group.astype(np.int64),
        multiplicity=np.bincount(group).astype(np.int64),
        exact=len(flat) - len(first),
        near=len(first) - len(representatives),
    )


def _components(points: NDArray[Any], radius: float) -> Index:
    """Connected components of the graph of pairs within ``radius``, numbered by first appearance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(points)
    left, right = _pairs_within(points, radius)
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(n, n))
    labels = np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first, kind="stable"), kind="stable")[inverse], dtype=np.int64)


def _pairs_within(points: NDArray[Any], radius: float) -> tuple[Index, Index]:
    open_rows = np.arange(len(points), dtype=np.int64)
    left, right, k = [], [], min(4, len(points))
    while len(open_rows):
        found = nearest(points[open_rows], points, k)
        close = found.distances <= radius
        # Where even the last neighbour is within the radius there may be more: ask those rows again for twice as many.
        again = close[:, -1] if k < len(points) else np.zeros(len(open_rows), dtype=bool)
        row, column = np.nonzero(close & ~again[:, None])
        left.append(open_rows[row])
        right.append(found.indices[row, column])
        open_rows, k = open_rows[again], min(2 * k, len(points))
    return np.concatenate(left), np.concatenate(right)
