"""Phantom of an autoencoder in feature space: what it makes of an image is known, and so is its distance."""

from __future__ import annotations

import numpy as np

from ldm_eval.api import Evidence

__all__ = ["autoencoder"]

CHECK = "quality/reconstruction_distance"


def autoencoder(
    seed: int, *, shrink: float = 1.0, noise: float = 0.0, levels: int = 0, dimension: int = 16, n: int = 600
) -> Evidence:
    """Features x ~ N(0, I) of held-out images and y = shrink x + noise e of their reconstructions, row by row.

    The squared Fréchet distance is ``dimension * (sqrt(shrink^2 + noise^2) - 1)^2``. A blurrer has ``shrink`` below
    one. The pictures are 8x8 grey noise, and every pixel of a reconstruction is off by ``levels`` grey levels.
    """
    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    rng = np.random.default_rng((seed, 5))
    images, error = rng.standard_normal((2, n, dimension))
    made = shrink * images + noise * error
    pixels = rng.integers(64, 192, (n, 1, 8, 8)).astype(np.uint8)
    return PhantomEvidence(
        CHECK,
        seed,
        images={
            "holdout": image_set(pixels, "phantom holdout"),
            "reconstruction": image_set(pixels + np.uint8(levels), "phantom holdout after the autoencoder"),
        },
        features={"holdout": images.astype(np.float32), "reconstruction": made.astype(np.float32)},
    )
