"""Power spectra of samples and real images: too little at high frequencies is blur, too much is noise or artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    Alarm,
    Evidence,
    Figure,
    Finding,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Role,
    Series,
    Table,
)
from ldm_eval.stats.means import difference_of_means
from ldm_eval.stats.resampling import disjoint_parts, subset
from ldm_eval.stats.spectrum import (
    SMALLEST_SIDE,
    SpectralDistance,
    block_edges,
    log_spectra,
    luminance,
    rings_of,
    spectral_distance,
)
from ldm_eval_quality.chosen_rows import at_rows
from ldm_eval_quality.feature_sets import MINIMUM

__all__ = ["PowerSpectrumCheck"]

_FACTORY = "ldm_eval_quality.conditional_phantoms:spectra"
_BLOCK_PIXELS = 1 << 20
_MOST_PIXELS = 1 << 27
"""Pixels of a set that are transformed; of larger sets as many images as that allows, drawn at random."""
_GRID_LEVEL = 0.999
_GRID_STEP = 0.02
"""How much more the 8x8 grid must show in one set than in the other, as a share of the mean step, to be told."""


@dataclass(frozen=True, slots=True, eq=False)
class _Spectra:
    """Log spectra ``rows (n, K)`` of the images numbered ``used`` of one set, and how its 8x8 grid shows, ``(n,)``."""

    rows: NDArray[np.float64]
    edges: NDArray[np.float64]
    used: NDArray[np.int64]


@final
class PowerSpectrumCheck:
    """Root mean square difference, in dB over rings of frequency, of the mean log power spectra; lower is closer.

    Pixels only, no features. Noise is subtracted, so the distance has no bias to speak of at any n.
    """

    id: ClassVar[str] = "quality/power_spectrum"
    title: ClassVar[str] = "Power spectrum"
    question: ClassVar[str] = "Do the samples have the sharpness and texture of real images, frequency by frequency?"
    needs: ClassVar[Needs] = Needs(samples=MINIMUM, roles=("reference",), pixels=("samples", "reference"))
    planning: ClassVar[Mapping[str, Planning]] = {"*": Planning("mean", "samples, and as many reference images")}
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="power_spectrum_distance",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(_FACTORY, "images blurred by a Gaussian of 0.4 pixels", {"blur": 0.4}),
        leaves_alone=PhantomCase(_FACTORY, "another draw of the same textures", {"blur": 0.0}, 0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the spectra. NotApplicable for too few, too small or unequal images, Invalid for flat real ones."""
        refused = _refusal(evidence)
        if refused is not None:
            return refused
        _, height, width = evidence.images("reference").shape
        samples, reference = _spectra(evidence, "samples"), _spectra(evidence, "reference")
        if not np.ptp(reference.rows, axis=0).any():
            return Invalid(
                f"All {len(reference.rows)} reference images have one and the same spectrum; check that they are "
                "different images and not flat."
            )
        frequencies = rings_of(height, width).frequencies
        found = spectral_distance(samples.rows, reference.rows, frequencies)
        floor = _floor(evidence, samples, reference, frequencies)
        codec = _codec_note(samples, reference)
        _keep(evidence, found, samples, reference)
        return [
            _distance(evidence, found, floor, samples, reference, codec),
            _high(evidence, found, samples, reference, codec),
            _table(found, floor, samples, reference, frequencies),
            _figure(samples, reference, frequencies),
        ]


def _refusal(evidence: Evidence) -> NotApplicable | None:
    samples, reference = evidence.images("samples"), evidence.images("reference")
    for role, images in (("samples", samples), ("reference", reference)):
        if len(images) < MINIMUM:
            return NotApplicable(
                f"The {role} set has {len(images)} images and this check needs at least {MINIMUM}; give it more images."
            )
    if samples.shape[1:] != reference.shape[1:]:
        sizes = " and ".join(f"{one.shape[2]}x{one.shape[1]}" for one in (samples, reference))
        return NotApplicable(
            f"Samples and reference are {sizes} pixels: a frequency of one is none of the other. Give a reference of "
            "the samples' size, resized as the training images were."
        )
    if min(reference.shape[1:]) < SMALLEST_SIDE:
        return NotApplicable(f"The images are smaller than {SMALLEST_SIDE} pixels and have too few frequencies.")
    return None


