"""The permutation test beside every kernel distance: near the null the interval's normal shape is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Evidence
from ldm_eval.stats.kernels import CUBIC, Kernel, kernel_permutation_p_value
from ldm_eval.stats.resampling import subset

__all__ = ["NOTE", "p_value_of_no_difference"]

_PERMUTATIONS = 499
_ROWS = 1000

NOTE = f"p-value: {_PERMUTATIONS} exchanges of at most {_ROWS} images of each set."
"""What the tables say of it."""


def p_value_of_no_difference(
    evidence: Evidence, samples: NDArray[np.float32], reference: NDArray[np.float32], kernel: Kernel = CUBIC
) -> float:
    """P-value of "samples and reference come from one distribution", on at most 1,000 images of each set."""
    rng = evidence.rng("permutations")
    x = samples[subset(len(samples), _ROWS, rng)]
    y = reference[subset(len(reference), _ROWS, rng)]
    return kernel_permutation_p_value(x, y, permutations=_PERMUTATIONS, rng=rng, kernel=kernel)
