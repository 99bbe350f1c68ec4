"""Training and holdout sets whose duplicates, overlap and codec are known."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_eval.api import Evidence
from ldm_eval_privacy.phantoms import smooth_images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["as_jpeg", "two_sets"]


def two_sets(
    seed: int,
    quality: int = 0,
    images: int = 300,
    repeated: int = 1,
    shared: int = 0,
    mirrored: int = 0,
    private: Path | None = None,
) -> Evidence:
    """Two sets of ``images`` fresh images each, drawn by one law.

    Args:
        seed: Seed of everything.
        quality: The holdout went through a JPEG of this quality; 0: it did not.
        images: Different images of each set.
        repeated: How often the first training image is in the training set.
        shared: So many holdout images are training images.
        mirrored: So many further ones are training images mirrored.
        private: Folder for private evidence.
    """
    import numpy as np

    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    rng = np.random.default_rng([seed, 30])
    inside, outside = smooth_images(rng, images), smooth_images(rng, images)
    outside[:shared] = inside[:shared]
    outside[shared : shared + mirrored] = inside[shared : shared + mirrored, ..., ::-1]
    if quality:
        outside = as_jpeg(outside, quality)
    inside = np.concatenate([inside, np.repeat(inside[:1], repeated - 1, axis=0)])
    mixing = np.random.Generator(np.random.PCG64(31)).normal(size=(inside[0].size, 16))
    sets = {"training": inside, "holdout": outside}
    return PhantomEvidence(
        "privacy/training_set",
        seed,
        images={"training": image_set(inside, "training"), "holdout": image_set(outside, "holdout")},
        features={
            "training": (sets["training"].reshape(len(inside), -1) @ mixing).astype(np.float32),
            "holdout": (sets["holdout"].reshape(len(outside), -1) @ mixing).astype(np.float32),
        },
        private=private,
    )


def as_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """``(N, 1, H, W)`` grey images through a JPEG."""
    import numpy as np
    from PIL import Image

    out = np.empty_like(pixels)
    for row, image in enumerate(pixels):
        stream = io.BytesIO()
        Image.fromarray(image[0]).save(stream, "JPEG", quality=quality)
        out[row, 0] = np.asarray(Image.open(stream))
    return out
