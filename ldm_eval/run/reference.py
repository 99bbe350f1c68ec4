"""Reference files: the features and statistics of a set of images, computed once, to be used without the images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ldm_eval.api import ExtractorInfo, Features, ImageSet
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.data import first_of, load_images
from ldm_eval.run.describe import library_versions
from ldm_eval.run.embed import Embedding, cache_dir, embed_sets, load_extractors
from ldm_eval.run.models import pick_device
from ldm_eval.run.progress import Progress
from ldm_eval.run.threads import thread_count, torch_threads
from ldm_eval.store.atomic import canonical_json
from ldm_eval.store.features import FeatureStore, StoredFeatures
from ldm_eval.store.reference import is_reference, write_reference

__all__ = ["WrittenReference", "make_reference"]


@dataclass(frozen=True, slots=True)
class WrittenReference:
    """What was written.

    Attributes:
        path: The file.
        name: Name of the image set, with its split.
        count: Images.
        shape: ``(C, H, W)`` of the images.
        image_digest: Digest of the images.
        extractors: What the features are of; the first is what other tools read.
        statistics_only: True when the file has no features.
        digest: SHA-256 over the whole content.
        bytes: Size of the file.
    """

    path: Path
    name: str
    count: int
    shape: tuple[int, int, int]
    image_digest: str
    extractors: tuple[ExtractorInfo, ...]
    statistics_only: bool
    digest: str
    bytes: int


def make_reference(
    data: str,
    output: Path,
    config: RunConfig,
    catalogue: Catalogue,
    progress: Progress,
    *,
    statistics_only: bool = False,
) -> WrittenReference:
    """Compute the features of the images that ``data`` names and write them to ``output``.

    Features are taken from the cache of runs where it has them, and left there; they are the ones that a run with the
    images themselves would use on this machine with as many threads.

    Args:
        data: Folder, zip, npz, or NAME[:SPLIT] of a named dataset.
        output: The npz file.
        config: Extractors, weights, limit, device, threads, cache and ``offline``; the rest is not looked at.
        catalogue: Where datasets and extractors are found.
        progress: News.
        statistics_only: Write mean and covariance alone.

    Raises:
        ConfigError, DataError: for what cannot be used, before anything is computed where that can be known.
        StoreError: when the file cannot be written.
    """
    _refuse_output(output, data)
    images = first_of(load_images(data, catalogue, what="Images for a reference"), config.limit)
    if len(images) < 2:
        raise DataError(
            f"'{data}' has {len(images)} image; statistics need at least 2, and an honest distance hundreds."
        )
    device, threads = pick_device(config.device), thread_count(config.threads)
    computed_on = {"device": device.partition(":")[0], "threads": threads, **library_versions()}
    extractors = load_extractors(config, device, catalogue)
    store = FeatureStore(cache_dir(config) / "features")
    seen = []
    with torch_threads(threads):
        for extractor in extractors:
            at = Embedding(extractor, canonical_json(computed_on, indent=None), store, progress)
            stored = embed_sets({"reference": images}, at)[images.digest]
            seen.append((extractor.info, _mapped(stored, extractor.info)))
        digest = write_reference(output, images, seen, computed_on, statistics_only=statistics_only)
    return WrittenReference(
        path=output,
        name=_name(images),
        count=len(images),
        shape=images.shape,
        image_digest=images.digest,
        extractors=tuple(info for info, _ in seen),
        statistics_only=statistics_only,
        digest=digest,
        bytes=output.stat().st_size,
    )


def _mapped(stored: StoredFeatures, info: ExtractorInfo) -> Features:
    values = np.load(stored.values, mmap_mode="r", allow_pickle=False)
    logits = np.load(stored.logits, mmap_mode="r", allow_pickle=False) if stored.logits else None
    return Features(values, logits, info.name)


def _name(images: ImageSet) -> str:
    return f"{images.name}:{images.split}" if images.split else images.name


def _refuse_output(output: Path, data: str) -> None:
    """Before minutes are spent, and never over a file that is something else."""
    if output.suffix.lower() != ".npz":
        raise ConfigError(f"--output {output}: a reference is an npz file; call it {output.with_suffix('.npz').name}.")
    if output.is_dir():
        raise ConfigError(f"--output {output}: this is a folder; name a file, e.g. {output / 'reference.npz'}.")
    source = Path(data).expanduser()
    if output.exists() and source.exists() and output.samefile(source):
        raise ConfigError(f"--output {output}: these are the images themselves; name another file.")
    if output.exists() and not is_reference(output):
        raise ConfigError(f"--output {output}: this file is there already and is no reference; name another one.")
    there = next(folder for folder in output.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"--output {output}: nothing can be written into {there}; name another place.")
