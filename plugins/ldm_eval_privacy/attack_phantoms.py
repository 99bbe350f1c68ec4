"""Models whose leak through every attack is known: one that has memorised all or some images, and the exact law."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_eval.api import Denoiser, DiffusionParts, Evidence, NoiseSchedule

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["attacked", "exact_law", "memoriser"]

_SIDE = 6
_SPREAD = 0.25
_CENTRES = (-0.3, 0.0, 0.3)


def memoriser(
    seed: int,
    known: float = 1.0,
    check: str = "privacy/membership_attacks",
    members: int = 160,
    holdout: int = 160,
) -> Evidence:
    """The closed-form optimal denoiser of a share ``known`` of the training set: it has memorised those images.

    With all of them known every attack has an AUC near 1; with a few the AUC is near (1 + known)/2 at best.
    """
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.testing.denoisers import OptimalDenoiser

    inside, outside = _mixture_images(seed, members), _mixture_images(seed + 1_000_003, holdout)
    schedule = _schedule()
    learned = to_float(inside[: max(1, round(known * members))])
    return attacked(check, seed, inside, outside, schedule, OptimalDenoiser(learned, schedule))


def exact_law(seed: int, check: str = "privacy/membership_attacks", members: int = 160, holdout: int = 160) -> Evidence:
    """The exact denoiser of the Gaussian mixture that both sets are drawn from: it knows no image; AUC exactly 1/2."""
    import torch

    from ldm_eval.testing.denoisers import MixtureDenoiser

    schedule = _schedule()
    means = torch.tensor(_CENTRES).reshape(-1, 1, 1, 1).expand(-1, 1, _SIDE, _SIDE)
    denoiser = MixtureDenoiser(torch.ones(len(_CENTRES)), means, _SPREAD**2, schedule)
    inside, outside = _mixture_images(seed, members), _mixture_images(seed + 1_000_003, holdout)
    return attacked(check, seed, inside, outside, schedule, denoiser)


def attacked(
    check: str,
    seed: int,
    inside: NDArray[np.uint8],
    outside: NDArray[np.uint8],
    schedule: NoiseSchedule,
    denoiser: Denoiser,
) -> Evidence:
    """Evidence of both sets ``(N, C, H, W)`` with the scores of all attacks on a pixel model."""
    import numpy as np
    import torch

    from ldm_eval.api import Role, Scores
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.testing.evidence import PhantomEvidence, image_set
    from ldm_eval_privacy import attack_scores, denoising_loss
    from ldm_eval_privacy.attacks import ATTACKS, OWN

    channels, height, width = inside.shape[1:]
    parts = DiffusionParts(schedule, denoiser, (channels, height, width), torch.device("cpu"))
    functions = {
        "sima": attack_scores.sima,
        "pia": attack_scores.pia,
        "secmi": attack_scores.secmi,
        "denoising_loss": denoising_loss.score,
        "autoencoder_reconstruction": attack_scores.autoencoder,
    }
    sets: dict[Role, NDArray[np.uint8]] = {"training": inside, "holdout": outside}
    images: dict[Role, torch.Tensor] = {role: to_float(pixels) for role, pixels in sets.items()}
    specs = [attack.score for attack in (*ATTACKS, OWN)]
    mixing = np.random.Generator(np.random.PCG64(22)).normal(size=(inside[0].size, 16))
    return PhantomEvidence(
        check,
        seed,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        features={role: (pixels.reshape(len(pixels), -1) @ mixing).astype(np.float32) for role, pixels in sets.items()},
        scores={
            spec.name: {
                role: Scores(np.arange(len(given)), functions[spec.name](parts, given, seed, spec.parameters))
                for role, given in images.items()
            }
            for spec in specs
        },
    )


def _schedule() -> NoiseSchedule:
    from ldm_eval.diffusion.schedules import linear_schedule

    return linear_schedule(1000)


def _mixture_images(seed: int, n: int) -> NDArray[np.uint8]:
    """Grey levels of a mixture of three Gaussians in the model's range [-1, 1], rounded to 8 bits."""
    import numpy as np

    rng = np.random.default_rng([seed, 23])
    centres = np.asarray(_CENTRES)[rng.integers(len(_CENTRES), size=n)].reshape(-1, 1, 1, 1)
    values = 127.5 * (1 + centres + _SPREAD * rng.normal(size=(n, 1, _SIDE, _SIDE)))
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
