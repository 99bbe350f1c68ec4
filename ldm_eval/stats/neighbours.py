"""Exact nearest neighbours in the Euclidean distance, at the speed of a float32 matrix product.

``|q - x|^2 = |q|^2 - 2 q.x + |x|^2`` costs one matrix product, but it cancels: in float32 an exact duplicate reads as a
distance of up to a percent. So the product only proposes candidates. Everything within twice the worst-case rounding
error of the k-th proposal is then measured again as a float64 sum of squared differences, which is what is returned.

Where there is enough to do, the products are taken of short rows: the coordinates along the index's first principal
directions, and the length of the rest as one more. No distance grows on that way, so a pair whose short rows are
farther apart than the k-th distance measured so far cannot be among the nearest, whatever the directions are; all
others are measured. How many these are decides whether it pays, and is counted on a few queries first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ldm_eval.errors import DataError

__all__ = ["Neighbours", "nearest", "rescored"]

Float = NDArray[np.float64]
Single = NDArray[np.float32]
Index = NDArray[np.int64]

_INDEX_ELEMENTS = 1 << 26  # one block of the index in float32: 256 MiB
_INDEX_ROWS = 1 << 16
_SCORE_ELEMENTS = 1 << 25  # one block of float32 scores: 128 MiB
_SHORTENED_ELEMENTS = 1 << 22  # one block of rows in float64 on the way to short ones: 32 MiB
_EXACT_ELEMENTS = 1 << 18  # one block of float64 differences: 2 MiB, in cache
_GROUPS_OF = 32
_DIRECTIONS = 128
_LEARNT_FROM = 4096  # rows of the index
_WORTH_SHORTENING = 3e11  # multiplications: below, finding the directions takes longer than it saves
_PROBED = 64  # queries
_OPEN_SHARE = 0.003  # of the pairs left to be measured: more, and the whole product is faster
_UNIT = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The k nearest rows of the index for each query.

    Attributes:
        distances: ``(Q, k)`` float64, Euclidean, ascending; an exact duplicate reads exactly 0.
        indices: ``(Q, k)`` int64, rows of the index; equal distances come in the order of their rows.
    """

    distances: Float
    indices: Index


