"""The demo's portraits: the same bytes everywhere, shares as declared, duplicates as planted, one law for all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ldm_eval_demo import PORTRAITS, ldm_eval_datasets
from ldm_eval_demo.portraits import COPIES, PLANTED, SHARES, load, planted

from ldm_eval.api import DataRef, ImageSet
from ldm_eval.errors import DataError
from ldm_eval.stats.duplicates import find_duplicates
from ldm_eval.stats.linear import fit_logistic
from ldm_eval.stats.roc import auc_interval

DIGESTS = {
    "train": "1f80a283fca33a3521a69b99ad46f6409859f9157d1c41936991098ea9457040",
    "holdout": "1d8fdf8ee668bed1d9e989733dfb13880d11220e4c59e4449c84044ce77050e1",
}


def split(name: str) -> ImageSet:
    return load(DataRef(PORTRAITS), name)


@pytest.mark.parametrize("name", ["train", "holdout"])
def test_the_pixels_are_the_same_on_every_machine(name):
    images = split(name)
    assert images.digest == DIGESTS[name]
    assert images.shape == (3, 32, 32)
    assert images.pixels.dtype == np.uint8


@pytest.mark.parametrize(("name", "rows"), [("train", 1600), ("holdout", 800)])
def test_the_shares_are_exactly_those_declared(name, rows):
    images = split(name)
    assert len(images) == rows
    for attribute, shares in SHARES.items():
        counts = Counter(images.groups[attribute].tolist())
        assert counts == {kind: round(share * rows) for kind, share in shares.items()}


@pytest.mark.parametrize("name", ["train", "holdout"])
def test_the_monk_tone_lies_in_its_group(name):
    images = split(name)
    tones = {"light": {"1", "2", "3", "4"}, "medium": {"5", "6", "7"}, "deep": {"8", "9", "10"}}
    for tone, group in zip(images.groups["monk tone"], images.groups["skin tone"], strict=True):
        assert str(tone) in tones[str(group)]


def test_the_duplicates_are_exactly_those_planted():
    train, holdout = split("train"), split("holdout")
    found = find_duplicates(train.pixels, near=4.0)
    groups = {
        frozenset(train.ids[row] for row in np.flatnonzero(found.group == group))
        for group in np.flatnonzero(found.multiplicity > 1)
    }
    assert groups == {frozenset(ids) for ids in planted()}
    assert len(groups) == PLANTED
    assert {len(ids) for ids in groups} == {COPIES}
    together = find_duplicates(np.concatenate([train.pixels[found.representatives], holdout.pixels]), near=4.0)
    assert together.unique == 1448 + 800


def test_ids_are_unique_and_copies_look_alike():
    train = split("train")
    assert len(set(train.ids)) == len(train)
    rows = [train.ids.index(name) for name in planted()[3]]
    assert all(name.endswith(f"-copy{number:02d}") for number, name in enumerate(planted()[3], 1))
    assert (train.pixels[rows] == train.pixels[rows[0]]).all()


def test_different_portraits_are_far_apart():
    """Nearest other portrait against the mean of the 50 nearest: the relative rule would call a copy below one half."""
    train, holdout = split("train"), split("holdout")
    different = (
        train.pixels[find_duplicates(train.pixels, near=0.0).representatives].reshape(1448, -1).astype(np.float64)
    )
    fresh = holdout.pixels[:400].reshape(400, -1).astype(np.float64)
    squares = (fresh**2).sum(1)[:, None] + (different**2).sum(1)[None, :] - 2 * fresh @ different.T
    nearest = np.sort(np.sqrt(np.maximum(squares, 0)), axis=1)[:, :50]
    assert (nearest[:, 0] / nearest.mean(axis=1) < 0.5).mean() < 0.01
    assert nearest[:, 0].min() / np.sqrt(3072) > 15  # grey levels


def test_nothing_but_the_duplicates_tells_the_splits_apart():
    def described(images: ImageSet, rows: np.ndarray) -> np.ndarray:
        cells = images.pixels[rows].astype(np.float64).reshape(len(rows), 3, 4, 8, 4, 8)
        return np.concatenate(
            [cells.mean(axis=(3, 5)).reshape(len(rows), -1), cells.std(axis=(3, 5)).reshape(len(rows), -1)], 1
        )

    train, holdout = split("train"), split("holdout")
    members = described(
        train, np.random.default_rng(0).permutation(find_duplicates(train.pixels, 0.0).representatives)[:800]
    )
    others = described(holdout, np.arange(800))
    model = fit_logistic(np.concatenate([members[:400], others[:400]]), np.repeat([1, 0], 400), penalty=0.1)
    auc = auc_interval(model.logits(members[400:])[:, 1], model.logits(others[400:])[:, 1], 0.99)
    assert auc.interval.low < 0.5 < auc.interval.high


def test_attributes_are_combined_at_random():
    """Cramer's V of tone with age and with glasses is that of independent columns."""
    for name in ("train", "holdout"):
        images = split(name)
        first = np.unique(images.pixels.reshape(len(images), -1), axis=0, return_index=True)[1]
        tone = images.groups["skin tone"][first]
        for other in ("age band", "glasses"):
            kinds = images.groups[other][first]
            table = np.array([[np.sum((tone == t) & (kinds == k)) for k in np.unique(kinds)] for t in np.unique(tone)])
            expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
            assert ((table - expected) ** 2 / expected).sum() < 18.5  # 0.1 % of chi-square with 4 degrees of freedom


def test_the_dataset_is_found_by_name_and_refuses_other_splits():
    spec = next(spec for spec in ldm_eval_datasets() if spec.name == PORTRAITS)
    assert spec.recognises(DataRef(f"{PORTRAITS}:holdout")) == 1.0
    assert spec.recognises(DataRef("portrait")) == 0.0
    assert spec.load(DataRef(PORTRAITS), "train").digest == DIGESTS["train"]
    with pytest.raises(DataError, match=r"no split 'holdouts', only train and holdout\. Did you mean 'holdout'"):
        spec.load(DataRef(PORTRAITS), "holdouts")
