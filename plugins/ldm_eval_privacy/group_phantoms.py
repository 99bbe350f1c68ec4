"""Models that give away the training images of any group, or of one group more than of the others."""

from __future__ import annotations

from dataclasses import replace

from ldm_eval.api import Evidence
from ldm_eval_privacy.phantoms import smooth_images

__all__ = ["exposed_group", "partial_copier"]


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


def exposed_group(seed: int, shift: float = 2.0, other_shift: float = 0.0, images: int = 256) -> Evidence:
    """Losses of which only the law is of interest: N(0, 1) for holdout images, lower for members by group.

    Args:
        seed: Seed of everything.
        shift: By how much the losses of members with ``glasses: yes`` are lower; their AUC is Phi(shift / sqrt 2).
        other_shift: The same for ``glasses: no``.
        images: Of each set.
    """
    import numpy as np

    from ldm_eval.api import Role, Scores
    from ldm_eval.testing.evidence import PhantomEvidence, image_set
    from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, noise_levels

    rng = np.random.default_rng([seed, 51])
    roles: tuple[Role, ...] = ("training", "holdout")
    pixels = {role: smooth_images(rng, images) for role in roles}
    glasses = {role: rng.random(images) < 0.5 for role in roles}
    losses = {role: rng.normal(size=(images, len(noise_levels(DENOISING_LOSS.parameters)))) for role in roles}
    losses["training"] -= np.where(glasses["training"], shift, other_shift)[:, None]
    return PhantomEvidence(
        "privacy/group_exposure",
        seed,
        images={
            role: replace(
                image_set(pixels[role], role), groups={"glasses": np.where(glasses[role], "yes", "no").astype(np.str_)}
            )
            for role in roles
        },
        features={role: rng.normal(size=(images, 8)).astype(np.float32) for role in roles},
        scores={
            DENOISING_LOSS.name: {role: Scores(np.arange(images), losses[role].astype(np.float32)) for role in roles}
        },
    )
