"""What the calibrated rule of privacy/feature_copies finds of altered copies, with EfficientNet-Lite0.

python benchmarks/feature_copy_rule.py portraits|mnist     (about a minute each)
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from ldm_eval_features import ldm_eval_extractors
from ldm_eval_privacy.feature_space import fit_space, match
from near_copy_rule import mnist
from numpy.typing import NDArray
from PIL import Image

from ldm_eval.api import DataRef, ExtractorContext
from ldm_eval.stats.roc import threshold_at

Pixels = NDArray[np.uint8]
COPIES, TRAINING, HOLDOUT = 100, 800, 400


def sets(name: str) -> tuple[Pixels, Pixels]:
    if name == "mnist":
        images = np.repeat(mnist()[np.random.default_rng(0).permutation(5000)], 3, axis=1)
        return images[:TRAINING], images[TRAINING : TRAINING + HOLDOUT]
    from ldm_eval_demo import ldm_eval_datasets

    spec = next(one for one in ldm_eval_datasets() if one.holdout_split)
    training, holdout = (spec.load(DataRef(spec.name), split).pixels for split in (spec.splits[0], spec.holdout_split))
    return training[:TRAINING], holdout[:HOLDOUT]


def jpeg(pixels: Pixels) -> Pixels:
    def one(image: Pixels) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=75)
        return np.asarray(Image.open(buffer)).transpose(2, 0, 1)

    return np.stack([one(image) for image in pixels])


def crop(pixels: Pixels) -> Pixels:
    def one(image: Pixels) -> Pixels:
        picture = Image.fromarray(image.transpose(1, 2, 0))
        width, height = picture.size
        box = (0.05 * width, 0.05 * height, 0.95 * width, 0.95 * height)
        resized = picture.resize((width, height), Image.Resampling.BICUBIC, box=box)
        return np.asarray(resized).transpose(2, 0, 1)

    return np.stack([one(image) for image in pixels])


def recolour(pixels: Pixels) -> Pixels:
    warmer = pixels * np.array([1.1, 0.95, 0.8])[:, None, None]
    return np.clip(np.rint(warmer), 0, 255).astype(np.uint8)


ALTERATIONS = {
    "nothing": lambda x: x,
    "mirror": lambda x: x[..., ::-1],
    "crop to 90 %, resized back": crop,
    "darkening to 80 %": lambda x: np.rint(x * 0.8).astype(np.uint8),
    "warmer colours": recolour,
    "JPEG 75": jpeg,
}


def main() -> None:
    training, holdout = sets(sys.argv[1])
    network = ldm_eval_extractors()[0].load(ExtractorContext("cpu", True, Path.home() / ".cache"))

    def features(pixels: Pixels) -> NDArray[np.float32]:
        return np.asarray(network.extract(np.ascontiguousarray(pixels)).values)

    known = features(training)
    space = fit_space(known, network.info.name, np.random.default_rng(0))
    index = space.rows(known)

    def similarity(pixels: Pixels) -> NDArray[np.float64]:
        both = (space.rows(features(part)) for part in (pixels, pixels[..., ::-1]))
        return match(*both, index, lambda done, total: None).similarity

    fresh = similarity(holdout)
    cut = threshold_at(fresh[::2], 0.01)
    print(f"{sys.argv[1]}: threshold {cut:.3f}; passed by {(fresh[1::2] > cut).mean():.1%} of other holdout images")
    for name, alter in ALTERATIONS.items():
        print(f"{name}: {(similarity(alter(training[:COPIES])) > cut).mean():.0%} of {COPIES} found")


if __name__ == "__main__":
    main()
