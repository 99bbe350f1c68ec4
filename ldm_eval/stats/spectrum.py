"""Radially averaged power spectra of images, and how far the mean spectra of two sets are apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import fdtri

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.intervals import normal_quantile
from ldm_eval.stats.means import MeanEstimate, difference_of_means

__all__ = [
    "SMALLEST_SIDE",
    "Rings",
    "SpectralDistance",
    "block_edges",
    "log_spectra",
    "luminance",
    "ring_powers",
    "rings_of",
    "spectral_distance",
]

Array = NDArray[np.float64]

SMALLEST_SIDE = 8
"""Pixels; a smaller image has no more than four rings."""

ROUNDING_POWER = 1.0 / 12.0
"""Power per bin, in squared grey levels, of the rounding to 8 bits: below it no two spectra are told apart."""

ESTIMATOR = "triangle inequality, length of the noise of the mean spectra (scaled F)"

_WEIGHTS = np.array([0.299, 0.587, 0.114])
_HIGH = 0.25
"""Cycles per pixel; half of what the pixel grid can carry along an axis."""

_GRID = 8
"""Side of JPEG's blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Which bins of the two-dimensional transform make up each ring.

    Attributes:
        frequencies: ``(K,)`` mean frequency of each ring, cycles per pixel, rising. Beyond 0.5 lie the corners, where
            the checkerboards of bad upsampling show.
        order: Bins of the half transform sorted by ring, those of the constant left out.
        starts: ``(K,)`` where each ring begins in ``order``.
        shares: One weight for each bin in ``order``; those of a ring sum to one.
    """

    frequencies: Array
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    shares: Array


@dataclass(frozen=True, slots=True, eq=False)
class SpectralDistance:
    """Difference of the mean log spectra of two sets of images.

    Attributes:
        value: Root mean square over rings of the true difference, in dB, with the expected noise subtracted before the
            root; never below zero (lower is closer).
        raw: The same without subtracting, as published: above zero for any two sets.
        interval: For the value.
        difference: ``(K,)`` first minus second set, dB.
        reach: ``(K,)`` half width of the 95 % interval of each.
        high: How much more the rings above a quarter of a cycle per pixel differ than those below it, which leaves
            contrast out; below zero is blurred.
        influence_x: ``(n,)`` what each image of the first set adds to the value (mean 0); all zero at value zero.
        influence_y: ``(m,)`` the same for the second.
        high_x: ``(n,)`` what each image of the first set adds to ``high``.
        high_y: ``(m,)`` the same for the second.
    """

    value: float
    raw: float
    interval: Interval
    difference: Array
    reach: Array
    high: MeanEstimate
    influence_x: Array
    influence_y: Array
    high_x: Array
    high_y: Array


def luminance(images: NDArray[np.uint8]) -> Array:
    """``(n, 3, H, W) uint8`` RGB -> ``(n, H, W)`` luma in grey levels, 0 to 255 (ITU-R BT.601 weights)."""
    return np.asarray(np.einsum("nchw,c->nhw", images.astype(np.float64), _WEIGHTS), dtype=np.float64)


def rings_of(height: int, width: int) -> Rings:
    """Rings one bin of the shorter side wide; bins of the half transform that stand for two count twice.

    Raises:
        DataError: for a side below ``SMALLEST_SIDE``.
    """
    if min(height, width) < SMALLEST_SIDE:
        raise DataError(
            f"A power spectrum of {width}x{height} images was asked for; it needs {SMALLEST_SIDE} pixels a side."
        )
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    twice = np.full(radius.shape, 2.0)
    twice[:, 0] = 1.0
    if width % 2 == 0:
        twice[:, -1] = 1.0
    ring = np.maximum(1, np.rint(radius * min(height, width)).astype(np.int64)).ravel()
    order = np.argsort(ring, kind="stable")[1:]  # the constant comes first
    starts = np.flatnonzero(np.diff(ring[order], prepend=0))
    weights = twice.ravel()[order]
    sums = np.add.reduceat(weights, starts)
    shares = weights / np.repeat(sums, np.diff(np.append(starts, len(order))))
    frequencies = np.add.reduceat(radius.ravel()[order] * shares, starts)
    return Rings(frequencies, order, starts, shares)


def ring_powers(images: Array, rings: Rings) -> Array:
    """``(n, H, W)`` grey levels -> ``(n, K)`` mean power of each ring, squared grey levels.

    Each image is taken less its mean and under a Hann window, without which the jump from one border to the other puts
    a cross over the whole spectrum. Power is divided by that of the window: white noise of variance v has v in every
    ring (a little less in the first, which lost the mean).
    """
    _, height, width = images.shape
    window = _hann(height)[:, None] * _hann(width)[None, :]
    means = np.einsum("nhw,hw->n", images, window) / window.sum()
    transform = fft.rfft2((images - means[:, None, None]) * window, axes=(1, 2))
    power = (np.square(transform.real) + np.square(transform.imag)) / float(np.square(window).sum())
    flat = power.reshape(len(images), -1)[:, rings.order] * rings.shares
    return np.asarray(np.add.reduceat(flat, rings.starts, axis=1), dtype=np.float64)


def log_spectra(blocks: Iterable[NDArray[np.uint8]], rings: Rings) -> Array:
    """Blocks of ``(n, 3, H, W) uint8`` images -> ``(N, K)`` log spectra in dB of a squared grey level.

    The power of the rounding to 8 bits is added first, so that flat images have a spectrum and nothing below the
    rounding counts.

    Source: arXiv:2003.01826 (azimuthal average of the power, logarithm for each image).
    """
    powers = [ring_powers(luminance(block), rings) for block in blocks]
    return np.asarray(10.0 * np.log10(np.concatenate(powers) + ROUNDING_POWER), dtype=np.float64)


def spectral_distance(x: Array, y: Array, frequencies: Array, *, level: float = 0.95) -> SpectralDistance:
    """How far the mean log spectra of two sets are apart, in dB; lower is closer.

    With D the difference of the means over K rings and S its covariance, ``|D|^2 - Tr S`` is unbiased for the squared
    distance. The interval is ``|D|`` plus and minus the length that noise of covariance S reaches in 2.5 % of draws:
    by the triangle inequality it holds whatever direction the true difference has, and is up to a few times wider
    than need be where the noise has many directions. Its low end is zero where no difference is seen. (The normal
    interval of the squared distance fails between zero and a few standard errors: images' contrasts make one direction
    of the noise much longer than the others.)

    Args:
        x: ``(n, K)`` log spectra, rows i.i.d.
        y: ``(m, K)`` log spectra, rows i.i.d. and independent of x.
        frequencies: ``(K,)`` cycles per pixel, on both sides of a quarter.
        level: Of the two-sided interval.

    Raises:
        DataError: for sets of different width, fewer than two rows, or values that are not finite.
    """
    _refuse(x, y, frequencies)
    rings, n, m = x.shape[1], len(x), len(y)
    own_x, own_y = x - x.mean(axis=0), y - y.mean(axis=0)
    difference = x.mean(axis=0) - y.mean(axis=0)
    covariance = own_x.T @ own_x / (n * (n - 1.0)) + own_y.T @ own_y / (m * (m - 1.0))
    length, reach = math.sqrt(float(difference @ difference)), _radius(covariance, min(n, m), level)
    value = math.sqrt(max(0.0, length**2 - float(np.trace(covariance))) / rings)
    interval = Interval(
        max(0.0, length - reach) / math.sqrt(rings), (length + reach) / math.sqrt(rings), level, ESTIMATOR
    )
    slope = difference / (rings * value) if value > 0 else np.zeros(rings)
    high_x, high_y = _balance(x, frequencies), _balance(y, frequencies)
    return SpectralDistance(
        value=value,
        raw=length / math.sqrt(rings),
        interval=interval,
        difference=difference,
        reach=normal_quantile(level) * np.sqrt(np.diagonal(covariance)),
        high=difference_of_means(high_x, high_y, level),
        influence_x=own_x @ slope,
        influence_y=-(own_y @ slope),
        high_x=high_x - high_x.mean(),
        high_y=high_y.mean() - high_y,
    )


def block_edges(images: Array) -> Array:
    """``(n, H, W)`` grey levels -> ``(n,)`` how much larger steps across the 8x8 grid of JPEG are than steps beside it.

    The difference of the mean step over the edges of the blocks and the mean step one pixel to either side, divided by
    the mean step: about zero for pictures that never were compressed, where nothing marks the eighth pixel. Zero for
    flat images, and for images too small to hold two blocks.
    """
    excess = np.zeros(len(images))
    total = np.zeros(len(images))
    for axis in (1, 2):
        steps = np.abs(np.diff(images, axis=axis)).mean(axis=3 - axis)
        at = np.arange(_GRID - 1, steps.shape[1] - 1, _GRID)
        if len(at):
            beside = (steps[:, at - 1] + steps[:, at + 1]).mean(axis=1) / 2.0
            excess += steps[:, at].mean(axis=1) - beside
            total += steps.mean(axis=1)
    return np.divide(excess, total, out=np.zeros(len(images)), where=total > 0)


def _radius(covariance: Array, rows: int, level: float) -> float:
    """How long the noise of a difference is, but in half of ``1 - level`` of draws: the root of a scaled F.

    Its square is a sum of chi-squares weighted by the eigenvalues; the scaled one has its first two moments, and F
    allows for a covariance that was estimated from ``rows`` images.
    """
    trace, squares = float(np.trace(covariance)), float(np.sum(np.square(covariance)))
    if trace <= 0.0 or squares <= 0.0:
        return 0.0
    return math.sqrt(trace * float(fdtri(trace**2 / squares, rows - 1.0, (1.0 + level) / 2.0)))


def _balance(rows: Array, frequencies: Array) -> Array:
    above = frequencies > _HIGH
    return np.asarray(rows[:, above].mean(axis=1) - rows[:, ~above].mean(axis=1), dtype=np.float64)


def _hann(size: int) -> Array:
    """Hann window centred on the image; its transform is zero but for the three lowest frequencies."""
    return np.asarray(0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(size) + 0.5) / size), dtype=np.float64)


def _refuse(x: Array, y: Array, frequencies: Array) -> None:
    for name, rows in (("first", x), ("second", y)):
        if rows.ndim != 2 or len(rows) < 2 or rows.shape[1] != len(frequencies):
            raise DataError(
                f"A distance of spectra was asked of a {name} set of shape {rows.shape} over {len(frequencies)} "
                "frequencies; it needs (N >= 2, K)."
            )
        if not np.isfinite(rows).all():
            raise DataError(f"The {name} set of spectra holds values that are not finite; check the images.")
    if not 0 < int((frequencies > _HIGH).sum()) < len(frequencies):
        raise DataError(f"The {len(frequencies)} frequencies must lie on both sides of {_HIGH} cycles per pixel.")
