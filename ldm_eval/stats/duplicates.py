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

_CROWD = 64
"""A row with this many near neighbours is asked for those outside its component, no longer for all of them."""


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


def find_duplicates(pixels: NDArray[Any], near: float, *, mirrored: bool = False) -> Duplicates:
    """Group images that are equal, or connected by pairs that differ by at most ``near``.

    The rule for a pair is on the root mean square of the pixel differences, in the unit of ``pixels`` (grey levels for
    uint8). Groups are the connected components, so two images in a group may differ by more than ``near``. Every image
    finds its way into its component, however crowded that is; memory grows with N, not with its square.

    Args:
        pixels: ``(N, ...)``, one image per row, N >= 1; the last axis runs from left to right.
        near: Largest root mean square difference of a near-duplicate; 0 groups equal images only.
        mirrored: True to take an image and its mirror image for the same (``near`` counts those pairs too).

    Raises:
        DataError: for an empty set.
    """
    if len(pixels) == 0:
        raise DataError("Duplicates were asked for in an empty set of images.")
    whole = np.ascontiguousarray(pixels)
    flat = whole.reshape(len(whole), -1)
    rows = flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1])))[:, 0]
    _, first, equal = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    first = first[order]
    equal = np.argsort(order, kind="stable")[equal]  # group numbers in the order of first appearance
    views = [flat[first]]
    if mirrored:
        views.append(np.ascontiguousarray(whole[first][..., ::-1]).reshape(len(first), -1))
    searched = near > 0 or mirrored
    component = _components(views, near * np.sqrt(flat.shape[1])) if searched else np.arange(len(first))
    group = component[equal]
    representatives = np.unique(group, return_index=True)[1]
    return Duplicates(
        representatives=representatives.astype(np.int64),
        group=group.astype(np.int64),
        multiplicity=np.bincount(group).astype(np.int64),
        exact=len(flat) - len(first),
        near=len(first) - len(representatives),
    )


def _components(views: list[NDArray[Any]], radius: float) -> Index:
    """Connected components of the pairs within ``radius``, numbered by first appearance.

    ``views``: the points ``(N, D)`` themselves, and further views of them that count as the same points.
    """
    n = len(views[0])
    left, right, crowded = _pairs_within(views, radius)
    labels = _labels(left, right, n)
    while any(len(rows) for rows in crowded):
        more = [_ways_out(view, views[0], rows, labels, radius) for view, rows in zip(views, crowded, strict=True)]
        left = np.concatenate([left, *(one.left for one in more)])
        right = np.concatenate([right, *(one.right for one in more)])
        labels, crowded = _labels(left, right, n), [one.open_rows for one in more]
    return labels


def _labels(left: Index, right: Index, n: int) -> Index:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(n, n))
    labels = np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first, kind="stable"), kind="stable")[inverse], dtype=np.int64)


def _pairs_within(views: list[NDArray[Any]], radius: float) -> tuple[Index, Index, list[Index]]:
    """All pairs within ``radius``, but of a row that has ``_CROWD`` or more only that many; and these rows by view."""
    points = views[0]
    left, right, crowded = [], [], []
    for view in views:
        open_rows, k = np.arange(len(points), dtype=np.int64), min(4, len(points))
        while len(open_rows):
            found = nearest(view[open_rows], points, k)
            close = found.distances <= radius
            # Where even the last neighbour is within the radius there may be more: ask those rows again.
            again = close[:, -1] if k < len(points) else np.zeros(len(open_rows), dtype=bool)
            final = np.ones(len(open_rows), dtype=bool) if k >= _CROWD else ~again
            row, column = np.nonzero(close & final[:, None])
            left.append(open_rows[row])
            right.append(found.indices[row, column])
            open_rows = open_rows[again]
            if k >= _CROWD:
                break
            k = min(_CROWD, len(points))
        crowded.append(open_rows)
    return np.concatenate(left), np.concatenate(right), crowded


@dataclass(frozen=True, slots=True, eq=False)
class _WaysOut:
    """Pairs that lead out of components, and the rows that may have more of them."""

    left: Index
    right: Index
    open_rows: Index


def _ways_out(view: NDArray[Any], points: NDArray[Any], rows: Index, labels: Index, radius: float) -> _WaysOut:
    """Ask each crowded row for neighbours outside its component only: what is inside needs no further pair."""
    left, right, still = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for component in np.unique(labels[rows]):
        outside = np.flatnonzero(labels != component)
        if not len(outside):
            continue
        inside = rows[labels[rows] == component]
        k = min(4, len(outside))
        found = nearest(view[inside], points[outside], k)
        close = found.distances <= radius
        row, column = np.nonzero(close)
        left.append(inside[row])
        right.append(outside[found.indices[row, column]])
        if k < len(outside):
            still.append(inside[close[:, -1]])
    return _WaysOut(np.concatenate(left), np.concatenate(right), np.concatenate(still))
