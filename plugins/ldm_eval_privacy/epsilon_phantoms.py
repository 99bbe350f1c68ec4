"""Canaries whose loss tells the coin flips with a known epsilon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_eval.api import Evidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["randomised_response", "shifted_losses"]


def randomised_response(seed: int, epsilon: float = 2.0, canaries: int = 400) -> Evidence:
    """Each coin is told truly with probability e^eps / (1 + e^eps), by a loss below 1/2 for "in" and above for "out".

    That is exactly epsilon-differentially private, and no such mechanism tells more. With epsilon 0 it is pure noise.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 30])
    included = rng.random(canaries) < 0.5
    told = included == (rng.random(canaries) < 1 / (1 + np.exp(-epsilon)))
    return _evidence(seed, rng, included, 0.5 * rng.random(canaries) + np.where(told, 0.0, 0.5))


def shifted_losses(seed: int, shift: float = 1.0, canaries: int = 400) -> Evidence:
    """Normal losses with standard deviation 1, lower by ``shift`` for included canaries: AUC Phi(shift / sqrt 2).

    The log-likelihood ratio of one canary is unbounded, so epsilon is infinite at delta 0.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 31])
    included = rng.random(canaries) < 0.5
    return _evidence(seed, rng, included, rng.normal(size=canaries) - shift * included)


def _evidence(
    seed: int, rng: np.random.Generator, included: NDArray[np.bool_], losses: NDArray[np.float64]
) -> Evidence:
    from dataclasses import replace

    import numpy as np

    from ldm_eval.api import CANARY, Scores
    from ldm_eval.testing.evidence import PhantomEvidence, image_set
    from ldm_eval_privacy.empirical_epsilon import CANARY_LOSS, INCLUDED, LEFT_OUT

    pixels = rng.integers(0, 256, size=(len(included), 1, 4, 4), dtype=np.uint8)
    images = replace(image_set(pixels, "canaries"), groups={CANARY: np.where(included, INCLUDED, LEFT_OUT)})
    scores = Scores(np.arange(len(included)), losses[:, None].astype(np.float32))
    return PhantomEvidence(
        "privacy/empirical_epsilon",
        seed,
        images={"canaries": images},
        scores={CANARY_LOSS.name: {"canaries": scores}},
    )
