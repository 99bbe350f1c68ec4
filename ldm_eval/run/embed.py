"""Features once per (images, extractor), and of prompts once per (prompts, extractor)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    ExtractorContext,
    ExtractorSpec,
    FeatureExtractor,
    Features,
    ImageSet,
    Role,
    TextExtractor,
)
from ldm_eval.errors import ConfigError, PluginError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue, blamed_on, unavailable_reason
from ldm_eval.run.config import RunConfig
from ldm_eval.run.progress import Progress
from ldm_eval.stats.digests import image_digest
from ldm_eval.store.features import FeatureStore, StoredFeatures, default_cache_dir

__all__ = [
    "Embedding",
    "brought_digests",
    "cache_dir",
    "embed_prompts",
    "embed_sets",
    "load_extractors",
    "mirrored",
    "refuse_unknown_features",
]

_CHUNK = 256
"""Images per call of the extractor; it cuts them into batches of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What one embedding needs beside the images.

    ``computed_on`` names what decides how sums are rounded (see FeatureStore).
    """

    extractor: FeatureExtractor
    computed_on: str
    store: FeatureStore
    progress: Progress


def load_extractors(config: RunConfig, device: str, catalogue: Catalogue) -> tuple[FeatureExtractor, ...]:
    """The extractors of the run, ready; the first is the one that every check uses.

    Raises:
        ConfigError: when one is unknown or named twice, or its weights are missing.
    """
    specs = [_extractor_spec(name, catalogue) for name in config.extractor or ("",)]
    names = [spec.name for spec in specs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"--extractor {','.join(config.extractor)}: {twice[0]} is named twice.")
    weights = _weights(config.extractor_weights, names)
    loaded = []
    for spec in specs:
        with blamed_on(f"The extractor '{spec.name}'"):
            context = ExtractorContext(device, config.offline, cache_dir(config), weights.get(spec.name))
            loaded.append(spec.load(context))
    return tuple(loaded)


def cache_dir(config: RunConfig) -> Path:
    """Where features and downloaded weights are kept."""
    return Path(config.cache_dir).expanduser() if config.cache_dir else default_cache_dir()


def _weights(given: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """Extractor -> file, from ``FILE`` (for the first extractor) and ``NAME=FILE``."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        named = bool(equals) and name in names
        if not named and equals and not Path(text).expanduser().exists():
            raise ConfigError(
                f"--extractor-weights {text}: this run has no extractor '{name}'; it has {', '.join(names)}."
                f"{did_you_mean(name, names)}"
            )
        found[name if named else names[0]] = Path(file if named else text).expanduser()
    if len(found) < len(given):
        raise ConfigError(
            f"--extractor-weights {','.join(given)}: two files for one extractor; say NAME=FILE for each of "
            f"{', '.join(names)}."
        )
    return found


def _extractor_spec(name: str, catalogue: Catalogue) -> ExtractorSpec:
    known = catalogue.extractors
    if not known:
        raise ConfigError("No feature extractor is installed; `ldm-eval plugins` shows what went wrong.")
    chosen = name or next(iter(known))
    if chosen not in known:
        hint = did_you_mean(chosen, known)
        raise ConfigError(f"--extractor {chosen}: there is no such extractor.{hint} Known: {', '.join(known)}.")
    reason = unavailable_reason(known[chosen].requires, known[chosen].extra)
    if reason:
        raise ConfigError(f"--extractor {chosen} {reason}")
    return known[chosen]


def refuse_unknown_features(sets: Mapping[Role, ImageSet], extractors: Sequence[FeatureExtractor]) -> None:
    """A set without pixels must have brought the features of every extractor that will be asked of it.

    Raises:
        ConfigError: naming the extractors that it knows.
    """
    for role, images in sets.items():
        if images.has_pixels:
            continue
        for extractor in extractors:
            if extractor.info.fingerprint not in images.known_features:
                known = ", ".join(sorted(features.extractor or "?" for features in images.known_features.values()))
                raise ConfigError(
                    f"The {role} set '{images.name}' came as features of {known or 'no extractor'}, not of "
                    f"{extractor.info.name} ({extractor.info.fingerprint[:12]}), which this run uses. Choose another "
                    "--extractor, or make the file again from the images with `ldm-eval reference`."
                )


