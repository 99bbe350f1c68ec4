"""Three published statistics of data copying, measured as published. None of them is a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    Alarm,
    Evidence,
    Finding,
    Interval,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    SignatureValue,
)
from ldm_eval_privacy.feature_space import usable_features
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DataCopying"]

_DEFAULTS = {"cells": 10.0, "fewest": 20.0, "memorisation_threshold": 0.1}
_COPIER = "ldm_eval_privacy.feature_phantoms:feature_copier"
_MINIMUM = 50
_INCEPTION = "inception-2015"


class DataCopying:
    """C_T, authenticity and the memorisation-informed Fréchet distance; for comparison with the literature."""

    id: ClassVar[str] = "privacy/data_copying"
    title: ClassVar[str] = "Data-copying statistics of the literature"
    question: ClassVar[str] = "What do the published statistics of data copying (C_T, authenticity, MiFID) say?"
    settings: ClassVar[tuple[str, ...]] = tuple(_DEFAULTS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "authenticity": Planning("proportion"),
        "c_t": Planning("mean", "samples, and as many holdout images", 0.0),
        "memorisation_distance": Planning("mean"),
        "mifid": Planning("mean"),
        "mi_frechet_distance": Planning("mean"),
    }
    needs: ClassVar[Needs] = Needs(
        samples=_MINIMUM,
        roles=("training",),
        optional=("holdout",),
        features=("samples", "training"),
        each_extractor=True,
    )
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="c_t",
        alarm=Alarm("high", "<", 0.0),
        catches=PhantomCase(
            _COPIER, "40 % of the samples copy a training image", {"copy_rate": 0.4, "check": "privacy/data_copying"}
        ),
        leaves_alone=PhantomCase(
            _COPIER, "fresh images of the same law", {"copy_rate": 0.0, "check": "privacy/data_copying"}
        ),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure what can be measured: C_T needs a holdout.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        values = positive_settings(self.id, _DEFAULTS, evidence.parameters)
        samples, training = usable_features(evidence, "samples"), usable_features(evidence, "training")
        if len(training) < _MINIMUM:
            return NotApplicable(f"At least {_MINIMUM} training images are needed; there are {len(training)}.")
        found: list[Finding] = []
        if evidence.has("holdout"):
            copying = _copying(evidence, values, samples, training)
            found += [copying] if copying is not None else []
        return [*found, _authenticity(evidence, samples, training), *_informed(evidence, values, samples, training)]


def _copying(
    evidence: Evidence, values: Mapping[str, float], samples: NDArray[np.float32], training: NDArray[np.float32]
) -> Measurement | None:
    from ldm_eval.stats.data_copying import copying_test, partition

    given, fewest = usable_features(evidence, "holdout"), int(values["fewest"])
    holdout = given[~_rows_in(given, training)]
    shared = len(given) - len(holdout)
    if not len(holdout):
        return None
    cells = max(1, min(int(values["cells"]), min(len(samples), len(training), len(holdout)) // (2 * fewest)))
    centres = partition(training, cells, evidence.rng("cells"))
    found = copying_test(training, holdout, samples, centres, fewest, on_progress=evidence.progress)
    if found is None:
        return None
    note = (
        "Far below 0: samples lie nearer to training than fresh images do. "
        f"{found.samples} samples and {found.controls} holdout images in {found.cells} cells "
        f"({found.left_out} with too few left out); the lowest cell has {found.lowest:.1f}. "
        f"{f'{shared} holdout images have the features of a training image and were left out. ' if shared else ''}"
        "It is silent at few copies, and a model that shows too little variety alarms it without copying."
    )
    return _measurement(
        evidence,
        "c_t",
        found.value,
        found.interval,
        len(samples),
        "standard deviations",
        note,
        cells=values["cells"],
        fewest=values["fewest"],
        holdout_digest=evidence.images("holdout").digest,
    )


def _rows_in(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """``(N,)``: which rows are, to the last bit, among the others: real images that the model saw are not fresh."""
    import numpy as np

    def whole(values: NDArray[np.float32]) -> NDArray[np.void]:
        block = np.ascontiguousarray(values)
        return block.view(np.dtype((np.void, block.dtype.itemsize * block.shape[1])))[:, 0]

    return np.isin(whole(rows), whole(others))


def _authenticity(evidence: Evidence, samples: NDArray[np.float32], training: NDArray[np.float32]) -> Measurement:
    from ldm_eval.stats.data_copying import authenticity

    found = authenticity(training, samples, on_progress=evidence.progress)
    note = (
        "Farther from the nearest training image than that image is from its own nearest neighbour. "
        "A near copy of an image that is in training twice counts as authentic."
    )
    return _measurement(evidence, "authenticity", found.value, found.interval, len(samples), "share of samples", note)


def _informed(
    evidence: Evidence, values: Mapping[str, float], samples: NDArray[np.float32], training: NDArray[np.float32]
) -> list[Measurement]:
    """The memorisation distance, and the Fréchet distance to training divided by it where it is small."""
    import numpy as np

    from ldm_eval.stats.data_copying import memorisation_distances
    from ldm_eval.stats.frechet import frechet_distance

    threshold, n = values["memorisation_threshold"], len(samples)
    distances = memorisation_distances(training, samples)
    mean = float(distances.mean())
    spread = _normal(mean, float(distances.std(ddof=1)) / n**0.5, "normal, samples random")
    note = "Mean over the samples of the smallest 1 - |cosine| to a training image."
    found = [_measurement(evidence, "memorisation_distance", mean, spread, n, "cosine distance", note)]
    if mean == 0:  # pure replay: divided by nothing
        return found
    frechet = frechet_distance(samples, training)
    low = mean < threshold
    by_sample = (
        frechet.influence_x / mean - frechet.value * (distances - mean) / mean**2 if low else frechet.influence_x
    )
    by_real = frechet.influence_y / mean if low else frechet.influence_y
    error = float(np.sqrt(by_sample.var(ddof=1) / n + by_real.var(ddof=1) / len(training)))
    value = frechet.value / mean if low else frechet.value
    name = "mifid" if evidence.extractor().name == _INCEPTION else "mi_frechet_distance"
    how = (
        f"The Fréchet distance to the training set, {frechet.value:.4g}, divided by the memorisation distance."
        if low
        else f"The Fréchet distance to the training set: the memorisation distance is not below {threshold:g}."
    )
    interval = _normal(value, error, "influence function, both sets random")
    unit = "squared feature distance"
    found.append(_measurement(evidence, name, value, interval, n, unit, how, memorisation_threshold=threshold))
    return found


def _normal(value: float, error: float, estimator: str, level: float = 0.95) -> Interval:
    from scipy.special import ndtri

    half = float(ndtri(0.5 + level / 2)) * error
    return Interval(max(0.0, value - half), value + half, level, estimator)


def _measurement(
    evidence: Evidence,
    name: str,
    value: float,
    interval: Interval,
    n: int,
    unit: str,
    note: str,
    **protocol: SignatureValue,
) -> Measurement:
    return evidence.measurement(
        name,
        value,
        interval,
        n=n,
        unit=unit,
        direction="none",
        against="training",
        uses_extractor=True,
        group=None,
        floor=None,
        note=f"Diagnostic. {note}",
        **protocol,
    )
