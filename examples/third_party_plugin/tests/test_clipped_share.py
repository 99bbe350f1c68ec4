"""The check is proven on its phantoms, and gives the answers that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from clipped_pixels.clipped_share import ClippedShare, clipped_shares, difference_interval, mean_interval

from ldm_eval.api import CheckSpec, Measurement
from ldm_eval.testing.conformance import assert_conforms
from ldm_eval.testing.evidence import PhantomEvidence, image_set


def test_it_conforms() -> None:
    assert_conforms(CheckSpec.of(ClippedShare), seeds=100)


def test_known_shares() -> None:
    pixels = np.full((3, 1, 2, 2), 128, dtype=np.uint8)
    pixels[1, 0, 0] = [0, 255]
    pixels[2] = 255
    assert clipped_shares(image_set(pixels, "three"), block=2).tolist() == [0.0, 0.5, 1.0]


def test_identical_sets_have_no_excess() -> None:
    images = image_set(np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8), dtype=np.uint8), "same")
    found = ClippedShare().run(PhantomEvidence(ClippedShare.id, 0, images={"samples": images, "reference": images}))
    assert isinstance(found, list)
    own, excess = found
    assert isinstance(own, Measurement)
    assert isinstance(excess, Measurement)
    assert own.value == pytest.approx(2 / 256, abs=1e-3)
    assert excess.value == 0.0
    assert excess.interval.low == -excess.interval.high


def test_nothing_clipped_is_no_certainty() -> None:
    none, all_of_it = np.zeros(500), np.ones(500)
    assert mean_interval(none).low == 0.0
    assert 0.001 < mean_interval(none).high < 0.01
    assert difference_interval(none, none).high > 0.0
    assert difference_interval(all_of_it, none).low < 1.0
    assert difference_interval(all_of_it, none).high == 1.0