def nearest(
    queries: NDArray[Any],
    index: NDArray[Any],
    k: int,
    *,
    exclude_self: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """Find the ``k`` nearest rows of ``index`` for each row of ``queries``, exactly.

    Memory beyond the inputs and the result is about 0.7 GB at most, whatever Q and N (the inputs may be memory maps).

    Args:
        queries: ``(Q, D)`` of any real dtype, finite; uint8 pixels stay exact.
        index: ``(N, D)``.
        k: 1 <= k <= N (N-1 with ``exclude_self``).
        exclude_self: Query i is row i of the index and is not its own neighbour (excluded by its number, so that a
            duplicate of it is still found at distance 0).
        on_progress: Told (rows of queries times rows of the index done, of how many) block by block.

    Raises:
        DataError: for shapes that do not fit, values that are not finite, or a k that cannot be answered.
    """
    _refuse(queries, index, k, exclude_self)
    frame = _frame(index)
    if len(queries) * index.size >= _WORTH_SHORTENING and index.shape[1] > 2 * _DIRECTIONS:
        shorter = _shortened(frame, index)
        frame = shorter if _pays(shorter, queries, index, k) else frame
    q_count, n = len(queries), len(index)
    found = Neighbours(np.full((q_count, k), np.inf), np.full((q_count, k), n, dtype=np.int64))
    block_rows = max(1, min(_INDEX_ROWS, _INDEX_ELEMENTS // max(1, index.shape[1])))
    for first in range(0, n, block_rows):
        block = index[first : first + block_rows]
        single = frame.rows(block)
        norms = np.einsum("nd,nd->n", single, single)
        rows = max(1, _SCORE_ELEMENTS // max(len(block), index.shape[1]))
        values = np.empty((min(rows, q_count), len(block)), dtype=np.float32)  # one for all: new pages cost a fifth
        for start in range(0, q_count, rows):
            some = queries[start : start + rows]
            scores = _scores(frame.rows(some), single, norms, values[: len(some)])
            if exclude_self:
                _mask_self(scores.values, start - first)
            search = _nearest_in_block if frame.directions is None else _nearest_by_bound
            near = search(some, block, scores, min(k, len(block)), frame.scale)
            _merge(found, slice(start, start + len(some)), near, first)
            if on_progress is not None:
                on_progress(q_count * first + (start + len(some)) * len(block), q_count * n)
    return found


def rescored(queries: NDArray[Any], index: NDArray[Any], proposed: Index, k: int) -> Neighbours:
    """The ``k`` nearest of the rows that somebody else proposed, by distances as exact as those of ``nearest``.

    Args:
        queries: ``(Q, D)``.
        index: ``(N, D)``, perhaps a memory map: only the proposed rows are read.
        proposed: ``(Q, p)`` int64 rows of the index, p >= k, none twice in a row; negative where there is none.
        k: 1 <= k <= p.
    """
    rows = np.maximum(proposed, 0)
    exact = np.where(proposed < 0, np.inf, _rescore(queries, index, rows))
    order = np.lexsort((rows, exact), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(exact, order, axis=1), np.take_along_axis(rows, order, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Where and how rows are measured in float32: shifted by ``mean (D,)``, divided by ``scale``, and perhaps short.

    ``directions (D, p)`` float64, orthonormal: rows become their coordinates along these and the length of the rest.
    """

    mean: Float
    scale: float
    directions: Float | None = None

    def rows(self, rows: NDArray[Any]) -> Single:
        """``(N, D) -> (N, D)`` or ``(N, p + 1)`` float32."""
        if self.directions is None:
            return _to_single(rows, self.mean, self.scale)
        out = np.empty((len(rows), self.directions.shape[1] + 1), dtype=np.float32)
        step = max(1, _SHORTENED_ELEMENTS // max(1, rows.shape[1]))
        for start in range(0, len(rows), step):
            shifted = np.subtract(rows[start : start + step], self.mean, dtype=np.float64) / self.scale
            along = shifted @ self.directions
            rest = np.einsum("nd,nd->n", shifted, shifted) - np.einsum("nd,nd->n", along, along)
            out[start : start + step, :-1] = along
            out[start : start + step, -1] = np.sqrt(np.maximum(rest, 0.0))
        return out


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """``values (Q, N)`` float32: |x|^2 - 2 q.x in the frame.

    ``error (Q,)``: its worst rounding error; ``lengths (Q,)``: |q|^2, by which a value falls short of a distance.
    """

    values: Single
    error: Single
    lengths: Single


def _frame(index: NDArray[Any]) -> _Frame:
    """Mean and largest absolute value of the index: shifting loses no distance and saves digits."""
    mean, largest = np.zeros(index.shape[1]), 0.0
    step = max(1, _EXACT_ELEMENTS // max(1, index.shape[1]))
    for first in range(0, len(index), step):
        block = np.asarray(index[first : first + step], dtype=np.float64)
        mean += block.sum(axis=0)
        largest = max(largest, float(block.max(initial=0.0)), -float(block.min(initial=0.0)))
    return _Frame(mean / len(index), largest or 1.0)


def _shortened(frame: _Frame, index: NDArray[Any]) -> _Frame:
    """The frame with the first principal directions of some rows of the index. Any directions give the same answer."""
    some = _to_single(index[:: -(-len(index) // _LEARNT_FROM)], frame.mean, frame.scale).astype(np.float64)
    d = some.shape[1]
    _, directions = linalg.eigh(some.T @ some, subset_by_index=(d - _DIRECTIONS, d - 1), check_finite=False)
    return _Frame(frame.mean, frame.scale, np.asarray(directions, dtype=np.float64))


def _pays(frame: _Frame, queries: NDArray[Any], index: NDArray[Any], k: int) -> bool:
    """Few enough pairs are left open for some queries and the first rows of the index."""
    some, block = queries[:: -(-len(queries) // _PROBED)], index[: 2 * _LEARNT_FROM]
    single = frame.rows(block)
    values = np.empty((len(some), len(block)), dtype=np.float32)
    scores = _scores(frame.rows(some), single, np.einsum("nd,nd->n", single, single), values)
    k = min(k, len(block))
    open_ = scores.values <= _reach(some, block, scores, k, frame.scale)[:, None]
    return float(open_.mean()) <= max(_OPEN_SHARE, 2.0 * k / len(block))


def _to_single(rows: NDArray[Any], mean: Float, scale: float) -> Single:
    out = np.empty(rows.shape, dtype=np.float32)
    step = max(1, _EXACT_ELEMENTS // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        shifted = np.subtract(rows[start : start + step], mean, dtype=np.float64)
        np.divide(shifted, scale, out=out[start : start + step], casting="same_kind")
    return out


def _scores(queries: Single, index: Single, norms: Single, values: Single) -> _Scores:
    np.matmul(np.multiply(queries, np.float32(-2)), index.T, out=values)
    values += norms
    d = queries.shape[1]
    lengths = np.einsum("qd,qd->q", queries, queries)
    reach = np.sqrt(lengths) + float(np.sqrt(norms.max(initial=0.0)))
    # |fl(q.x) - q.x| <= D u |q||x| for any order of summation; the rest covers the norms, the cast and the addition.
    return _Scores(values, np.asarray((d + 8) * _UNIT * reach**2, dtype=np.float32), lengths)


def _mask_self(values: Single, offset: int) -> None:
    rows = np.arange(len(values))
    columns = rows + offset
    inside = (columns >= 0) & (columns < values.shape[1])
    values[rows[inside], columns[inside]] = np.inf


def _reach(queries: NDArray[Any], index: NDArray[Any], scores: _Scores, k: int, scale: float) -> Single:
    """``(Q,)`` the score beyond which nothing is among the k nearest: k distances are measured to know it."""
    proposed, _, _ = _propose(scores.values, k)
    exact = _rescore(queries, index, proposed)
    exact[np.isinf(np.take_along_axis(scores.values, proposed, axis=1))] = np.inf
    kth = np.partition(exact, k - 1, axis=1)[:, k - 1] / scale
    reach = np.square(kth) - scores.lengths + 2 * scores.error
    return np.asarray(np.minimum(reach, np.finfo(np.float32).max), dtype=np.float32)  # never a masked self


def _nearest_by_bound(queries: NDArray[Any], index: NDArray[Any], scores: _Scores, k: int, scale: float) -> Neighbours:
    """Measure every pair that the bound leaves open."""
    reach = _reach(queries, index, scores, k, scale)
    row, column = np.divmod(np.flatnonzero(scores.values <= reach[:, None]), scores.values.shape[1])
    exact = np.empty(len(row))
    step = max(1, _EXACT_ELEMENTS // max(1, index.shape[1]))
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        difference = np.subtract(index[column[part]], queries[row[part]], dtype=np.float64)[:, None]
        exact[part] = np.sqrt(np.einsum("qkd,qkd->qk", difference, difference))[:, 0]  # summed as in _rescore
    order = np.lexsort((column, exact, row))
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    order, rank = order[rank < k], rank[rank < k]
    near = Neighbours(np.full((len(queries), k), np.inf), np.zeros((len(queries), k), dtype=np.int64))
    near.distances[row[order], rank], near.indices[row[order], rank] = exact[order], column[order]
    return near


def _nearest_in_block(queries: NDArray[Any], index: NDArray[Any], scores: _Scores, k: int, scale: float) -> Neighbours:
    proposed, kth, excluded = _propose(scores.values, k)
    limit = kth + 2 * scores.error
    exact = _rescore(queries, index, proposed)
    # A masked self (score inf) may be among the proposals when k is close to N.
    exact[np.isinf(np.take_along_axis(scores.values, proposed, axis=1))] = np.inf
    order = np.lexsort((proposed, exact), axis=1)[:, :k]
    near = Neighbours(np.take_along_axis(exact, order, axis=1), np.take_along_axis(proposed, order, axis=1))
    for row in np.flatnonzero(excluded <= limit):  # ties, or a crowd within rounding: look at all that could be
        columns = np.flatnonzero(scores.values[row] <= limit[row])
        exact_row = _rescore_row(queries[row], index, columns)
        best = np.lexsort((columns, exact_row))[:k]
        near.distances[row, : len(best)], near.indices[row, : len(best)] = exact_row[best], columns[best]
    return near


def _propose(values: Single, k: int) -> tuple[Index, Single, Single]:
    """Return a few more than k columns with the lowest scores, the k-th lowest, and the lowest one left out."""
    rows, n = values.shape
    wanted = k + max(4, k // 4)
    width = n // _GROUPS_OF
    if wanted + 1 >= width:
        return _lowest(values, np.broadcast_to(np.arange(n), values.shape), k, wanted, np.full(rows, np.inf))
    # Column j belongs to group j mod width; the lowest k columns lie in the k groups with the lowest minima.
    grouped = values[:, : width * _GROUPS_OF].reshape(rows, _GROUPS_OF, width)
    minima = grouped.min(axis=1)
    chosen = np.argpartition(minima, wanted, axis=1)
    next_group = np.take_along_axis(minima, chosen[:, wanted : wanted + 1], axis=1)[:, 0]
    members = (chosen[:, :wanted, None] + np.arange(_GROUPS_OF) * width).reshape(rows, -1)
    tail = np.broadcast_to(np.arange(width * _GROUPS_OF, n), (rows, n - width * _GROUPS_OF))
    columns = np.concatenate([members, tail], axis=1)
    return _lowest(np.take_along_axis(values, columns, axis=1), columns, k, wanted, next_group)


def _lowest(
    values: Single, columns: NDArray[np.int64], k: int, wanted: int, left_out: NDArray[Any]
) -> tuple[Index, Single, Single]:
    if wanted >= values.shape[1]:
        kth = np.partition(values, k - 1, axis=1)[:, k - 1]
        return np.array(columns, dtype=np.int64), kth, np.asarray(left_out, dtype=np.float32)
    order = np.argpartition(values, (k - 1, wanted), axis=1)
    at = np.take_along_axis(values, order[:, [k - 1, wanted]], axis=1)
    picked = np.take_along_axis(columns, order[:, :wanted], axis=1)
    return np.asarray(picked, dtype=np.int64), at[:, 0], np.minimum(at[:, 1], left_out.astype(np.float32))


def _rescore(queries: NDArray[Any], index: NDArray[Any], columns: Index) -> Float:
    out = np.empty(columns.shape)
    step = max(1, _EXACT_ELEMENTS // max(1, columns.shape[1] * index.shape[1]))
    for start in range(0, len(columns), step):
        block = slice(start, start + step)
        difference = np.subtract(index[columns[block]], queries[block][:, None, :], dtype=np.float64)
        out[block] = np.sqrt(np.einsum("qkd,qkd->qk", difference, difference))
    return out


def _rescore_row(query: NDArray[Any], index: NDArray[Any], columns: Index) -> Float:
    out = np.empty(len(columns))
    step = max(1, _EXACT_ELEMENTS // max(1, index.shape[1]))
    for start in range(0, len(columns), step):
        difference = np.subtract(index[columns[start : start + step]], query, dtype=np.float64)
        # The same summation order as in _rescore, so that equal distances are equal to the last bit.
        out[start : start + step] = np.sqrt(np.einsum("qkd,qkd->qk", difference[None], difference[None]))[0]
    return out


def _merge(found: Neighbours, rows: slice, near: Neighbours, first: int) -> None:
    k = found.distances.shape[1]
    distances = np.concatenate([found.distances[rows], near.distances], axis=1)
    indices = np.concatenate([found.indices[rows], near.indices + first], axis=1)
    order = np.lexsort((indices, distances), axis=1)[:, :k]
    found.distances[rows] = np.take_along_axis(distances, order, axis=1)
    found.indices[rows] = np.take_along_axis(indices, order, axis=1)


def _refuse(queries: NDArray[Any], index: NDArray[Any], k: int, exclude_self: bool) -> None:
    if queries.ndim != 2 or index.ndim != 2 or queries.shape[1] != index.shape[1]:
        raise DataError(f"Neighbours need (Q, D) and (N, D); found {queries.shape} and {index.shape}.")
    if exclude_self and len(queries) != len(index):
        raise DataError(f"exclude_self means that queries are the index; found {len(queries)} and {len(index)} rows.")
    available = len(index) - exclude_self
    if not 1 <= k <= available:
        raise DataError(f"{k} neighbours were asked for; {available} are available. Give more images or a smaller k.")
    for rows in (queries, index):
        for start in range(0, len(rows), _INDEX_ROWS):
            if rows.dtype.kind == "f" and not np.isfinite(rows[start : start + _INDEX_ROWS]).all():
                raise DataError("Neighbours were asked of values that are NaN or infinite. Check the extractor.")