def _spectra(evidence: Evidence, role: Role) -> _Spectra:
    images = evidence.images(role)
    _, height, width = images.shape
    used = subset(len(images), max(MINIMUM, _MOST_PIXELS // (height * width)), evidence.rng(f"spectra of {role}"))
    rings, step = rings_of(height, width), max(1, _BLOCK_PIXELS // (height * width))
    rows, edges = [], []
    for start in range(0, len(used), step):
        part = used[start : start + step]
        first, last = int(part[0]), int(part[-1]) + 1
        block = images.rgb(first, last)[part - first]
        rows.append(log_spectra([block], rings))
        edges.append(block_edges(luminance(block)))
    return _Spectra(np.concatenate(rows), np.concatenate(edges), used)


def _floor(
    evidence: Evidence, samples: _Spectra, reference: _Spectra, frequencies: NDArray[np.float64]
) -> SpectralDistance:
    """Real images against real images: two disjoint parts of the reference, as large as the samples where it can be."""
    parts = disjoint_parts(len(reference.rows), len(samples.rows), evidence.rng("parts of the reference"))
    return spectral_distance(reference.rows[parts.first], reference.rows[parts.second], frequencies)


def _codec_note(samples: _Spectra, reference: _Spectra) -> str:
    """A sentence where the 8x8 grid of JPEG shows in one set and not, or less, in the other."""
    found = difference_of_means(reference.edges, samples.edges, _GRID_LEVEL)
    if found.interval.low <= 0.0 <= found.interval.high or abs(found.value) < _GRID_STEP:
        return ""
    marked, other = ("reference images", "samples") if found.value > 0 else ("samples", "reference images")
    return (
        f" The 8x8 grid of JPEG shows in the {marked} (steps across it differ from those beside it by "
        f"{abs(found.value):.1%} of the mean step more than in the {other}): part of the difference is the file format."
    )


def _keep(evidence: Evidence, found: SpectralDistance, samples: _Spectra, reference: _Spectra) -> None:
    """The distance where it is clearly above zero (at zero its first order vanishes), and the balance always."""
    given: dict[str, dict[Role, NDArray[np.float64]]] = {
        "high_frequency_excess": {"samples": found.high_x, "reference": found.high_y}
    }
    if found.interval.low > 0:
        given["power_spectrum_distance"] = {"samples": found.influence_x, "reference": found.influence_y}
    used: dict[Role, NDArray[np.int64]] = {"samples": samples.used, "reference": reference.used}
    for name, by_role in given.items():
        whole = {role: at_rows(values, used[role], len(evidence.images(role))) for role, values in by_role.items()}
        evidence.keep_contributions(name, whole)


def _distance(
    evidence: Evidence,
    found: SpectralDistance,
    floor: SpectralDistance,
    samples: _Spectra,
    reference: _Spectra,
    codec: str,
) -> Measurement:
    return evidence.measurement(
        "power_spectrum_distance",
        found.value,
        found.interval,
        n=len(samples.rows),
        unit="dB",
        direction="lower",
        against="reference",
        floor=floor.value,
        note=f"As published, with its noise left in, it reads {found.raw:.3g} dB (real images: {floor.raw:.3g})."
        + codec,
        window="hann",
        real_n=len(reference.rows),
    )


def _high(
    evidence: Evidence, found: SpectralDistance, samples: _Spectra, reference: _Spectra, codec: str
) -> Measurement:
    return evidence.measurement(
        "high_frequency_excess",
        found.high.value,
        found.high.interval,
        n=len(samples.rows),
        unit="dB",
        direction="target",
        against="reference",
        note="Above a quarter of a cycle per pixel against below it, samples less reference: below zero is blurred, "
        "above it noisy or patterned." + codec,
        window="hann",
        real_n=len(reference.rows),
    )


def _table(
    found: SpectralDistance,
    floor: SpectralDistance,
    samples: _Spectra,
    reference: _Spectra,
    frequencies: NDArray[np.float64],
) -> Table:
    """At most sixteen rings; a spectrum of large images has hundreds, and the figure shows them all."""
    shown = np.unique(np.linspace(0, len(frequencies) - 1, 16).round().astype(int))
    real, made = reference.rows.mean(axis=0), samples.rows.mean(axis=0)
    return Table(
        name="spectrum",
        title="Mean log power by frequency",
        columns=("cycles per pixel", "samples, dB", "reference, dB", "difference", "low", "high", "real – real"),
        rows=tuple(
            (
                float(frequencies[k]),
                float(made[k]),
                float(real[k]),
                float(found.difference[k]),
                float(found.difference[k] - found.reach[k]),
                float(found.difference[k] + found.reach[k]),
                float(floor.difference[k]),
            )
            for k in shown
        ),
        note="dB of one squared grey level (of 255) per bin; luma, Hann window; each frequency has its own interval. "
        f"Steps across the 8x8 grid less those beside it: {samples.edges.mean():.2%} of the mean step in the samples, "
        f"{reference.edges.mean():.2%} in the reference.",
    )


def _figure(samples: _Spectra, reference: _Spectra, frequencies: NDArray[np.float64]) -> Figure:
    def series(name: str, rows: NDArray[np.float64]) -> Series:
        mean = rows.mean(axis=0)
        reach = 1.96 * rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
        parts = (mean, mean - reach, mean + reach)
        middle, low, high = (tuple(map(float, part)) for part in parts)
        return Series(name, tuple(map(float, frequencies)), middle, low, high)

    return Figure(
        name="spectra",
        kind="lines",
        title="Mean log power spectrum",
        alt="Power against frequency for samples and reference, with 95 % bands. Samples below the reference on the "
        "right are blurred; a rise on the right that the reference lacks is noise or a checkerboard.",
        x_label="frequency, cycles per pixel (above 0.5: corners only)",
        y_label="power, dB of a squared grey level",
        series=(series("samples", samples.rows), series("reference", reference.rows)),
    )
