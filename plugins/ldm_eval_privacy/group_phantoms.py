"""A generator that gives out training images of any group, or of one group alone."""

from __future__ import annotations

from dataclasses import replace

from ldm_eval.api import Evidence
from ldm_eval_privacy.phantoms import smooth_images

__all__ = ["partial_copier"]


def partial_copier(
    seed: int, skewed: bool = True, copy_rate: float = 0.15, samples: int = 400, training: int = 400
) -> Evidence:
    """A copier of training images that are half ``yes`` and half ``no``, and of three further groups of a third each.

    Args:
        seed: Seed of everything.
        skewed: True to copy images of ``yes`` only; False to copy any, so that the gap is exactly 0.
        copy_rate: Share of samples that are copies.
        samples: Images generated.
        training: Different training images.
    """
    import numpy as np

    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    rng = np.random.default_rng([seed, 50])
    members, made = smooth_images(rng, training), smooth_images(rng, samples)
    glasses = np.array(["yes", "no"])[np.arange(training) % 2]
    age = np.array(["child", "adult", "older"])[np.arange(training) % 3]
    copied = rng.random(samples) < copy_rate
    source = rng.integers(training, size=samples)
    source -= source % 2 if skewed else 0
    made[copied] = members[source[copied]]
    seen = replace(image_set(members, "training"), groups={"glasses": glasses, "age band": age})
    return PhantomEvidence(
        "privacy/group_leakage", seed, images={"samples": image_set(made, "samples"), "training": seen}
    )
