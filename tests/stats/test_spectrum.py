"""Radially averaged power spectra and their distance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import bdtr

from ldm_eval.errors import DataError
from ldm_eval.stats.spectrum import (
    ROUNDING_POWER,
    block_edges,
    log_spectra,
    luminance,
    ring_powers,
    rings_of,
    spectral_distance,
)


def white(n: int, height: int = 32, width: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, height, width))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 40), (33, 20), (9, 9)])
def test_every_bin_but_the_constant_is_in_one_ring(height: int, width: int) -> None:
    rings = rings_of(height, width)
    sizes = np.diff(np.append(rings.starts, len(rings.order)))
    assert len(np.unique(rings.order)) == len(rings.order) == height * (width // 2 + 1) - 1
    assert 0 not in rings.order
    assert np.add.reduceat(rings.shares, rings.starts) == pytest.approx(np.ones(len(sizes)))
    assert (np.diff(rings.frequencies) > 0).all()
    radii = np.arange(1, len(sizes) + 1) / min(height, width)
    assert np.abs(rings.frequencies - radii).max() <= 0.5 / min(height, width)


def test_white_noise_is_flat_and_has_its_variance() -> None:
    powers = ring_powers(3.0 * white(4000), rings_of(32, 32))
    error = powers.std(axis=0, ddof=1) / np.sqrt(len(powers))
    assert np.abs(powers.mean(axis=0) - 9.0)[1:].max() < 4.5 * error[1:].max()
    assert powers.mean(axis=0)[0] < 9.0  # the first ring lost the mean


def test_rings_of_the_half_transform_are_those_of_the_whole() -> None:
    image = white(1, 16, 12)[0]
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(k) + 0.5) / k) for k in (16, 12)))
    whole = np.abs(np.fft.fft2((image - (image * window).sum() / window.sum()) * window)) ** 2 / (window**2).sum()
    radius = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(12)[None, :])
    ring = np.rint(radius * 12).astype(int)
    expected = [whole[ring == k].mean() for k in range(1, ring.max() + 1)]
    assert ring_powers(image[None], rings_of(16, 12))[0] == pytest.approx(expected)


def test_a_gaussian_blur_takes_what_its_formula_says() -> None:
    # on white noise, blurred periodically; the window averages neighbouring bins with weights 1/6, 2/3, 1/6
    sigma, noise = 0.8, white(3000, seed=1)
    frequency = np.fft.fftfreq(32)
    one = np.exp(-4 * np.square(np.pi * sigma * frequency))
    blurred = np.fft.ifft2(np.fft.fft2(noise) * np.sqrt(np.outer(one, one))).real
    seen = np.roll(one, 1) / 6 + 2 * one / 3 + np.roll(one, -1) / 6
    ring = np.rint(np.hypot(frequency[:, None], frequency[None, :]) * 32).astype(int)
    expected = [np.outer(seen, seen)[ring == k].mean() for k in range(2, 24)]
    rings = rings_of(32, 32)
    found = (ring_powers(blurred, rings).mean(axis=0) / ring_powers(noise, rings).mean(axis=0))[1:]
    assert found == pytest.approx(expected, rel=0.03)


def test_a_wave_stands_in_its_own_ring_and_twice_the_contrast_is_six_decibels() -> None:
    x = np.arange(64)
    wave = np.round(100 + 40 * np.cos(2 * np.pi * x * 12 / 64))[None, None, None, :].repeat(64, axis=2)
    spectrum = log_spectra([wave.repeat(3, axis=1).astype(np.uint8)], rings_of(64, 64))[0]
    assert rings_of(64, 64).frequencies[np.argmax(spectrum)] == pytest.approx(12 / 64, abs=0.005)
    half = 100 + (wave - 100) / 2
    quiet = log_spectra([np.round(half).repeat(3, axis=1).astype(np.uint8)], rings_of(64, 64))[0]
    assert spectrum.max() - quiet.max() == pytest.approx(20 * np.log10(2), abs=0.1)


def test_flat_images_have_the_power_of_rounding_and_grey_is_its_own_luma() -> None:
    flat = np.full((2, 3, 16, 16), 200, dtype=np.uint8)
    assert log_spectra([flat], rings_of(16, 16)) == pytest.approx(np.full((2, 11), 10 * np.log10(ROUNDING_POWER)))
    assert luminance(flat) == pytest.approx(np.full((2, 16, 16), 200.0))
    assert luminance(np.array([255, 0, 0], dtype=np.uint8).reshape(1, 3, 1, 1)).item() == pytest.approx(76.245)


def test_mirroring_transposing_and_brightness_change_no_spectrum() -> None:
    images = np.random.default_rng(0).integers(0, 200, (5, 24, 24)).astype(float)
    rings = rings_of(24, 24)
    for other in (images[:, ::-1], images.transpose(0, 2, 1), images + 50.0):
        assert ring_powers(other, rings) == pytest.approx(ring_powers(images, rings))


FREQUENCIES = np.linspace(0.05, 0.7, 12)


def rows(n: int, seed: int, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """Spectra with one common direction (contrast) that varies much, as those of pictures do."""
    rng = np.random.default_rng(seed)
    return shift + 3.0 * rng.standard_normal((n, 1)) + rng.standard_normal((n, 12))


@pytest.mark.parametrize("size", [0.0, 0.2, 0.5, 2.0])
@pytest.mark.parametrize("along_contrast", [True, False])
def test_interval_holds_the_true_distance_whatever_its_direction(size: float, along_contrast: bool) -> None:
    direction = np.ones(12) if along_contrast else np.where(np.arange(12) % 2, 1.0, -1.0)
    found = [spectral_distance(rows(80, 2 * i, size * direction), rows(120, 2 * i + 1), FREQUENCIES) for i in range(60)]
    held = sum(one.interval.low <= size <= one.interval.high for one in found)
    assert bdtr(held, 60, 0.95) > 1e-3
    if size == 0.0:
        assert sum(one.interval.low > 0 for one in found) <= 6
    if size == 2.0:
        assert all(one.interval.low > 0 for one in found)
        assert np.mean([one.value for one in found]) == pytest.approx(2.0, abs=0.1)


def test_value_is_the_noise_free_part_and_zero_at_least() -> None:
    found = [spectral_distance(rows(50, 2 * i), rows(50, 2 * i + 1), FREQUENCIES) for i in range(50)]
    assert min(one.value for one in found) == 0.0
    assert np.mean([one.value for one in found]) < 0.7 * np.mean([one.raw for one in found])
    assert all(one.interval.low <= one.value <= one.interval.high for one in found)


def test_influences_are_what_one_image_adds() -> None:
    x, y = rows(60, 1, np.linspace(0.0, 4.0, 12)), rows(80, 2)
    found = spectral_distance(x, y, FREQUENCIES)
    without_x = [spectral_distance(np.delete(x, i, 0), y, FREQUENCIES).value for i in range(60)]
    without_y = [spectral_distance(x, np.delete(y, i, 0), FREQUENCIES).value for i in range(80)]
    for without, influence in ((without_x, found.influence_x), (without_y, found.influence_y)):
        added = (found.value - np.array(without)) * (len(influence) - 1)
        assert np.corrcoef(added, influence)[0, 1] > 0.99
        assert np.std(added) == pytest.approx(np.std(influence), rel=0.05)
    assert found.influence_x.mean() == pytest.approx(0.0, abs=1e-9)
    error = np.sqrt(found.high_x.var(ddof=1) / 60 + found.high_y.var(ddof=1) / 80)
    assert found.high.standard_error == pytest.approx(error)


def test_identical_sets_and_constant_sets_are_at_distance_zero() -> None:
    x = rows(30, 1)
    assert spectral_distance(x, x, FREQUENCIES).value == 0.0
    flat = np.zeros((5, 12))
    found = spectral_distance(flat, flat, FREQUENCIES)
    assert (found.value, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)
    lifted = spectral_distance(flat + 2.0, flat, FREQUENCIES)
    assert lifted.value == pytest.approx(2.0)
    assert lifted.high.value == 0.0


def test_balance_sees_blur_and_leaves_contrast_out() -> None:
    quieter = spectral_distance(rows(100, 1, -5.0), rows(100, 2), FREQUENCIES)
    assert quieter.interval.low > 0
    assert quieter.high.interval.low < 0 < quieter.high.interval.high
    blurred = spectral_distance(rows(100, 1, -10.0 * FREQUENCIES**2), rows(100, 2), FREQUENCIES)
    assert blurred.high.interval.high < 0


def test_block_edges_tell_blocky_images_from_others() -> None:
    noise = 20.0 * white(50, 32, 48, seed=3)
    assert abs(block_edges(noise).mean()) < 0.02
    blocky = noise + 15.0 * np.kron(white(50, 4, 6, seed=4), np.ones((8, 8)))
    assert block_edges(blocky).mean() > 0.1
    ramp = np.broadcast_to(np.arange(32.0) ** 2, (3, 32, 32))
    assert block_edges(ramp) == pytest.approx(np.zeros(3), abs=1e-12)
    assert block_edges(np.zeros((2, 32, 32))).tolist() == [0.0, 0.0]
    assert block_edges(white(2, 8, 8)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((1, 12)), np.zeros((5, 12)), "first set of shape"),
        (np.zeros((5, 12)), np.zeros((5, 3)), "second set of shape"),
        (np.zeros((5, 12)), np.full((5, 12), np.nan), "second .* not finite"),
    ],
)
def test_unusable_spectra_are_refused(x: np.ndarray, y: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        spectral_distance(x, y, FREQUENCIES)


def test_images_and_frequencies_that_are_too_few_are_refused() -> None:
    with pytest.raises(DataError, match="4x32"):
        rings_of(32, 4)
    with pytest.raises(DataError, match="both sides"):
        spectral_distance(np.zeros((5, 2)), np.zeros((5, 2)), np.array([0.1, 0.2]))
