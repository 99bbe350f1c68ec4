"""Precision, recall, density and coverage: are samples realistic, and do they reach all of the real data?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from ldm_eval.errors import ConfigError
from ldm_eval.stats.manifolds import ManifoldOverlap, ManifoldShare, manifold_overlap
from ldm_eval.stats.resampling import disjoint_parts, subset
from ldm_eval_quality.chosen_rows import at_rows, chosen
from ldm_eval_quality.feature_sets import MINIMUM, refusal, repeats_note, usable_features

__all__ = ["PrecisionRecallCheck"]

_FACTORY = "ldm_eval_quality.phantoms:modes"
_K = 5


@final
class PrecisionRecallCheck:
    """Overlap of k-nearest-neighbour manifolds of samples and reference at equal n; all four are better when higher.

    Setting: ``k`` (5; the ADM evaluator uses 3). It is in the signature, and other than 5 in the name: ``recall_k3``.
    """

    id: ClassVar[str] = "quality/precision_recall"
    title: ClassVar[str] = "Precision and recall"
    question: ClassVar[str] = "Are the samples realistic, and do they reach all of the real data?"
    settings: ClassVar[tuple[str, ...]] = ("k",)
    needs: ClassVar[Needs] = Needs(
        samples=MINIMUM,
        roles=("reference",),
        optional=("training", "holdout"),
        features=("samples", "reference"),
        each_extractor=True,
    )
    planning: ClassVar[Mapping[str, Planning]] = {"*": Planning("mean", "samples, and as many reference images")}
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="recall",
        alarm=Alarm("high", "<", 0.6),
        catches=PhantomCase(_FACTORY, "2 of 8 modes are drawn", {"modes_drawn": 2}),
        leaves_alone=PhantomCase(_FACTORY, "all 8 modes are drawn", {"modes_drawn": 8}),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the overlap. NotApplicable for too few images, Invalid for a constant reference."""
        k = evidence.parameters.get("k", _K)
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k < MINIMUM // 2:
            raise ConfigError(f"{self.id}: k = {k!r} was asked for; give a whole number from 1 to {MINIMUM // 2 - 1}.")
        refused = refusal(evidence)
        if refused is not None:
            return refused
        samples, reference = usable_features(evidence, "samples"), usable_features(evidence, "reference")
        size = min(len(samples), len(reference))
        of_samples = subset(len(samples), size, evidence.rng("samples"))
        of_reference = subset(len(reference), size, evidence.rng("reference"))
        generated, real = chosen(samples, of_samples), chosen(reference, of_reference)
        overlap = manifold_overlap(real, generated, k=k)
        for name, share in _pairs(overlap).items():
            kept: dict[Role, NDArray[np.float64]] = {
                "samples": at_rows(share.influence_generated, of_samples, len(samples)),
                "reference": at_rows(share.influence_real, of_reference, len(reference)),
            }
            evidence.keep_contributions(_called(name, k), kept)
        floor = _real_overlap(evidence, reference, real, k)
        findings = [
            _measurement(evidence, name, getattr(overlap, name), getattr(floor, name), overlap, floor)
            for name in ("precision", "recall", "density", "coverage")
        ]
        return [*findings, _table(overlap, floor, repeats_note(reference)), _figure(overlap, floor)]


def _real_overlap(
    evidence: Evidence, reference: NDArray[np.float32], real: NDArray[np.float32], k: int
) -> ManifoldOverlap:
    """Real images in the place of the samples: training images at the full size where the reference was held out.

    Training and holdout come from one source, so that pair is two disjoint halves of real data at the samples' own n.
    Otherwise the reference is parted in two, which halves n.
    """
    held_out = evidence.has("holdout") and evidence.images("holdout").digest == evidence.images("reference").digest
    if held_out and evidence.has("training") and len(evidence.images("training")) >= len(real):
        training = usable_features(evidence, "training")
        rows = subset(len(training), len(real), evidence.rng("training in the place of samples"))
        return manifold_overlap(real, chosen(training, rows), k=k)
    parts = disjoint_parts(len(reference), len(real), evidence.rng("parts of the reference"))
    return manifold_overlap(reference[parts.first], reference[parts.second], k=k)


def _called(name: str, k: int) -> str:
    """The name of a measure, which says k where it is not that of the papers' improved versions."""
    return name if k == _K else f"{name}_k{k}"


def _measurement(
    evidence: Evidence,
    name: str,
    share: ManifoldShare,
    real: ManifoldShare,
    overlap: ManifoldOverlap,
    floor: ManifoldOverlap,
) -> Measurement:
    note = f"Real images against real images, {floor.n_real} of each, give {real.value:.3g}."
    if floor.n_real < overlap.n_real:
        note += f" That is fewer than the {overlap.n_real} of each used here, so the two compare roughly."
    return evidence.measurement(
        _called(name, overlap.k),
        share.value,
        share.interval,
        n=overlap.n_generated,
        unit="ratio" if name == "density" else "share",
        direction="higher",
        against="reference",
        uses_extractor=True,
        floor=real.value,
        note=note,
        k=overlap.k,
        real_n=overlap.n_real,
    )


def _pairs(overlap: ManifoldOverlap) -> dict[str, ManifoldShare]:
    return {
        "precision": overlap.precision,
        "recall": overlap.recall,
        "density": overlap.density,
        "coverage": overlap.coverage,
    }


def _table(overlap: ManifoldOverlap, floor: ManifoldOverlap, repeats: str) -> Table:
    real = _pairs(floor)
    return Table(
        name="overlap",
        title=f"Overlap with the reference (k = {overlap.k})",
        columns=("measure", "n of each", "samples", "low", "high", "real against real", "n of each (real)"),
        rows=tuple(
            (name, overlap.n_real, one.value, one.interval.low, one.interval.high, real[name].value, floor.n_real)
            for name, one in _pairs(overlap).items()
        ),
        note=f"All four depend on n and k; the right-hand value is what real data reaches.{repeats}",
    )


def _figure(overlap: ManifoldOverlap, floor: ManifoldOverlap) -> Figure:
    return Figure(
        name="overlap",
        kind="intervals",
        title="Overlap of the samples with the reference",
        alt="Precision, recall, density and coverage of the samples, and beside them those of real images.",
        x_label="measure",
        y_label="share (density: ratio)",
        series=tuple(
            Series(
                label,
                tuple(_pairs(one)),
                tuple(share.value for share in _pairs(one).values()),
                tuple(share.interval.low for share in _pairs(one).values()),
                tuple(share.interval.high for share in _pairs(one).values()),
            )
            for label, one in (("samples", overlap), ("real against real", floor))
        ),
    )
