"""What a latent model's autoencoder alone loses: held-out images against their own reconstructions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    Series,
    Table,
)
from ldm_eval.errors import EvidenceError
from ldm_eval.stats.frechet import FrechetDistance, frechet_distance
from ldm_eval.stats.means import mean_of
from ldm_eval.stats.resampling import disjoint_parts
from ldm_eval_quality.feature_sets import MINIMUM, usable_features
from ldm_eval_quality.naming import reconstruction_name

__all__ = ["ReconstructionDistanceCheck"]

_FACTORY = "ldm_eval_quality.reconstruction_phantom:autoencoder"
_LEVEL = 0.95
_CALLED: Mapping[str, str] = {"rfid": "rFID", "clean_rfid": "clean rFID"}
_BLOCK = 256
"""Images compared at once."""


def _expected(shrink: float, noise: float, dimension: int = 16, n: int = 600) -> float:
    """What the phantom reads on average at ``n`` images, which is what the interval covers; to second order.

    In the limit x ~ N(0, I) and y = shrink x + noise e are d (c - 1)^2 apart with c^2 = shrink^2 + noise^2. The means
    of n images add d ((1 - shrink)^2 + noise^2) / n. The covariances add, with x and y/c correlated by r = shrink / c,
    (c / 4) E tr (S_x - S_y / c^2)^2 = c d (d + 1) (1 - r^2) / (2 (n - 1)).
    """
    scale = math.hypot(shrink, noise)
    means = dimension * ((1.0 - shrink) ** 2 + noise**2) / n
    covariances = scale * dimension * (dimension + 1) * (noise / scale) ** 2 / (2 * (n - 1))
    return dimension * (scale - 1.0) ** 2 + means + covariances


@dataclass(frozen=True, slots=True, eq=False)
class _Distance:
    """The distance of all pairs, and the mean of that of two halves: what halving adds, the size itself has added."""

    whole: FrechetDistance
    halves: float

    @property
    def bias(self) -> float:
        """How much too large the distance reads at this size, to first order in 1/n; too little below 2 x dimension."""
        return max(0.0, self.halves - self.whole.value)


@final
class ReconstructionDistanceCheck:
    """Fréchet distance between held-out images and what the model's own autoencoder makes of them; lower is closer.

    No sample of a latent model is better than its decoder. The two sets are paired, and so is the interval; identical
    sets give zero at every n, so the distance has no floor.
    """

    id: ClassVar[str] = "quality/reconstruction_distance"
    title: ClassVar[str] = "Reconstruction distance"
    question: ClassVar[str] = "How much does the model's autoencoder lose before the diffusion model does anything?"
    needs: ClassVar[Needs] = Needs(
        roles=("holdout", "reconstruction"),
        features=("holdout", "reconstruction"),
        pixels=("holdout", "reconstruction"),
        each_extractor=True,
    )
    planning: ClassVar[Mapping[str, Planning]] = {"*": Planning("mean", "holdout images", parameters={"curved": 1.0})}
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="rfd",
        alarm=Alarm("low", ">", 0.01),
        catches=PhantomCase(
            _FACTORY,
            "an autoencoder that shrinks every feature by a fifth and adds a tenth of noise",
            {"shrink": 0.8, "noise": 0.1, "levels": 3},
            _expected(0.8, 0.1),
        ),
        leaves_alone=PhantomCase(_FACTORY, "nothing but the rounding to 8 bits: noise of a hundredth", {"noise": 0.01}),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the distance. NotApplicable for too few images, Invalid where all have the same features."""
        images, made = usable_features(evidence, "holdout"), usable_features(evidence, "reconstruction")
        if len(images) != len(made):
            raise EvidenceError(f"{len(images)} holdout images have {len(made)} reconstructions; each has one.")
        if len(images) < MINIMUM:
            return NotApplicable(
                f"The holdout set has {len(images)} images and this check needs at least {MINIMUM}; give it more."
            )
        if not np.ptp(images, axis=0).any():
            return Invalid(
                f"All {len(images)} holdout images have one and the same feature vector; "
                "check that they are different images and that the extractor sees them."
            )
        name = reconstruction_name(evidence.extractor())
        distance = _distance(images, made, evidence.rng("halves"))
        errors = _pixel_errors(evidence)
        # image and reconstruction are one draw: what a pair adds stands at its image
        pairs = distance.whole.influence_x + distance.whole.influence_y
        evidence.keep_contributions(name, {"holdout": pairs})
        evidence.keep_contributions("reconstruction_error", {"holdout": errors - errors.mean()})
        return [
            _reported(evidence, name, distance),
            _pixel_error(evidence, errors),
            _table(name, distance, errors),
            _figure(errors),
        ]


