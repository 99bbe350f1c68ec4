"""Generators whose copies are known, seen through the features of a fixed random network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_eval.api import Evidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["feature_copier", "mode_shrinker", "random_features"]

_DIMENSION = 64
_FEATURE_LAW = 32


def random_features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``(N, 1, H, W) uint8 -> (N, 64) float32``: one fixed layer of random weights, rectified. Sees left from right."""
    import numpy as np

    flat = pixels.reshape(len(pixels), -1) / 127.5 - 1
    weights = np.random.Generator(np.random.PCG64(23)).normal(size=(flat.shape[1], _DIMENSION))
    return np.asarray(np.maximum(flat @ weights / np.sqrt(flat.shape[1]), 0.0), dtype=np.float32)


def feature_copier(
    seed: int,
    copy_rate: float = 0.1,
    samples: int = 400,
    training: int = 400,
    holdout: int = 400,
    grain: float = 4.0,
    mirrored: bool = False,
    repeated: int = 1,
    check: str = "privacy/feature_copies",
    private: Path | None = None,
) -> Evidence:
    """A generator that returns a training image with probability ``copy_rate`` and a fresh image otherwise.

    Args:
        seed: Seed of everything.
        copy_rate: The true copy rate.
        samples: Images generated.
        training: Different training images.
        holdout: Fresh real images; 0 for none.
        grain: Noise on a copy, standard deviation in grey levels; 0 copies exactly.
        mirrored: Copies are mirrored.
        repeated: How often the first training image is in the training set; with more than one, only it is copied.
        check: Check that it is for.
        private: Folder for private evidence.
    """
    import numpy as np

    from ldm_eval_privacy.phantoms import smooth_images

    rng = np.random.default_rng([seed, 24])
    members, made = smooth_images(rng, training), smooth_images(rng, samples)
    copied = rng.random(samples) < copy_rate
    source = members[rng.integers(1 if repeated > 1 else training, size=samples)]
    copies = np.clip(np.rint(source + grain * rng.normal(size=source.shape)), 0, 255).astype(np.uint8)
    made[copied] = (copies[..., ::-1] if mirrored else copies)[copied]
    seen = np.concatenate([members, np.repeat(members[:1], repeated - 1, axis=0)])
    fresh = smooth_images(rng, holdout) if holdout else None
    return _evidence(check, seed, made, seen, fresh, private)


def mode_shrinker(seed: int, shrink: float = 0.5, n: int = 400) -> Evidence:
    """A generator that copies nobody and whose images vary less than real ones: ``shrink`` times the spread."""
    import numpy as np

    rng = np.random.default_rng([seed, 25])

    def law(spread: float) -> NDArray[np.float32]:
        return (spread * rng.normal(size=(n, _FEATURE_LAW))).astype(np.float32)

    from ldm_eval.testing.evidence import PhantomEvidence

    features: Any = {"samples": law(shrink), "training": law(1.0), "holdout": law(1.0)}
    return PhantomEvidence("privacy/data_copying", seed, features=features)


def _evidence(
    check: str,
    seed: int,
    samples: NDArray[np.uint8],
    training: NDArray[np.uint8],
    holdout: NDArray[np.uint8] | None,
    private: Path | None,
) -> Evidence:
    from ldm_eval.api import Role
    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    sets: dict[Role, NDArray[np.uint8]] = {"samples": samples, "training": training}
    if holdout is not None:
        sets["holdout"] = holdout
    return PhantomEvidence(
        check,
        seed,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        features={role: random_features(pixels) for role, pixels in sets.items()},
        mirrored={role: random_features(pixels[..., ::-1]) for role, pixels in sets.items() if role != "training"},
        private=private,
    )
