"""quality/power_spectrum."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_quality import power_spectrum
from ldm_eval_quality.conditional_phantoms import spectra
from ldm_eval_quality.power_spectrum import PowerSpectrumCheck
from PIL import Image

from ldm_eval.api import Evidence, Figure, ImageSet, Invalid, Measurement, NotApplicable, Table
from ldm_eval.testing.evidence import PhantomEvidence, image_set

CHECK = "quality/power_spectrum"


def measured(evidence: Evidence) -> dict[str, Measurement]:
    found = PowerSpectrumCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    assert {type(one) for one in found} == {Measurement, Table, Figure}
    return {one.name: one for one in found if isinstance(one, Measurement)}


def sets(samples: np.ndarray, reference: np.ndarray) -> PhantomEvidence:
    images: dict[str, ImageSet] = {"samples": image_set(samples, "a"), "reference": image_set(reference, "b")}
    return PhantomEvidence(CHECK, 0, images=images)  # type: ignore[arg-type]


def noise(n: int, seed: int = 0, shape: tuple[int, int, int] = (1, 16, 16)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def test_another_draw_is_left_alone_and_growing_blur_grows() -> None:
    same = measured(spectra(0))
    assert same["power_spectrum_distance"].interval.low == 0.0
    assert same["high_frequency_excess"].interval.low < 0 < same["high_frequency_excess"].interval.high
    runs = [measured(spectra(0, blur=blur)) for blur in (0.3, 0.5, 0.8)]
    values = [run["power_spectrum_distance"].value for run in runs]
    assert values == sorted(values)
    assert all(run["high_frequency_excess"].interval.high < 0 for run in runs)
    assert all(run["power_spectrum_distance"].floor == same["power_spectrum_distance"].floor for run in runs)


def test_noise_is_seen_on_the_other_side() -> None:
    found = measured(spectra(0, noise=4.0))
    assert found["power_spectrum_distance"].interval.low > 0
    assert found["high_frequency_excess"].interval.low > 0


def test_a_checkerboard_of_one_level_in_the_corners_is_seen() -> None:
    evidence = spectra(0)
    pixels = evidence.images("samples").pixels
    board = (np.indices(pixels.shape[2:]).sum(axis=0) % 2).astype(np.uint8)
    found = PowerSpectrumCheck().run(sets(pixels + 2 * board, evidence.images("reference").pixels))
    assert not isinstance(found, NotApplicable | Invalid)
    (table,) = (one for one in found if isinstance(one, Table))
    assert table.rows[-1][0] == pytest.approx(2**-0.5, abs=0.02)
    corner = table.rows[-1][4]
    assert isinstance(corner, float)
    assert corner > 0


def test_jpeg_on_one_side_alone_is_told() -> None:
    evidence = spectra(0, n=120, side=64)
    samples, reference = evidence.images("samples").pixels, evidence.images("reference").pixels

    def compressed(pixels: np.ndarray) -> np.ndarray:
        out = []
        for picture in pixels[:, 0]:
            stream = io.BytesIO()
            Image.fromarray(picture).save(stream, "JPEG", quality=40)
            out.append(np.asarray(Image.open(stream)))
        return np.stack(out)[:, None]

    one = measured(sets(samples, compressed(reference)))["power_spectrum_distance"].note
    assert "8x8 grid of JPEG shows in the reference images" in one
    assert "shows in the samples" in measured(sets(compressed(samples), reference))["high_frequency_excess"].note
    for both in (sets(samples, reference), sets(compressed(samples), compressed(reference))):
        assert "grid" not in measured(both)["power_spectrum_distance"].note


def test_grey_and_rgb_sets_of_one_luma_are_one() -> None:
    evidence = spectra(1)
    samples, reference = evidence.images("samples").pixels, evidence.images("reference").pixels
    colour = measured(sets(samples.repeat(3, axis=1), reference))["power_spectrum_distance"]
    assert colour.value == pytest.approx(measured(evidence)["power_spectrum_distance"].value)


def test_large_sets_are_drawn_from_and_contributions_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_spectrum, "_MOST_PIXELS", 100 * 32 * 32)
    evidence = spectra(0, blur=0.8)
    assert isinstance(evidence, PhantomEvidence)
    found = measured(evidence)["power_spectrum_distance"]
    assert (found.n, found.signature["real_n"]) == (100, 100)
    kept = evidence.kept["power_spectrum_distance", None]
    assert np.isfinite(kept["samples"]).sum() == np.isfinite(kept["reference"]).sum() == 100
    assert (len(kept["samples"]), len(kept["reference"])) == (120, 240)


def test_contributions_carry_the_error_of_the_balance() -> None:
    evidence = spectra(0)
    assert isinstance(evidence, PhantomEvidence)
    found = measured(evidence)["high_frequency_excess"]
    kept = evidence.kept["high_frequency_excess", None]
    error = np.sqrt(sum(values.var(ddof=1) / len(values) for values in kept.values()))
    assert (found.interval.high - found.interval.low) / 2 == pytest.approx(1.97 * error, rel=0.01)
    assert ("power_spectrum_distance", None) not in evidence.kept  # its first order vanishes at zero


@pytest.mark.parametrize(
    ("samples", "reference", "words"),
    [
        (noise(1), noise(80, 1), "samples set has 1 images"),
        (noise(80), noise(49, 1), "reference set has 49 images"),
        (noise(60), noise(60, 1, (1, 16, 24)), "16x16 and 24x16 pixels"),
        (noise(60, 0, (1, 4, 4)), noise(60, 1, (1, 4, 4)), "smaller than 8 pixels"),
    ],
)
def test_sets_that_cannot_be_compared_are_not_applicable(
    samples: np.ndarray, reference: np.ndarray, words: str
) -> None:
    found = PowerSpectrumCheck().run(sets(samples, reference))
    assert isinstance(found, NotApplicable)
    assert words in found.reason


def test_flat_real_images_are_invalid_and_a_flat_model_is_measured() -> None:
    flat = np.full((60, 1, 16, 16), 9, dtype=np.uint8)
    assert isinstance(PowerSpectrumCheck().run(sets(noise(60), flat)), Invalid)
    assert measured(sets(flat, noise(60)))["power_spectrum_distance"].value > 40


def test_identical_sets_and_repeats_read_zero() -> None:
    images = noise(60)
    assert measured(sets(images, images))["power_spectrum_distance"].value == 0.0
    repeated = measured(sets(np.repeat(images[:30], 2, axis=0), images))
    assert repeated["power_spectrum_distance"].interval.low == 0.0


def test_sixteen_bit_sets_are_seen_in_eight() -> None:
    images = noise(60)
    wide = replace(image_set(images, "w"), pixels=images.astype(np.uint16) * 257)
    evidence = PhantomEvidence(CHECK, 0, images={"samples": wide, "reference": image_set(images, "b")})
    assert measured(evidence)["power_spectrum_distance"].value == 0.0