def _distance(images: NDArray[np.float32], made: NDArray[np.float32], rng: np.random.Generator) -> _Distance:
    parts = disjoint_parts(len(images), len(images) // 2, rng)
    halves = [frechet_distance(images[rows], made[rows]).value for rows in (parts.first, parts.second)]
    return _Distance(frechet_distance(images, made, paired=True, level=_LEVEL), float(np.mean(halves)))


def _reported(evidence: Evidence, name: str, distance: _Distance) -> Measurement:
    found = distance.whole
    called = _CALLED.get(name, f"rFD ({evidence.extractor().name})")
    note = (
        f"{called} of {found.n} held-out images and their reconstructions; two halves read {distance.halves:.3g}, "
        f"so about {distance.bias:.2g} of it is the number of images."
    )
    if found.n < 2 * found.dimension:
        note += f" With fewer than 2 x {found.dimension} images it is more than that: compare at equal n only."
    return evidence.measurement(
        name,
        found.value,
        found.interval,
        n=found.n,
        unit="squared feature distance",
        direction="lower",
        against="holdout",
        uses_extractor=True,
        note=note,
        pairs="image and reconstruction",
    )


def _pixel_errors(evidence: Evidence) -> NDArray[np.float64]:
    """``(N,)`` mean absolute difference of each image and its reconstruction, in grey levels."""
    images, made = evidence.images("holdout").pixels, evidence.images("reconstruction").pixels
    if images.shape != made.shape:
        raise EvidenceError(f"Holdout images are {images.shape} and their reconstructions {made.shape}.")
    parts = [
        np.abs(np.subtract(images[i : i + _BLOCK], made[i : i + _BLOCK], dtype=np.int16)).mean(axis=(1, 2, 3))
        for i in range(0, len(images), _BLOCK)
    ]
    return np.concatenate(parts).astype(np.float64)


def _pixel_error(evidence: Evidence, errors: NDArray[np.float64]) -> Measurement:
    found = mean_of(errors, _LEVEL)
    interval = replace(found.interval, low=max(0.0, found.interval.low))
    return evidence.measurement(
        "reconstruction_error",
        found.value,
        interval,
        n=found.n,
        unit="grey levels per pixel",
        direction="lower",
        against="holdout",
        note="Mean absolute difference of a held-out image and its reconstruction, of 255 levels.",
    )


def _table(name: str, distance: _Distance, errors: NDArray[np.float64]) -> Table:
    whole = distance.whole
    median, most, worst = (float(q) for q in np.quantile(errors, (0.5, 0.95, 1.0)))
    return Table(
        name=f"{name}_parts",
        title="What the reconstruction distance is made of",
        columns=("what", "value"),
        rows=(
            ("pairs", whole.n),
            ("distance", whole.value),
            ("of it the means", whole.mean_term),
            ("of it the covariances", whole.covariance_term),
            ("mean distance of two halves", distance.halves),
            ("part due to the number of images (halves minus whole)", distance.bias),
            ("grey levels, median image", median),
            ("grey levels, 95 % of the images below", most),
            ("grey levels, worst image", worst),
        ),
        note="Identical sets give zero at every n, so there is no floor; what n adds is estimated from two halves.",
    )


def _figure(errors: NDArray[np.float64]) -> Figure:
    counts, edges = np.histogram(errors, bins=24, range=(0.0, max(float(errors.max()), 1.0)))
    middles = (edges[:-1] + edges[1:]) / 2
    return Figure(
        name="reconstruction_errors",
        kind="histogram",
        title="Error of the reconstructions in grey levels",
        alt="How many held-out images are reconstructed with which mean absolute error; a long right tail means that "
        "some kinds of image are lost.",
        x_label="mean absolute error of an image, grey levels",
        y_label="images",
        series=(Series("held-out images", tuple(map(float, middles)), tuple(map(float, counts))),),
    )
