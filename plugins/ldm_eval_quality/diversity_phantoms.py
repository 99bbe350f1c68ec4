"""Phantoms for the measures of variety: sets drawn from some modes, and sets drawn towards their middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Evidence, Role

__all__ = ["variety"]

_MODES = 8


def variety(
    seed: int,
    *,
    check: str,
    modes_drawn: int = _MODES,
    scale: float = 1.0,
    dimension: int = 24,
    n: int = 300,
    m: int = 600,
    companions: bool = False,
) -> Evidence:
    """Samples of the first ``modes_drawn`` of eight modes, drawn towards the middle of all by ``scale``.

    Row = 0.5 + 3 e_k + N(0, I) in the reference. A mode dropper has fewer modes; a blurrer has a ``scale`` below one:
    all its images lie nearer their mean. With eight modes and scale 1 samples and reference have one distribution.
    ``companions`` adds training and holdout sets; the holdout is then the reference.
    """
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 6))
    middle = 0.5 + 3.0 * np.eye(_MODES, dimension).mean(axis=0)
    samples = middle + scale * (_draw(rng, n, modes_drawn, dimension) - middle)
    reference = _draw(rng, m, _MODES, dimension)
    features: dict[Role, NDArray[np.float32]] = {
        "samples": samples.astype(np.float32),
        "reference": reference.astype(np.float32),
    }
    if companions:
        features["training"] = _draw(rng, m, _MODES, dimension).astype(np.float32)
        features["holdout"] = features["reference"]
    return PhantomEvidence(check, seed, features=features)


def _draw(rng: np.random.Generator, n: int, modes: int, dimension: int) -> NDArray[np.float64]:
    centres = 3.0 * np.eye(_MODES, dimension)
    drawn: NDArray[np.float64] = 0.5 + centres[rng.integers(modes, size=n)] + rng.standard_normal((n, dimension))
    return drawn
