"""Networks whose leak through gradients is known: one fitted to its training images, and one of the law itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_eval.api import DiffusionParts, Evidence

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["exact_network", "fitted_network"]

_SIDE = 10
_SPREAD = 0.25


def fitted_network(seed: int, members: int = 80, holdout: int = 80) -> Evidence:
    """A linear network fitted to fewer images than they have pixels: it knows the space they span; AUC near 1."""
    import torch

    from ldm_eval.diffusion.quantise import to_float

    inside, outside = _images(seed, members), _images(seed + 1_000_003, holdout)
    rows = to_float(inside).flatten(1).to(torch.float64)
    return _evidence(seed, inside, outside, rows.T @ rows / len(rows))


def exact_network(seed: int, members: int = 80, holdout: int = 80) -> Evidence:
    """The same network with the second moment of the law: it knows no image; AUC exactly 1/2."""
    import torch

    inside, outside = _images(seed, members), _images(seed + 1_000_003, holdout)
    return _evidence(seed, inside, outside, _SPREAD**2 * torch.eye(_SIDE**2, dtype=torch.float64))


def _images(seed: int, n: int) -> NDArray[np.uint8]:
    """N(0, 1/16) in every pixel of the model's range [-1, 1], rounded to 8 bits."""
    import numpy as np

    values = 127.5 * (1 + _SPREAD * np.random.default_rng([seed, 24]).normal(size=(n, 1, _SIDE, _SIDE)))
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _evidence(seed: int, inside: NDArray[np.uint8], outside: NDArray[np.uint8], moment: torch.Tensor) -> Evidence:
    import numpy as np
    import torch

    from ldm_eval.api import Role, Scores
    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.diffusion.schedules import linear_schedule
    from ldm_eval.testing.evidence import PhantomEvidence, image_set
    from ldm_eval_privacy.denoising_loss import noise_levels
    from ldm_eval_privacy.gradient_norms import GRADIENT_NORMS, gradient_norms
    from ldm_eval_privacy.linear_network import LinearNetwork

    schedule = linear_schedule(1000)
    timesteps = [int(level * schedule.steps) for level in noise_levels(GRADIENT_NORMS.parameters)]
    network = LinearNetwork(moment, schedule, timesteps)
    parts = DiffusionParts(schedule, network, (1, _SIDE, _SIDE), torch.device("cpu"), weights=network)
    sets: dict[Role, NDArray[np.uint8]] = {"training": inside, "holdout": outside}
    mixing = np.random.Generator(np.random.PCG64(22)).normal(size=(_SIDE**2, 16))
    return PhantomEvidence(
        "privacy/gradient_attack",
        seed,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        features={role: (pixels.reshape(len(pixels), -1) @ mixing).astype(np.float32) for role, pixels in sets.items()},
        scores={
            GRADIENT_NORMS.name: {
                role: Scores(
                    np.arange(len(pixels)), gradient_norms(parts, to_float(pixels), seed, GRADIENT_NORMS.parameters)
                )
                for role, pixels in sets.items()
            }
        },
    )
