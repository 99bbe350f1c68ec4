"""Conformal p-values: how unusual is a score among scores of images that are known to be ordinary?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ldm_eval.errors import DataError

__all__ = ["conformal_p_values"]


def conformal_p_values(scores: ArrayLike, ordinary: ArrayLike) -> NDArray[np.float64]:
    """``(N,)``: (1 + ordinary scores at least as high) / (1 + ordinary scores), never below 1/(M+1).

    Valid one by one for a score that is exchangeable with the ordinary ones (Vovk et al. 2005; arXiv:2104.08279).

    Args:
        scores: ``(N,)``, high where unusual.
        ordinary: ``(M,)``, M >= 1.

    Raises:
        DataError: for no ordinary score, or scores that are not finite.
    """
    asked, known = np.asarray(scores, dtype=np.float64), np.sort(np.asarray(ordinary, dtype=np.float64))
    if (
        asked.ndim != 1
        or known.ndim != 1
        or not len(known)
        or not (np.isfinite(asked).all() and np.isfinite(known).all())
    ):
        raise DataError(f"Conformal p-values need finite scores in a row, and ordinary ones; found {known.shape}.")
    return np.asarray(
        (1 + len(known) - np.searchsorted(known, asked, side="left")) / (len(known) + 1), dtype=np.float64
    )
