"""Phantoms for checks that read classes, prompts, pixels' spectra or a file's moments; each has a closed form."""

from __future__ import annotations

import hashlib

import numpy as np

from ldm_eval.api import Evidence

__all__ = ["against_statistics"]


def against_statistics(seed: int, *, shift: float, dimension: int = 16, n: int = 600) -> Evidence:
    """Samples from N(shift, I) against the exact moments of N(0, I).

    Squared Fréchet distance ``dimension * shift^2``; its expectation at n samples is larger by about
    ``dimension / n + dimension * (dimension + 1) / (4 n)``.
    """
    from ldm_eval.api import FeatureStatistics
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 11))
    samples = (shift + rng.standard_normal((n, dimension))).astype(np.float32)
    mean, covariance = np.zeros(dimension), np.eye(dimension)
    digest = hashlib.sha256(mean.tobytes() + covariance.tobytes()).hexdigest()
    statistics = FeatureStatistics("N(0, I)", mean, covariance, None, digest)
    return PhantomEvidence("quality/frechet_to_statistics", seed, features={"samples": samples}, statistics=statistics)
