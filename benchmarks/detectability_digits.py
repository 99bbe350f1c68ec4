"""Detectability and the probe on real digits: held-out MNIST against training MNIST, and against blurred holdout.

Run: OMP_NUM_THREADS=2 python benchmarks/detectability_digits.py
(needs the extra ``examples``; about two minutes on an idle machine)
"""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

import numpy as np
from ldm_eval_fairness.probe import fit_probe
from ldm_eval_misuse.detectability import Detectability
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ldm_eval.api import (
    AttributeContext,
    DataRef,
    ExtractorContext,
    FeatureExtractor,
    ImageSet,
    LabelledImages,
    Measurement,
)
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.testing.evidence import PhantomEvidence

SAMPLES = 450
SIGMAS = (0.3, 0.4, 0.5)


def main() -> None:
    catalogue = Catalogue.discover()
    extractor = catalogue.extractors["efficientnet-lite0"].load(ExtractorContext("cpu", True, Path(gettempdir())))
    mnist = catalogue.datasets["mnist"]
    generator = np.random.default_rng(0)
    train, holdout = (part(mnist.load(DataRef("mnist"), split), 1200, generator) for split in ("train", "holdout"))
    features = {name: extract(extractor, images.rgb()) for name, images in (("train", train), ("holdout", holdout))}
    probe = fit_probe(
        AttributeContext(
            "digit", LabelledImages(train, features["train"]), LabelledImages(holdout, features["holdout"]), 0
        )
    )
    counts = np.array(probe.confusion.counts)
    print(f"probe: recognised {np.trace(counts) / counts.sum():.3f}, unknown {counts[:, -1].sum() / counts.sum():.3f}")
    print(
        "| generated | accuracy | low | high | real against real | real called generated |\n|---|---|---|---|---|---|"
    )
    show("other real images (MNIST, training half)", features["train"][:SAMPLES], features["holdout"])
    for sigma in SIGMAS:
        blurred = gaussian_filter(train.pixels[:SAMPLES].astype(float), (0, 0, sigma, sigma)).round().astype(np.uint8)
        show(f"the same, blurred with sigma {sigma}", extract(extractor, np.repeat(blurred, 3, 1)), features["holdout"])


def part(images: ImageSet, n: int, generator: np.random.Generator) -> ImageSet:
    rows = generator.permutation(len(images))[:n]
    groups = {name: values[rows] for name, values in images.groups.items()}
    return ImageSet(
        images.name, images.split, images.pixels[rows], tuple(images.ids[i] for i in rows), images.digest, groups
    )


def extract(extractor: FeatureExtractor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return extractor.extract(images).values


def show(name: str, samples: NDArray[np.float32], holdout: NDArray[np.float32]) -> None:
    features = {"samples": samples, "holdout": holdout, "reference": holdout}
    found = Detectability().run(PhantomEvidence("misuse/detectability", 0, features=features))
    accuracy, alarms = (each for each in found if isinstance(each, Measurement))
    low, high = accuracy.interval.low, accuracy.interval.high
    print(f"| {name} | {accuracy.value:.3f} | {low:.3f} | {high:.3f} | {accuracy.floor:.3f} | {alarms.value:.3f} |")


if __name__ == "__main__":
    main()