def embed_sets(sets: Mapping[Role, ImageSet], at: Embedding) -> dict[str, StoredFeatures]:
    """Image digest -> stored features: those that came with a set, else computed where the store has none."""
    in_order = sorted(sets.values(), key=lambda images: images.has_pixels)  # of equal digests, the one with pixels
    by_digest = {images.digest: images for images in in_order}
    fingerprint = at.extractor.info.fingerprint
    found = {digest: at.store.find(digest, fingerprint, _origin(by_digest[digest], at)) for digest in by_digest}
    missing = [by_digest[digest] for digest, stored in found.items() if stored is None]
    done = {digest: stored for digest, stored in found.items() if stored is not None}
    if missing:
        with at.progress.stage(f"features ({at.extractor.info.name})", sum(len(images) for images in missing)):
            for images in missing:
                features = _brought(images, at) or _extract(images, at)
                done[images.digest] = at.store.put(images.digest, fingerprint, _origin(images, at), features)
    return done


def mirrored(images: ImageSet) -> ImageSet:
    """The set with every image mirrored left to right, under a digest of its own."""
    flipped = images.pixels[..., ::-1]
    return replace(images, pixels=flipped, digest=image_digest(flipped), known_features={})


def embed_prompts(sets: Mapping[Role, ImageSet], at: Embedding) -> dict[Role, StoredFeatures]:
    """Role -> stored features of the prompts of a set; each different prompt is embedded once."""
    extractor, done = at.extractor, {}
    if not isinstance(extractor, TextExtractor):
        raise PluginError(f"The extractor '{extractor.info.name}' says that it embeds text and has no embed_text.")
    for role, images in sets.items():
        prompts = [str(prompt) for prompt in (images.prompts if images.prompts is not None else ())]
        digest = hashlib.sha256("\0".join(["prompts", *prompts]).encode()).hexdigest()
        stored = at.store.find(digest, extractor.info.fingerprint, at.computed_on)
        if stored is None:
            different = sorted(set(prompts))
            with at.progress.stage(f"prompts ({extractor.info.name})", len(different)):
                values = np.asarray(extractor.embed_text(different), dtype=np.float32)
            if values.shape != (len(different), extractor.info.dimension):
                raise PluginError(f"{extractor.info.name} embedded {len(different)} texts as {values.shape}.")
            row = {prompt: index for index, prompt in enumerate(different)}
            features = Features(values[[row[prompt] for prompt in prompts]])
            stored = at.store.put(digest, extractor.info.fingerprint, at.computed_on, features)
        done[role] = stored
    return done


def _origin(images: ImageSet, at: Embedding) -> str:
    """Features that came from a file were computed wherever that was; they never stand in for our own."""
    if images.has_pixels:
        return at.computed_on
    return f"brought {brought_digests(images)[at.extractor.info.fingerprint]}"


def brought_digests(images: ImageSet) -> dict[str, str]:
    """Fingerprint of an extractor -> SHA-256 of the features and logits that came with the images."""
    return {fingerprint: _features_digest(found) for fingerprint, found in sorted(images.known_features.items())}


def _features_digest(features: Features) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(features.values).data)
    if features.logits is not None:
        digest.update(np.ascontiguousarray(features.logits).data)
    return digest.hexdigest()


def _brought(images: ImageSet, at: Embedding) -> Features | None:
    if images.has_pixels:
        return None
    features = images.known_features[at.extractor.info.fingerprint]
    if features.values.shape != (len(images), at.extractor.info.dimension):
        raise ConfigError(
            f"'{images.name}' holds {features.values.shape} features of {len(images)} images, and "
            f"{at.extractor.info.name} gives {at.extractor.info.dimension} for each; make the file again."
        )
    at.progress.advance(len(images))
    return features


def _extract(images: ImageSet, at: Embedding) -> Features:
    values: list[NDArray[np.float32]] = []
    logits: list[NDArray[np.float32]] = []
    for start in range(0, len(images), _CHUNK):
        part = at.extractor.extract(images.rgb(start, start + _CHUNK))
        values.append(part.values)
        if part.logits is not None:
            logits.append(part.logits)
        at.progress.advance(len(part.values))
    return Features(np.concatenate(values), np.concatenate(logits) if logits else None)
