"""Phantom for distances that look at the direction of features alone: their exact value is known."""

from __future__ import annotations

import math

import numpy as np

from ldm_eval.api import Evidence

__all__ = ["directions", "gaussian_discrepancy_of_directions"]

CHECK = "quality/gaussian_mmd"


def directions(seed: int, *, drawn: int, kinds: int = 8, n: int = 400, m: int = 400) -> Evidence:
    """Features along one of ``kinds`` orthogonal axes, each of a random length; samples use the first ``drawn`` axes.

    1000 MMD^2 with the Gaussian kernel of bandwidth 10 on rows of length one is ``gaussian_discrepancy_of_directions``;
    the lengths must not matter. A mode dropper, seen by no more than the angles.
    """
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 6))
    axes = np.eye(kinds)
    samples = axes[rng.integers(drawn, size=n)] * rng.uniform(0.5, 2.0, (n, 1))
    reference = axes[rng.integers(kinds, size=m)] * rng.uniform(0.5, 2.0, (m, 1))
    return PhantomEvidence(
        CHECK, seed, features={"samples": samples.astype(np.float32), "reference": reference.astype(np.float32)}
    )


def gaussian_discrepancy_of_directions(drawn: int, kinds: int, sigma: float = 10.0) -> float:
    """``1000 (1 - exp(-1 / sigma^2)) |p - q|^2`` of two uniform laws on ``drawn`` and on ``kinds`` orthogonal axes."""
    return -1000.0 * math.expm1(-1.0 / sigma**2) * (1.0 / drawn - 1.0 / kinds)
