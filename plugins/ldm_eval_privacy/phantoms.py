"""Models whose leak is known: a copier with a chosen rate, a perfect memoriser, and the exact law."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ldm_eval.api import Denoiser, DiffusionParts, Evidence, NoiseSchedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["copier", "exact_law", "memoriser", "smooth_images"]

_SIDE = 12
_MEMBERSHIP_SIDE = 6


def smooth_images(rng: np.random.Generator, n: int, latent: int = 24) -> NDArray[np.uint8]:
    """``(n, 1, 12, 12) uint8`` images of one law: a fixed random map of ``latent`` normal numbers each.

    With 24 numbers an image two draws never resemble each other; with 2 or 3 they often do, as small digits do.
    """
    import numpy as np

    fixed = np.random.Generator(np.random.PCG64(latent))
    basis = fixed.normal(size=(latent, _SIDE * _SIDE)) / np.sqrt(latent)
    values = 127.5 + 110 * np.tanh(rng.normal(size=(n, latent)) @ basis)
    return np.asarray(np.rint(values).reshape(n, 1, _SIDE, _SIDE), dtype=np.uint8)


def copier(
    seed: int,
    copy_rate: float = 0.1,
    samples: int = 400,
    training: int = 400,
    holdout: int = 400,
    grain: float = 1.0,
    mirrored: bool = False,
    repeated: int = 1,
    latent: int = 24,
    private: Path | None = None,
) -> Evidence:
    """A generator that returns a training image with probability ``copy_rate`` and a fresh image otherwise.

    Args:
        seed: Seed of everything.
        copy_rate: The true near-copy rate (with many latent numbers a fresh image is never near).
        samples: Images generated.
        training: Different training images.
        holdout: Fresh real images; 0 for none.
        grain: Noise on a copy, standard deviation in grey levels; 0 copies exactly.
        mirrored: Copies are mirrored.
        repeated: How often the first training image is in the training set; with more than one, only it is copied.
        latent: See ``smooth_images``.
        private: Folder for private evidence.
    """
    import numpy as np

    from ldm_eval.api import ImageSet, Role
    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    rng = np.random.default_rng([seed, 20])
    members = smooth_images(rng, training, latent)
    made = smooth_images(rng, samples, latent)
    copied = rng.random(samples) < copy_rate
    source = members[rng.integers(1 if repeated > 1 else training, size=samples)]
    copies = np.clip(np.rint(source + grain * rng.normal(size=source.shape)), 0, 255).astype(np.uint8)
    made[copied] = (copies[..., ::-1] if mirrored else copies)[copied]
    seen = np.concatenate([members, np.repeat(members[:1], repeated - 1, axis=0)])
    sets: dict[Role, ImageSet] = {"samples": image_set(made, "samples"), "training": image_set(seen, "training")}
    if holdout:
        sets["holdout"] = image_set(smooth_images(rng, holdout, latent), "holdout")
    return PhantomEvidence("privacy/near_copies", seed, images=sets, private=private)


def memoriser(seed: int, members: int = 160, holdout: int = 160) -> Evidence:
    """The closed-form optimal denoiser of the training set: it has memorised every image; AUC near 1."""
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.testing.denoisers import OptimalDenoiser

    schedule = _schedule()
    inside, outside = _gaussian_images(seed, members), _gaussian_images(seed + 1_000_003, holdout)
    return _evidence(seed, inside, outside, schedule, OptimalDenoiser(to_float(inside), schedule))


def exact_law(seed: int, members: int = 160, holdout: int = 160) -> Evidence:
    """The exact denoiser of the law that training and holdout are drawn from: it knows no image; AUC exactly 1/2."""
    import torch

    from ldm_eval.testing.denoisers import GaussianDenoiser

    schedule = _schedule()
    inside, outside = _gaussian_images(seed, members), _gaussian_images(seed + 1_000_003, holdout)
    mean = torch.zeros((1, _MEMBERSHIP_SIDE, _MEMBERSHIP_SIDE))
    return _evidence(seed, inside, outside, schedule, GaussianDenoiser(mean, _VARIANCE, schedule))


_VARIANCE = 0.0625


def _schedule() -> NoiseSchedule:
    from ldm_eval.diffusion.schedules import linear_schedule

    return linear_schedule(1000)


def _gaussian_images(seed: int, n: int) -> NDArray[np.uint8]:
    """N(0, 1/16) in every pixel of the model's range [-1, 1], rounded to 8 bits (clipped in 6 of 100,000 pixels)."""
    import numpy as np

    rng = np.random.default_rng([seed, 21])
    values = 127.5 * (1 + np.sqrt(_VARIANCE) * rng.normal(size=(n, 1, _MEMBERSHIP_SIDE, _MEMBERSHIP_SIDE)))
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _evidence(
    seed: int, inside: NDArray[np.uint8], outside: NDArray[np.uint8], schedule: NoiseSchedule, denoiser: Denoiser
) -> Evidence:
    import numpy as np
    import torch

    from ldm_eval.api import Role, Scores
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.testing.evidence import PhantomEvidence, image_set
    from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, score

    shape = (1, _MEMBERSHIP_SIDE, _MEMBERSHIP_SIDE)
    parts = DiffusionParts(schedule, denoiser, shape, torch.device("cpu"))
    sets: dict[Role, NDArray[np.uint8]] = {"training": inside, "holdout": outside}
    scores = {
        role: Scores(np.arange(len(pixels)), score(parts, to_float(pixels), seed, DENOISING_LOSS.parameters))
        for role, pixels in sets.items()
    }
    mixing = np.random.Generator(np.random.PCG64(22)).normal(size=(_MEMBERSHIP_SIDE**2, 16))
    return PhantomEvidence(
        "privacy/membership_loss",
        seed,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        features={role: (pixels.reshape(len(pixels), -1) @ mixing).astype(np.float32) for role, pixels in sets.items()},
        scores={DENOISING_LOSS.name: scores},
    )
