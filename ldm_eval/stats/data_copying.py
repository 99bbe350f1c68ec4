"""Published statistics of data copying: C_T, authenticity and the memorisation distance. Diagnostics, not verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.neighbours import nearest
from ldm_eval.stats.proportions import clopper_pearson
from ldm_eval.stats.roc import auc_interval

__all__ = ["Authenticity", "CopyingTest", "authenticity", "copying_test", "memorisation_distances", "partition"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Progress = Callable[[int, int], None]

_ROUNDS = 25


@dataclass(frozen=True, slots=True)
class CopyingTest:
    """The three-sample test of data copying.

    Attributes:
        value: C_T, in standard deviations: far below 0, samples lie nearer to training than fresh images do; far above
            0, they lie farther (underfitting); about 0 for a perfect model.
        interval: Two-sided.
        cells: Cells that entered.
        left_out: Cells with too few images.
        lowest: The lowest z of a cell.
        samples, controls: Images in the cells that entered.
    """

    value: float
    interval: Interval
    cells: int
    left_out: int
    lowest: float
    samples: int
    controls: int


@dataclass(frozen=True, slots=True)
class Authenticity:
    """Share of samples farther from their nearest training image than that image is from its own nearest one."""

    value: float
    interval: Interval


def partition(training: NDArray[Any], cells: int, rng: np.random.Generator, most: int = 20_000) -> Float:
    """Centres ``(cells, D)`` of a k-means partition of training features (Lloyd, seeded by k-means++).

    Args:
        training: ``(N, D)``.
        cells: How many, 1 <= cells <= N.
        rng: Draws the seeds, and ``most`` rows where there are more.
        most: Rows that the centres are fitted to.

    Raises:
        DataError: for a number of cells that cannot be.
    """
    if not 1 <= cells <= len(training):
        raise DataError(f"{len(training)} rows cannot be divided into {cells} cells.")
    some = training if len(training) <= most else training[np.sort(rng.choice(len(training), most, replace=False))]
    rows = np.asarray(some, dtype=np.float64)
    centres = rows[[int(rng.integers(len(rows)))]]
    while len(centres) < cells:
        away = np.square(nearest(rows, centres, 1).distances[:, 0])
        if not away.any():  # fewer different rows than cells
            break
        centres = np.concatenate([centres, rows[[int(rng.choice(len(rows), p=away / away.sum()))]]])
    for _ in range(_ROUNDS):
        cell = nearest(rows, centres, 1).indices[:, 0]
        moved = np.stack(
            [rows[cell == one].mean(axis=0) if (cell == one).any() else at for one, at in enumerate(centres)]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def copying_test(
    training: NDArray[Any],
    fresh: NDArray[Any],
    generated: NDArray[Any],
    centres: Float,
    fewest: int = 20,
    level: float = 0.95,
    on_progress: Progress | None = None,
) -> CopyingTest | None:
    """C_T of Meehan, Chaudhuri and Dasgupta (arXiv:2004.05675): how the nearest training image ranks, cell by cell.

    In each cell the distances of generated and of fresh images to the nearest training image *of the cell* are compared
    by the Mann-Whitney U of the generated ones, standardised under equality (with the authors' continuity correction of
    one half); the cells are averaged with the shares of the fresh images. Only cells with ``fewest`` generated and
    fresh images and a training image enter.

    The interval is ours: each cell's U is an AUC, whose interval (DeLong, or Newcombe near separation) is carried
    through the average (the square-root rule of Zou and Donner), the weights taken as they are.

    Returns None where no cell has enough images.
    """
    assigned = [nearest(rows, centres, 1).indices[:, 0] for rows in (training, fresh, generated)]
    values, widths, weights, sizes = [], [], [], []
    for cell in range(len(centres)):
        t, p, q = (np.flatnonzero(where == cell) for where in assigned)
        if on_progress is not None:
            on_progress(cell + 1, len(centres))
        if not len(t) or min(len(p), len(q)) < fewest:
            continue
        near_q, near_p = (
            nearest(rows[at], training[t], 1).distances[:, 0] for rows, at in ((generated, q), (fresh, p))
        )
        found = auc_interval(near_q, near_p, level)
        pairs = len(p) * len(q)
        scale = pairs / math.sqrt(pairs * (len(p) + len(q) + 1) / 12)
        values.append((found.value - 0.5 + 0.5 / pairs) * scale)
        widths.append(((found.value - found.interval.low) * scale, (found.interval.high - found.value) * scale))
        weights.append(len(p))
        sizes.append((len(q), len(p)))
    if not values:
        return None
    share = np.array(weights) / sum(weights)
    value = float(share @ values)
    down, up = np.sqrt(np.square(share) @ np.square(np.array(widths)))
    estimator = "AUC intervals of the cells (DeLong or Newcombe), square-root rule"
    samples, controls = (sum(size[side] for size in sizes) for side in (0, 1))
    interval = Interval(value - float(down), value + float(up), level, estimator)
    return CopyingTest(value, interval, len(values), len(centres) - len(values), min(values), samples, controls)


def authenticity(
    training: NDArray[Any], generated: NDArray[Any], level: float = 0.95, on_progress: Progress | None = None
) -> Authenticity:
    """Authenticity of Alaa et al. (arXiv:2102.08921, section 3.2), as published, with a Clopper-Pearson interval.

    Known failure: a near copy of an image that is in training twice is always "authentic", for its original is at
    distance 0 from the other.

    Raises:
        DataError: for fewer than two training rows.
    """
    if len(training) < 2:
        raise DataError("Authenticity needs at least two training images.")
    found = nearest(generated, training, 1, on_progress=on_progress)
    rows, at = np.unique(found.indices[:, 0], return_inverse=True)
    around = nearest(np.asarray(training[rows]), training, 2)
    other = np.where(around.indices[:, 0] == rows, around.distances[:, 1], around.distances[:, 0])
    k, n = int((found.distances[:, 0] > other[at]).sum()), len(generated)
    return Authenticity(k / n, clopper_pearson(k, n, level))


def memorisation_distances(training: NDArray[Any], generated: NDArray[Any]) -> Float:
    """``(N,)`` smallest ``1 - |cos|`` of each generated row to a training row (Bai et al., arXiv:2106.03062).

    Their mean is the memorisation distance. Rows of zeros are at distance 1 from everything.
    """
    index, queries = _unit(training), _unit(generated)
    distance = nearest(queries, index, 1).distances[:, 0]
    if min(float(index.min()), float(queries.min())) < 0:  # else no cosine is negative
        distance = np.minimum(distance, nearest(-queries, index, 1).distances[:, 0])
    return np.minimum(np.square(distance) / 2, 1.0)


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    values = np.asarray(rows, dtype=np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))[:, None]
    return np.asarray(values / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
