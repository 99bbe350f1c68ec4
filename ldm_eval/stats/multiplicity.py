"""Many tests at once: p-values that stay honest when one looks at all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ldm_eval.errors import DataError

__all__ = ["benjamini_hochberg", "holm"]


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values ``(m,)``: rejecting those at most alpha errs once or more with probability alpha.

    Whatever the dependence of the tests (Holm 1979, Scandinavian Journal of Statistics 6).

    Raises:
        DataError: for a p-value outside [0, 1].
    """
    p, order = _sorted(p_values)
    steps = np.maximum.accumulate(p * np.arange(len(p), 0, -1))
    return _back(np.minimum(steps, 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values ``(m,)`` that bound the expected share of false ones among those rejected (FDR).

    For independent tests or positive dependence (Benjamini and Hochberg 1995, JRSS B 57). Conformal p-values that share
    their calibration set are such (arXiv:2104.08279).

    Raises:
        DataError: for a p-value outside [0, 1].
    """
    p, order = _sorted(p_values)
    scaled = p * len(p) / np.arange(1, len(p) + 1)
    steps = np.minimum.accumulate(scaled[::-1])[::-1]
    return _back(np.minimum(steps, 1.0), order)


def _sorted(p_values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError("p-values must be numbers from 0 to 1 in one row.")
    order = np.argsort(p, kind="stable")
    return p[order], order


def _back(values: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    found = np.empty_like(values)
    found[order] = values
    return found
