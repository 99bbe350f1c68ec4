"""Finding images by what the user typed, and giving each set its role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ldm_eval.api import DataRef, DatasetSpec, ImageSet, Role, TrainingRecord
from ldm_eval.errors import ConfigError, DataError, LdmEvalError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue, blamed_on, unavailable_reason
from ldm_eval.run.canaries import read_canaries
from ldm_eval.run.config import RunConfig
from ldm_eval.stats.digests import image_digest
from ldm_eval.store.reference import is_reference, read_reference

__all__ = ["RealImages", "find_dataset", "first_of", "gather_real_images", "load_images", "load_real"]


@dataclass(frozen=True, slots=True, eq=False)
class RealImages:
    """The real images of a run by role, and why a role is empty where one might have expected images.

    All of them have 8 bits, like the samples they are compared with; digests are those of the originals.
    """

    sets: Mapping[Role, ImageSet]
    absent: Mapping[Role, str]


def find_dataset(text: str, catalogue: Catalogue, *, what: str) -> tuple[DatasetSpec, str]:
    """The source that can read ``text``, and the split asked for (empty: its default).

    Raises:
        DataError: when nothing reads it.
        ConfigError: when its extra is missing, or it has no such split.
    """
    ref = DataRef(text)
    best = max(catalogue.datasets.values(), key=lambda spec: _surety(spec, ref), default=None)
    if best is None or _surety(best, ref) <= 0:
        hint = did_you_mean(ref.name_and_split[0], [s.name for s in catalogue.datasets.values() if s.splits])
        state = (
            "it exists but no installed plugin reads it" if ref.path.exists() else "there is no such file or dataset"
        )
        raise DataError(f"{what} '{text}': {state}.{hint} `ldm-eval list datasets` shows what can be read.")
    reason = unavailable_reason(best.requires, best.extra)
    if reason:
        raise ConfigError(f"{what} '{text}' {reason}")
    split = ref.name_and_split[1] if ref.name_and_split[0] == best.name else ""
    if split and split not in best.splits:
        raise ConfigError(
            f"{what} '{text}': the dataset '{best.name}' has no split '{split}'; it has {', '.join(best.splits)}."
        )
    return best, split


def _surety(spec: DatasetSpec, ref: DataRef) -> float:
    try:
        return spec.recognises(ref)
    except LdmEvalError:
        raise
    except Exception:  # a source that breaks recognises nothing; the others are still asked
        return 0.0


def load_images(text: str, catalogue: Catalogue, *, what: str) -> ImageSet:
    """Read the images that ``text`` names; ``what`` opens the error message, e.g. ``"Training data"``.

    Raises:
        DataError, ConfigError: naming what was asked, found and what to do.
    """
    if is_reference(DataRef(text).path):
        raise DataError(
            f"{what} '{text}': this is a reference file, features without their images, and here the images are "
            "needed. Name the folder, zip or npz that it was made of."
        )
    spec, split = find_dataset(text, catalogue, what=what)
    with blamed_on(f"{what} '{text}': the dataset '{spec.name}'"):
        return spec.load(DataRef(text), split or (spec.splits[0] if spec.splits else ""))


def load_real(text: str, catalogue: Catalogue, *, what: str) -> ImageSet:
    """Read real images as ``load_images`` does, or a reference file in their place: then there are no pixels.

    Raises:
        DataError, ConfigError: naming what was asked, found and what to do.
    """
    path = DataRef(text).path
    if not is_reference(path):
        return load_images(text, catalogue, what=what)
    reference = read_reference(path)
    if reference.statistics_only:
        names = ", ".join(one.info.name for one in reference.extracted)
        raise DataError(
            f"{what} '{text}': this file holds statistics only (of {names}), without the features of each image. Name "
            "it with --reference-statistics, or make one without --statistics-only."
        )
    return reference.images


def first_of(images: ImageSet, count: int) -> ImageSet:
    """The first ``count`` images of a set (all of them when ``count`` is 0 or larger than the set).

    Raises:
        DataError: for a part of a set without pixels: what those images are called by, their digest, is not known.
    """
    if count == 0 or count >= len(images):
        return images
    if not images.has_pixels:
        raise DataError(
            f"--limit {count}: '{images.name}' came as features of {len(images)} images without the images, and the "
            f"digest of the first {count} is not known. Leave out --limit, or make a smaller reference with "
            f"`ldm-eval reference DATA --limit {count}`."
        )
    pixels = images.pixels[:count]
    return replace(
        images,
        pixels=pixels,
        ids=images.ids[:count],
        digest=image_digest(pixels),
        groups={name: values[:count] for name, values in images.groups.items()},
        labels=None if images.labels is None else images.labels[:count],
        prompts=None if images.prompts is None else images.prompts[:count],
    )


def gather_real_images(config: RunConfig, record: TrainingRecord | None, catalogue: Catalogue) -> RealImages:
    """Load training, holdout and reference images: as the user says, else as the checkpoint remembers.

    What the user names must be there; what a checkpoint merely remembers may be gone, and is then absent with the
    reason. Training data whose digest is not the recorded one are never used in silence.
    """
    sets: dict[Role, ImageSet] = {}
    absent: dict[Role, str] = {}
    if config.data:
        sets["training"] = load_real(config.data, catalogue, what="Training data")
    elif record and record.data:
        _remembered("training", record, sets, absent, catalogue)
    if config.holdout:
        sets["holdout"] = load_real(config.holdout, catalogue, what="Holdout data")
    elif not config.data and record and record.holdout:
        _remembered("holdout", record, sets, absent, catalogue)
    elif "training" in sets and sets["training"].has_pixels:
        _holdout_of_named_set(config.data, sets, catalogue)
    _part_canaries(record, sets, absent)
    if config.reference:
        sets["reference"] = load_real(config.reference, catalogue, what="Reference data")
    elif "holdout" in sets or "training" in sets:
        sets["reference"] = sets["holdout"] if "holdout" in sets else sets["training"]
    return RealImages(_as_evaluated(sets, config.limit), absent)


def _part_canaries(record: TrainingRecord | None, sets: dict[Role, ImageSet], absent: dict[Role, str]) -> None:
    """Where coin flips decided which images were trained on: take the others out, and give the canaries their role."""
    data = sets.get("training")
    if record is None or not record.canaries:
        absent["canaries"] = "the model was not trained with canaries; train one with `ldm-eval train --canaries N`."
        return
    if data is None or data.digest != record.data_digest or not data.has_pixels:
        absent["canaries"] = (
            "the canaries are rows of the data that the model was trained on, and those are not here; name them with "
            "--data."
        )
        return
    canaries = read_canaries(record.canaries, data, record.data_size)
    sets["training"], sets["canaries"] = canaries.trained_on(data), canaries.of(data)


def _as_evaluated(sets: Mapping[Role, ImageSet], limit: int) -> dict[Role, ImageSet]:
    """The first ``limit`` images of each set with 8 bits; roles that share a set go on sharing it.

    A role whose images came as features alone, and are here as pixels in another role, takes the pixels.
    """
    here = {images.digest: images for images in sets.values() if images.has_pixels}
    whole = {role: images if images.has_pixels else here.get(images.digest, images) for role, images in sets.items()}
    ready = {id(images): first_of(images, limit).eight_bit() for images in whole.values()}
    return {role: ready[id(images)] for role, images in whole.items()}


def _remembered(
    role: Role, record: TrainingRecord, sets: dict[Role, ImageSet], absent: dict[Role, str], catalogue: Catalogue
) -> None:
    text = record.data if role == "training" else record.holdout
    option = "--data" if role == "training" else "--holdout"
    try:
        images = load_real(text, catalogue, what=f"The {role} images that the checkpoint remembers")
    except LdmEvalError as error:
        absent[role] = f"{error} Name them with {option}."
        return
    if role == "training" and images.digest != record.data_digest:
        absent[role] = (
            f"the images at '{text}' are no longer those the model was trained on (digest {images.digest[:12]}, "
            f"recorded {record.data_digest[:12]}); name them with {option}."
        )
        return
    sets[role] = images


def _holdout_of_named_set(text: str, sets: dict[Role, ImageSet], catalogue: Catalogue) -> None:
    """``--data mnist`` brings ``mnist:holdout`` along: a named dataset knows which half was kept."""
    spec, split = find_dataset(text, catalogue, what="Training data")
    if spec.holdout_split and (split or spec.splits[0]) != spec.holdout_split:
        with blamed_on(f"Holdout data '{text}': the dataset '{spec.name}'"):
            sets["holdout"] = spec.load(DataRef(text), spec.holdout_split)
