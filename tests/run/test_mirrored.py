"""Mirrored images are embedded where a check declares them, in every extractor it is run with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.embed import mirrored
from ldm_eval.run.pipeline import FinishedRun
from ldm_eval.run.progress import SilentProgress
from ldm_eval.run.reference import make_reference
from ldm_eval.testing.evidence import image_set

Run = Callable[..., FinishedRun]


@pytest.fixture
def go(run_once: Run, tmp_path: Path) -> Run:
    made = tmp_path / "made.npz"
    pixels = np.zeros((12, 4, 4, 1), dtype=np.uint8)
    pixels[:, :, :2] = 40  # the left half
    np.savez(made, arr_0=pixels)

    def settings(**given: object) -> FinishedRun:
        usual = {
            "model": str(made),
            "suite": "mirrors/check",
            "samples": 0,
            "steps": 0,
            "plugin": "mirrored_plugin",
            "cache_dir": str(tmp_path / "cache"),
            "extractor": "sides",
        }
        return run_once(**(usual | given))

    return settings


def values(done: FinishedRun) -> dict[str, float]:
    return {measurement.name: measurement.value for measurement in done.results.measurements}


def test_mirrored_features_are_those_of_mirrored_pixels_in_every_extractor(go: Run) -> None:
    assert values(go(extractor="sides,again")) == {
        "gap": 40.0,
        "holdout": -1.0,
        "gap@again": 40.0,
        "holdout@again": -1.0,
    }


def test_an_optional_set_is_mirrored_when_it_is_there(go: Run, tmp_path: Path) -> None:
    real = tmp_path / "real.npz"
    np.savez(real, arr_0=np.zeros((7, 4, 4, 1), dtype=np.uint8))
    assert values(go(holdout=str(real)))["holdout"] == 7.0


def test_a_set_that_came_as_features_alone_has_no_mirrored_ones(
    go: Run, configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    real, alone = tmp_path / "real.npz", tmp_path / "alone.npz"
    np.savez(real, arr_0=np.zeros((7, 4, 4, 1), dtype=np.uint8))
    config = configure(extractor="sides", plugin="mirrored_plugin", cache_dir=str(tmp_path / "cache"))
    make_reference(str(real), alone, config, Catalogue.discover((), ("mirrored_plugin",)), SilentProgress())
    assert values(go(holdout=str(alone))) == {"gap": 40.0, "holdout": -1.0}


def test_a_mirrored_set_has_a_digest_of_its_own_and_mirrors_back() -> None:
    pixels = np.arange(2 * 3 * 2 * 4, dtype=np.uint8).reshape(2, 3, 2, 4)
    images = image_set(pixels, "some")
    once = mirrored(images)
    assert once.digest != images.digest
    assert mirrored(once).digest == images.digest
    np.testing.assert_array_equal(once.pixels[..., 0], pixels[..., 3])
