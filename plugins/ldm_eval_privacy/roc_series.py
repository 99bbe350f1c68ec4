"""ROC curves as data for a figure with a logarithmic axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ldm_eval.api import Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["guessing", "roc_series"]


def roc_series(name: str, members: NDArray[np.float64], others: NDArray[np.float64]) -> Series:
    """The empirical ROC curve of scores that are high for members, from a false positive rate of 1/N on."""
    import numpy as np

    from ldm_eval.stats.roc import roc_curve

    curve = roc_curve(members, others)
    smallest = 1 / len(others)
    grid = np.unique(np.concatenate([[smallest], curve.false_positive_rate[curve.false_positive_rate >= smallest]]))
    at = np.searchsorted(curve.false_positive_rate, grid, side="right") - 1
    rates = tuple(curve.true_positive_rate[at].round(6).tolist())
    return Series(name, tuple(grid.round(6).tolist()), rates)


def guessing(curve: Series) -> Series:
    """The diagonal over the rates of ``curve``."""
    rates = cast("tuple[float, ...]", curve.x)
    return Series("guessing", rates, rates)
