"""Two shares beside each other, exactly: Fisher's test of a 2x2 table."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from ldm_eval.errors import DataError

__all__ = ["fisher_exact"]

_TIES = 1e-7


def fisher_exact(k1: int, n1: int, k2: int, n2: int) -> float:
    """Two-sided p-value of "k1 of n1 and k2 of n2 have the same chance", given the margins (Fisher 1935).

    The sum over all tables of these margins that are no more probable than the one found. Exact, so conservative: with
    labels dealt at random, p <= alpha in at most alpha of the deals.

    Raises:
        DataError: for counts that cannot be.
    """
    if min(n1, n2) < 1 or not (0 <= k1 <= n1 and 0 <= k2 <= n2):
        raise DataError(f"Two shares need 0 <= k <= n and n >= 1; found {k1} of {n1} and {k2} of {n2}.")
    k = k1 + k2
    possible = np.arange(max(0, k - n2), min(k, n1) + 1)
    log = -(gammaln(possible + 1) + gammaln(n1 - possible + 1) + gammaln(k - possible + 1))
    log -= gammaln(n2 - k + possible + 1)
    weight = np.exp(log - log.max())
    found = weight[k1 - possible[0]]
    return float(min(1.0, weight[weight <= found * (1 + _TIES)].sum() / weight.sum()))
