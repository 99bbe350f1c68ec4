"""Generators that give out training images, that always make the same pictures, or that do neither."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence
from ldm_eval_privacy.phantoms import smooth_images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["extractor", "holdout_replay", "repeater"]


def extractor(
    seed: int,
    copy_rate: float = 0.1,
    samples: int = 400,
    training: int = 400,
    holdout: int = 400,
    extractable: int = 0,
    grain: float = 1.0,
    mirrored: bool = False,
    repeated: int = 1,
    private: Path | None = None,
) -> Evidence:
    """A generator that gives out a training image with probability ``copy_rate`` and a fresh image otherwise.

    Args:
        seed: Seed of everything.
        copy_rate: How often; any of the extractable images equally often.
        samples: Images generated.
        training: Different training images.
        holdout: Fresh real images; 0 for none.
        extractable: So many training images are given out; 0: all of them.
        grain: Noise on a copy, standard deviation in grey levels.
        mirrored: Copies are mirrored.
        repeated: How often the first training image is in the training set.
        private: Folder for private evidence.
    """
    import numpy as np

    rng = np.random.default_rng([seed, 40])
    members, made = smooth_images(rng, training), smooth_images(rng, samples)
    copied = rng.random(samples) < copy_rate
    source = members[rng.integers(extractable or training, size=samples)]
    copies = np.clip(np.rint(source + grain * rng.normal(size=source.shape)), 0, 255).astype(np.uint8)
    made[copied] = (copies[..., ::-1] if mirrored else copies)[copied]
    seen = np.concatenate([members, np.repeat(members[:1], repeated - 1, axis=0)])
    return _evidence(seed, made, seen, smooth_images(rng, holdout) if holdout else None, private)


def holdout_replay(seed: int, samples: int = 400, training: int = 400) -> Evidence:
    """A generator that gives out real images it never saw, the very holdout, each once. It extracts nothing."""
    import numpy as np

    rng = np.random.default_rng([seed, 41])
    members, outside = smooth_images(rng, training), smooth_images(rng, samples)
    return _evidence(seed, rng.permutation(outside), members, outside, None)


def repeater(
    seed: int, pictures: int = 3, rate: float = 0.1, samples: int = 400, holdout: int = 400, private: Path | None = None
) -> Evidence:
    """A generator that makes one of ``pictures`` pictures with probability ``rate``; its training set is not known."""
    import numpy as np

    rng = np.random.default_rng([seed, 42])
    made, fixed = smooth_images(rng, samples), smooth_images(rng, pictures)
    again = rng.random(samples) < rate
    same = np.clip(fixed[rng.integers(pictures, size=samples)] + rng.normal(size=made.shape), 0, 255)
    made[again] = np.rint(same).astype(np.uint8)[again]
    made[::2] = made[::2, ..., ::-1]
    return _evidence(seed, made, None, smooth_images(rng, holdout) if holdout else None, private)


def _evidence(
    seed: int,
    samples: NDArray[np.uint8],
    training: NDArray[np.uint8] | None,
    holdout: NDArray[np.uint8] | None,
    private: Path | None,
) -> Evidence:
    from ldm_eval.api import ImageSet, Role
    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    sets: dict[Role, ImageSet] = {"samples": image_set(samples, "samples")}
    if training is not None:
        sets["training"] = image_set(training, "training")
    if holdout is not None:
        sets["holdout"] = image_set(holdout, "holdout")
    return PhantomEvidence("privacy/extraction", seed, images=sets, private=private)
