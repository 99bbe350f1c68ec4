"""Phantoms for checks that read classes, prompts, pixels' spectra or a file's moments; each has a closed form."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Evidence

__all__ = ["against_statistics", "conditional", "prompted", "spectra"]


def against_statistics(seed: int, *, shift: float, dimension: int = 16, n: int = 600) -> Evidence:
    """Samples from N(shift, I) against the exact moments of N(0, I).

    Squared Fréchet distance ``dimension * shift^2``; its expectation at n samples is larger by about
    ``dimension / n + dimension * (dimension + 1) / (4 n)``.
    """
    from ldm_eval.api import FeatureStatistics
    from ldm_eval.testing.evidence import PhantomEvidence

    rng = np.random.default_rng((seed, 11))
    samples = (shift + rng.standard_normal((n, dimension))).astype(np.float32)
    mean, covariance = np.zeros(dimension), np.eye(dimension)
    digest = hashlib.sha256(mean.tobytes() + covariance.tobytes()).hexdigest()
    statistics = FeatureStatistics("N(0, I)", mean, covariance, None, digest)
    return PhantomEvidence("quality/frechet_to_statistics", seed, features={"samples": samples}, statistics=statistics)


def conditional(
    seed: int,
    *,
    shift: float,
    classes: int = 4,
    n: int = 100,
    m: int = 300,
    dimension: int = 8,
    exchanged: bool = False,
) -> Evidence:
    """Classes around far centres; every feature of the first one's samples is ``shift`` standard deviations off.

    The excess of that class is ``dimension * shift^2`` in expectation at every n, that of the others 0. ``exchanged``:
    the samples of the first two classes bear each other's label, which no number about all samples can see.
    """
    from dataclasses import replace

    from ldm_eval.testing.evidence import PhantomEvidence, set_of_features

    rng = np.random.default_rng((seed, 14))
    centres = 10.0 * np.eye(classes, dimension)
    labels = {"samples": np.repeat(np.arange(classes), n), "reference": np.repeat(np.arange(classes), m)}
    features = {
        role: (centres[known] + rng.standard_normal((len(known), dimension))).astype(np.float32)
        for role, known in labels.items()
    }
    features["samples"][:n] += np.float32(shift)
    if exchanged:
        labels["samples"] = np.where(labels["samples"] < 2, 1 - labels["samples"], labels["samples"])
    images = {role: replace(set_of_features(one, role), labels=labels[role]) for role, one in features.items()}
    return PhantomEvidence("quality/per_class", seed, images=images, features=features)  # type: ignore[arg-type]


def spectra(
    seed: int, *, blur: float = 0.0, noise: float = 0.0, n: int = 120, m: int = 240, side: int = 32
) -> Evidence:
    """Textures with power falling as 1/f^2 and contrasts that vary, ``blur`` pixels blurred, against sharp ones.

    The blur takes ``40 pi^2 blur^2 f^2 / ln 10`` dB at f cycles per pixel (periodic, before rounding). ``noise`` adds
    white noise of so many grey levels.
    """
    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    rng = np.random.default_rng((seed, 12))
    samples, reference = _textures(rng, n, side, blur, noise), _textures(rng, m, side)
    images = {"samples": image_set(samples, "textures"), "reference": image_set(reference, "textures")}
    return PhantomEvidence("quality/power_spectrum", seed, images=images)  # type: ignore[arg-type]


def _textures(
    rng: np.random.Generator, count: int, side: int, blur: float = 0.0, noise: float = 0.0
) -> NDArray[np.uint8]:
    """``(count, 1, side, side)``: periodic Gaussian fields, of 12 grey levels on the average image."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    frequency[0, 0] = 1.0
    fall = 1.0 / frequency
    fall[0, 0] = 0.0
    white = np.fft.fft2(rng.standard_normal((count, side, side)))
    fields = np.fft.ifft2(white * fall * np.exp(-2.0 * np.square(np.pi * blur * frequency))).real
    contrast = 12.0 * np.exp(0.3 * rng.standard_normal((count, 1, 1))) / np.sqrt(np.mean(np.square(fall)))
    levels = 128.0 + contrast * fields + noise * rng.standard_normal(fields.shape)
    return np.asarray(np.rint(levels).clip(0, 255), dtype=np.uint8)[:, None]


def prompted(
    seed: int,
    *,
    obeys: float,
    prompts: int = 40,
    images_per_prompt: int = 4,
    dimension: int = 24,
    captions: bool = False,
) -> Evidence:
    """Images that show their prompt with probability ``obeys``, and a subject of their own otherwise.

    An image is its subject's direction plus noise of half its length; prompts are random directions. The gain over
    shuffled prompts is exactly 0 in expectation at ``obeys`` 0 and proportional to it. ``captions`` adds a reference
    whose images all show what their captions say.
    """
    from dataclasses import replace

    from ldm_eval.api import ExtractorInfo
    from ldm_eval.testing.evidence import PhantomEvidence, set_of_features

    rng = np.random.default_rng((seed, 13))
    asked = np.repeat(np.arange(prompts), images_per_prompt)
    texts = _directions(rng, prompts, dimension)[asked]
    shown = {"samples": np.where(rng.random((len(asked), 1)) < obeys, texts, _directions(rng, len(asked), dimension))}
    if captions:
        shown["reference"] = texts
    noise = 0.5 / np.sqrt(dimension)
    features = {
        role: (subjects + noise * rng.standard_normal(subjects.shape)).astype(np.float32)
        for role, subjects in shown.items()
    }
    names = np.array([f"prompt {number}" for number in asked])
    return PhantomEvidence(
        "quality/clip_score",
        seed,
        images={role: replace(set_of_features(one, role), prompts=names) for role, one in features.items()},  # type: ignore[misc]
        features=features,  # type: ignore[arg-type]
        text={role: texts.astype(np.float32) for role in features},  # type: ignore[misc]
        extractor=ExtractorInfo("phantom", "0" * 64, dimension, None, "none", "Apache-2.0", text=True),
    )


def _directions(rng: np.random.Generator, count: int, dimension: int) -> NDArray[np.float64]:
    rows = rng.standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float64)
