"""``ldm-eval sample``: images of a model as files, the same bytes that a run with these settings would measure."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import SampleRequest, SamplingSettings
from ldm_eval.errors import ConfigError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.classes import choose_labels, classes_of, needs_training_labels
from ldm_eval.run.config import RunConfig
from ldm_eval.run.data import gather_real_images
from ldm_eval.run.describe import code_of, library_versions
from ldm_eval.run.folder import open_folder
from ldm_eval.run.generate import fill_store, make_requests
from ldm_eval.run.models import FoundModel, load_model, pick_device
from ldm_eval.run.plan import DEFAULT_SAMPLES
from ldm_eval.run.progress import Progress
from ldm_eval.store.atomic import write_text, write_with
from ldm_eval.store.samples import SampleRow, SampleStore
from ldm_eval.version import installed_version

__all__ = ["sample_to_folder"]

_WRITTEN = ("samples.csv", "samples.npz", "[0-9][0-9][0-9][0-9][0-9][0-9]*.png")
"""What this command writes, and removes when it starts over; the table first, for it says that all is there."""


def sample_to_folder(config: RunConfig, catalogue: Catalogue, progress: Progress, *, image_format: str) -> Path:
    """Sample and write images: ``NNNNNN.png`` each, or one ``samples.npz`` (key ``arr_0``, ``(N, H, W, C) uint8``).

    ``samples.csv`` beside them names each image's id, seed and SHA-256 of its pixels, and its class where classes were
    asked for. An interrupted call goes on.

    Raises:
        LdmEvalError: for unusable settings, a model that cannot be read, or a full disk.
    """
    if image_format not in ("png", "npz"):
        raise ConfigError(f"--format {image_format}: write png or npz.")
    if not config.output:
        raise ConfigError("Name a folder for the images with --output DIR.")
    found = load_model(config.model, config.backend, pick_device(config.device), catalogue)
    settings = found.model.resolve(SamplingSettings(config.sampler, config.steps, config.guidance))
    count = config.samples or (found.model.capacity or DEFAULT_SAMPLES)
    if found.model.capacity is not None and count > found.model.capacity:
        raise ConfigError(
            f"--samples {count}: the model is {found.model.capacity} finished images; ask for at most that many."
        )
    requests = _requests(config, found, settings, count, catalogue)
    identity = {
        "ldm_eval": installed_version(),
        "libraries": library_versions(),
        "plugins": code_of([catalogue.owner(catalogue.backends[found.backend])]),
        "model": found.model.identity.sha256,
        "samples": count,
        "seed": config.seed,
        "format": image_format,
        "batch_size": config.batch_size,
        "device": found.device.partition(":")[0],
        **asdict(settings),
        **classes_of(config.classes, requests),
    }
    path = Path(config.output).expanduser()
    with open_folder(path, identity, resume=config.resume, also=_WRITTEN) as folder:
        store = SampleStore(folder.work, requests, found.model.identity.sha256)
        if not (path / "samples.csv").is_file():
            fill_store(store, found.model, config.batch_size, progress)
            pixels = store.images(channels=found.model.image_shape[0]).pixels
            _write_images(pixels, path, image_format)
            write_text(path / "samples.csv", _csv(store.table()))
            shutil.rmtree(folder.work)
    return path


def _requests(
    config: RunConfig, found: FoundModel, settings: SamplingSettings, count: int, catalogue: Catalogue
) -> tuple[SampleRequest, ...]:
    identity, known = found.model.identity, None
    if needs_training_labels(config.classes) and identity.classes:
        training = gather_real_images(config, identity.training, catalogue).sets.get("training")
        known = training.labels if training is not None else None
    labels = choose_labels(config.classes, count, config.seed, identity, settings, known)
    return make_requests(count, config.seed, settings, labels)


def _write_images(pixels: NDArray[np.uint8], folder: Path, image_format: str) -> None:
    channels_last = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    if image_format == "npz":

        def fill(stream: IO[bytes]) -> None:
            np.savez(stream, arr_0=channels_last)

        write_with(folder / "samples.npz", fill)
        return
    from PIL import Image

    for number, image in enumerate(channels_last):
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        write_with(folder / f"{number:06d}.png", lambda stream, shown=picture: shown.save(stream, format="PNG"))  # type: ignore[misc]


def _csv(rows: tuple[SampleRow, ...]) -> str:
    labelled = any(row.label is not None for row in rows)
    lines = ["sample_id,seed,sha256,label" if labelled else "sample_id,seed,sha256"]
    for row in rows:
        line = f"{row.sample_id},{row.seed},{row.sha256}"
        lines.append(f"{line},{row.label}" if labelled else line)
    return "\n".join(lines) + "\n"
