"""Phantoms that prove the checks of this plugin: sets whose distances are known, and models whose bound is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Denoiser, Evidence, NoiseSchedule, Role

__all__ = ["bound_of_law", "bound_of_memoriser", "classified", "copier", "gaussian", "modes"]

_SHAPE, _VARIANCE = (1, 6, 6), 0.0625


def gaussian(
    seed: int,
    *,
    check: str,
    dimension: int = 16,
    n: int = 600,
    m: int = 1200,
    shift: float = 0.0,
    scale: float = 1.0,
) -> Evidence:
    """Samples from N(shift, scale^2 I) against a reference from N(0, I).

    Squared Fréchet distance ``dimension * (shift^2 + (scale - 1)^2)``; at scale 1 that is also the exact expectation of
    the excess over the floor at every n. Kernel distance: ``stats.kernels.polynomial_mmd_of_gaussians``. A ``scale``
    below one is a blurrer, above one a noisy model.
    """
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 1))
    samples = shift + scale * rng.standard_normal((n, dimension))
    reference = rng.standard_normal((m, dimension))
    return PhantomEvidence(
        check,
        seed,
        features={"samples": samples.astype(np.float32), "reference": reference.astype(np.float32)},
    )


def copier(seed: int, *, check: str, copied: float, dimension: int = 16, n: int = 400, m: int = 400) -> Evidence:
    """Samples of which the share ``copied`` repeats training images and the rest is new; all sets are from N(0, I).

    The reference is the holdout set. In expectation the samples are closer to training than to holdout.
    """
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 2))
    training, holdout = rng.standard_normal((2, m, dimension)).astype(np.float32)
    samples = rng.standard_normal((n, dimension)).astype(np.float32)
    copies = round(copied * n)
    samples[:copies] = training[rng.permutation(m)[:copies]] if copies <= m else training[rng.integers(m, size=copies)]
    features: dict[Role, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {
        "samples": samples,
        "reference": holdout,
        "training": training,
        "holdout": holdout,
    }
    return PhantomEvidence(check, seed, features=features)


def modes(
    seed: int, *, modes_drawn: int, dimension: int = 8, n: int = 400, m: int = 400, noise: float = 1.0
) -> Evidence:
    """Samples from the first ``modes_drawn`` of eight far modes of the reference; ``noise`` above one spreads them.

    A mode dropper lowers recall to about ``modes_drawn / 8`` of what real data reaches and leaves precision as it is;
    noise lowers precision.
    """
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 3))
    centres = 20.0 * np.eye(8, dimension)
    reference = centres[rng.integers(8, size=m)] + rng.standard_normal((m, dimension))
    samples = centres[rng.integers(modes_drawn, size=n)] + noise * rng.standard_normal((n, dimension))
    return PhantomEvidence(
        "quality/precision_recall",
        seed,
        features={"samples": samples.astype(np.float32), "reference": reference.astype(np.float32)},
    )


def classified(seed: int, *, classes_drawn: int, confidence: float, classes: int = 10, n: int = 500) -> Evidence:
    """Logits of ``confidence`` for one of the first ``classes_drawn`` classes per sample, zero for the others.

    The score tends to ``classes_drawn`` for sure logits and to 1 for ``confidence`` 0. The reference draws all classes.
    """
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 4))
    names = np.eye(classes, dtype=np.float32)
    samples = np.float32(confidence) * names[rng.integers(classes_drawn, size=n)]
    reference = np.float32(12.0) * names[rng.integers(classes, size=n)]
    return PhantomEvidence("quality/inception_score", seed, logits={"samples": samples, "reference": reference})


def bound_of_memoriser(seed: int, *, n: int = 40, m: int = 40) -> Evidence:
    """Scores under the closed-form optimal denoiser of the training set: cheap to code, and ruinous on holdout."""
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.diffusion.schedules import linear_schedule
    from ldm_eval.testing.denoisers import OptimalDenoiser

    training, holdout = _levels(seed, n), _levels(seed + 1_000_003, m)
    schedule = linear_schedule(1000)
    return _bound(seed, training, holdout, schedule, OptimalDenoiser(to_float(training), schedule))


def bound_of_law(seed: int, *, n: int = 40, m: int = 40) -> Evidence:
    """Scores under the exact denoiser of the law that both sets are drawn from: the gap is 0 in expectation."""
    import torch

    from ldm_eval.diffusion.schedules import linear_schedule
    from ldm_eval.testing.denoisers import GaussianDenoiser

    schedule = linear_schedule(1000)
    denoiser = GaussianDenoiser(torch.zeros(_SHAPE), _VARIANCE, schedule)
    return _bound(seed, _levels(seed, n), _levels(seed + 1_000_003, m), schedule, denoiser)


def _levels(seed: int, n: int) -> NDArray[np.uint8]:
    """``(n, 1, 6, 6)``: N(0, 1/16) in every pixel of the model's range [-1, 1], rounded to the 256 levels."""
    rng = np.random.default_rng((seed, 5))
    values = 127.5 * (1 + _VARIANCE**0.5 * rng.standard_normal((n, *_SHAPE)))
    return np.asarray(np.rint(values).clip(0, 255), dtype=np.uint8)


def _bound(
    seed: int, training: NDArray[np.uint8], holdout: NDArray[np.uint8], schedule: NoiseSchedule, denoiser: Denoiser
) -> Evidence:
    import torch

    from ldm_eval.api import DiffusionParts, Scores
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.testing.evidence import PhantomEvidence, image_set
    from ldm_eval_quality.variational_bound_score import VARIATIONAL_BOUND, score

    parts = DiffusionParts(schedule, denoiser, _SHAPE, torch.device("cpu"))
    sets: dict[Role, NDArray[np.uint8]] = {"training": training, "holdout": holdout}
    scores = {
        role: Scores(np.arange(len(pixels)), score(parts, to_float(pixels), seed, VARIATIONAL_BOUND.parameters))
        for role, pixels in sets.items()
    }
    return PhantomEvidence(
        "quality/variational_bound",
        seed,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        scores={VARIATIONAL_BOUND.name: scores},
    )
