"""Phantoms in feature space: real and generated Gaussians a chosen distance apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldm_eval.testing.evidence import PhantomEvidence

__all__ = ["shifted_generator"]


def shifted_generator(
    seed: int, *, shift: float = 0.0, samples: int = 500, real: int = 1000, dimension: int = 16
) -> PhantomEvidence:
    """Real features N(0, I); generated ones N(m, I) with |m| = ``shift``, spread over all coordinates.

    The best possible accuracy is Phi(shift / 2); without a shift it is exactly 1/2 for every classifier.

    Args:
        seed: Seed of the phantom.
        shift: Distance of the means, in standard deviations.
        samples: Generated images.
        real: Held-out real images.
        dimension: D.
    """
    import numpy as np

    from ldm_eval.testing.evidence import PhantomEvidence

    generator = np.random.default_rng(seed)
    holdout = generator.standard_normal((real, dimension)).astype(np.float32)
    generated = generator.standard_normal((samples, dimension)) + shift / np.sqrt(dimension)
    return PhantomEvidence(
        "misuse/detectability",
        seed,
        features={"samples": generated.astype(np.float32), "holdout": holdout, "reference": holdout},
    )
