"""Real images of 16 bits are evaluated as 8, and go on being the data that were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ldm_eval.api import TrainingRecord
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig, resolve_config
from ldm_eval.run.data import RealImages, gather_real_images
from ldm_eval.stats.digests import image_digest


def _save(path: Path, seed: int) -> NDArray[np.uint16]:
    pixels = np.random.default_rng(seed).integers(0, 65536, (6, 4, 4), dtype=np.uint16)
    np.savez(path, pixels)
    return pixels[:, None]


def _config(**settings: Any) -> RunConfig:
    return resolve_config({"model": "m.pt", **settings}, {}).config


def _record(path: Path, pixels: NDArray[np.uint16]) -> TrainingRecord:
    return TrainingRecord(str(path), image_digest(pixels), len(pixels), "", 10, horizontal_flip=False, seed=0)


def _gather(config: RunConfig, record: TrainingRecord | None = None) -> RealImages:
    return gather_real_images(config, record, Catalogue.discover())


def test_every_set_of_a_run_has_8_bits_and_the_digest_of_its_original(tmp_path: Path) -> None:
    train, holdout = _save(tmp_path / "t.npz", 0), _save(tmp_path / "h.npz", 1)
    sets = _gather(_config(data=str(tmp_path / "t.npz"), holdout=str(tmp_path / "h.npz"))).sets
    assert {role: images.pixels.dtype for role, images in sets.items()} == dict.fromkeys(sets, np.dtype(np.uint8))
    np.testing.assert_array_equal(sets["training"].pixels, np.rint(train / 257.0))
    assert sets["training"].digest == image_digest(train)
    assert sets["holdout"].digest == image_digest(holdout)
    assert sets["reference"] is sets["holdout"]


def test_the_record_of_a_training_on_16_bits_finds_its_data_again(tmp_path: Path) -> None:
    record = _record(tmp_path / "t.npz", _save(tmp_path / "t.npz", 0))
    assert _gather(_config(), record).sets["training"].digest == record.data_digest
    _save(tmp_path / "t.npz", 1)
    changed = _gather(_config(), record)
    assert "training" not in changed.sets
    assert "no longer those the model was trained on" in changed.absent["training"]


def test_data_that_differ_below_8_bits_are_other_data(tmp_path: Path) -> None:
    pixels = _save(tmp_path / "t.npz", 0)
    record = _record(tmp_path / "t.npz", pixels)
    np.savez(tmp_path / "t.npz", (pixels ^ 1)[:, 0])
    assert "training" not in _gather(_config(), record).sets


@pytest.mark.parametrize("limit", [1, 4])
def test_a_limit_digests_the_original_images_that_are_left(tmp_path: Path, limit: int) -> None:
    pixels = _save(tmp_path / "t.npz", 0)
    training = _gather(_config(data=str(tmp_path / "t.npz"), limit=limit)).sets["training"]
    assert (len(training), training.digest) == (limit, image_digest(pixels[:limit]))
    assert training.pixels.dtype == np.dtype(np.uint8)
