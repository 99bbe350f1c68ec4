"""CLIPScore: do the images show what their prompts say, and more so than what other prompts say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    Alarm,
    Evidence,
    ExtractorInfo,
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
from ldm_eval.errors import DataError, EvidenceError
from ldm_eval.stats.text_alignment import ClusteredMean, TextAlignment, text_alignment
from ldm_eval_quality.feature_sets import usable_features

__all__ = ["ClipScoreCheck"]

_FACTORY = "ldm_eval_quality.conditional_phantoms:prompted"
_MINIMUM = 30
_FEW_PROMPTS = 30
"""Prompts below which an error that treats each as one unit is known to be too small."""
_UNIT = "2.5 x cosine"


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """How the images numbered ``used`` of a set of ``total`` fit their prompts; ``clusters``: equal for equal ones."""

    found: TextAlignment
    used: NDArray[np.int64]
    clusters: NDArray[np.int64]
    total: int


@final
class ClipScoreCheck:
    """Cosine of each image and its prompt in a space that holds both, beside that of the image and all other prompts.

    The score alone rises with any image that CLIP likes; its gain over shuffled prompts is what prompts have to do with
    it. Called ``clip_score`` only with the published weights of a CLIP, in any other space ``text_image_score``.
    """

    id: ClassVar[str] = "quality/clip_score"
    title: ClassVar[str] = "CLIPScore"
    question: ClassVar[str] = "Do the images show what their prompts say?"
    needs: ClassVar[Needs] = Needs(
        samples=_MINIMUM,
        optional=("reference",),
        features=("samples",),
        text=("samples", "reference"),
        each_extractor=True,
    )
    planning: ClassVar[Mapping[str, Planning]] = {"*": Planning("mean", "samples, each of another prompt")}
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="text_image_score_gain",
        alarm=Alarm("high", "<", 0.5),
        catches=PhantomCase(_FACTORY, "images that have nothing to do with their prompts", {"obeys": 0.0}, 0.0),
        leaves_alone=PhantomCase(_FACTORY, "nine of ten images show what their prompt says", {"obeys": 0.9}),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the score. NotApplicable without prompts or with too few images, Invalid for features of zeros."""
        info = evidence.extractor()
        if not info.text:
            return NotApplicable(
                f"The extractor '{info.name}' embeds no text; add a CLIP to --extractor (`ldm-eval list extractors`)."
            )
        try:
            samples = _fit(evidence, "samples")
        except DataError as error:
            return Invalid(str(error))
        if samples is None or len(samples.used) < _MINIMUM:
            count = 0 if samples is None else len(samples.used)
            return NotApplicable(
                f"{count} samples have a prompt and this check needs at least {_MINIMUM}; sample a text-to-image "
                "model, or give finished images a column 'prompt' in the CSV beside them."
            )
        name = _name(info)
        real = _real(evidence)
        findings = _findings(evidence, name, samples, real, info)
        return [*findings, _table(name, samples, real), _figure(name, samples)]


def _name(info: ExtractorInfo) -> str:
    published = info.name.startswith("clip-") and not info.name.endswith("-unverified")
    return "clip_score" if published else "text_image_score"


def _fit(evidence: Evidence, role: Role) -> _Fit | None:
    """The fit of the images of a set that have a prompt; None for fewer than two."""
    prompts = evidence.images(role).prompts
    used = np.flatnonzero(np.char.str_len(prompts) > 0) if prompts is not None else np.zeros(0, dtype=np.int64)
    if prompts is None or len(used) < 2:
        return None
    texts = evidence.text_features(role)[used]
    if not np.isfinite(texts).all():
        raise EvidenceError(
            f"Features of prompts of the {role} set are not finite; look at the extractor "
            f"'{evidence.extractor().name}'."
        )
    _, clusters = np.unique(prompts[used], return_inverse=True)
    found = text_alignment(usable_features(evidence, role)[used], texts, clusters)
    return _Fit(found, used.astype(np.int64), clusters.astype(np.int64), len(prompts))


def _real(evidence: Evidence) -> _Fit | None:
    """Real images and their captions, where the reference has captions and they were embedded."""
    if not evidence.has("reference") or evidence.images("reference").prompts is None:
        return None
    try:
        evidence.text_features("reference")
    except EvidenceError:  # captions that no check of the run asked for are not embedded
        return None
    try:
        return _fit(evidence, "reference")
    except DataError:  # an image or a caption without a direction: there is nothing to stand beside
        return None


def _keep(evidence: Evidence, name: str, found: ClusteredMean, samples: _Fit) -> None:
    """What each image adds; images of one prompt are one unit, whose sum stands at the first of them.

    With G prompts and n images a unit adds G / n times that sum: the mean over units is then the mean over images, and
    its variance the cluster-robust one.
    """
    first = np.unique(samples.clusters, return_index=True)[1]
    sums = np.bincount(samples.clusters, weights=found.contributions)
    whole = np.full(samples.total, np.nan)
    if found.clusters > 1:
        whole[samples.used[first]] = sums * found.clusters / found.n
    else:
        whole[samples.used] = found.contributions
    evidence.keep_contributions(name, {"samples": whole})


def _findings(evidence: Evidence, name: str, samples: _Fit, real: _Fit | None, info: ExtractorInfo) -> list[Finding]:
    found, captions = samples.found, real.found if real is not None else None
    clusters = found.score.clusters
    few = ""
    if clusters < _FEW_PROMPTS:
        few = f" With {clusters} different prompts the interval is somewhat too narrow; 30 or more are wanted."
    out: list[Finding] = []
    if found.gain is not None and found.shuffled is not None:
        floor = captions.gain.value if captions is not None and captions.gain is not None else None
        note = (
            f"Over the same images with the prompts of others, which score {found.shuffled.value:.3g}; zero where "
            f"prompts do not matter. {_about_captions(floor)}{clusters} different prompts.{few}"
        )
        out.append(_measurement(evidence, f"{name}_gain", found.gain, _UNIT, floor, note, samples))
    floor = captions.score.value if captions is not None else None
    alone = "" if found.gain is not None else " All images have one prompt, so there is nothing to shuffle."
    note = f"Mean of 2.5 max(cosine, 0), as published, no prefix before the prompt; space: {info.name}.{alone}"
    out.append(_measurement(evidence, name, found.score, _UNIT, floor, note + few, samples))
    floor = captions.cosine.value if captions is not None else None
    note = f"What torchmetrics calls CLIP score: mean cosine x 100; space: {info.name}."
    called = name.removesuffix("_score") + "_cosine"
    out.append(_measurement(evidence, called, found.cosine, "cosine x 100", floor, note + few, samples))
    return out


def _about_captions(floor: float | None) -> str:
    return "" if floor is None else f"Real images gain {floor:.3g} from their captions. "


def _measurement(
    evidence: Evidence, name: str, found: ClusteredMean, unit: str, floor: float | None, note: str, samples: _Fit
) -> Measurement:
    _keep(evidence, name, found, samples)
    return evidence.measurement(
        name,
        found.value,
        found.interval,
        n=found.n,
        unit=unit,
        direction="higher",
        uses_extractor=True,
        floor=floor,
        note=note,
        prompts=found.clusters,
    )


def _table(name: str, samples: _Fit, real: _Fit | None) -> Table:
    sets = {"samples": samples} | ({"reference captions": real} if real is not None else {})
    rows: list[tuple[str, int, int, float, float, float]] = []
    for label, fit in sets.items():
        kinds = {"own prompts": fit.found.score, "prompts of others": fit.found.shuffled, "gain": fit.found.gain}
        for kind, one in kinds.items():
            if one is not None:
                rows.append((f"{label}: {kind}", one.n, one.clusters, one.value, one.interval.low, one.interval.high))
    return Table(
        name=f"{name}_parts",
        title="Images with their own prompts and with those of others",
        columns=("pairs", "images", "prompts", "score", "low", "high"),
        rows=tuple(rows),
        note="2.5 max(cosine, 0). Prompts of others: all pairs of an image and a prompt that differs from its own.",
    )


def _figure(name: str, samples: _Fit) -> Figure:
    values = samples.found.by_image
    counts, edges = np.histogram(values, bins=24, range=(0.0, max(1.0, float(values.max()))))
    middles = (edges[:-1] + edges[1:]) / 2
    shuffled = samples.found.shuffled
    return Figure(
        name=f"{name}_by_image",
        kind="histogram",
        title="Score of each image with its own prompt",
        alt="How many images reach which score with their own prompt. A second hump on the left is images that do not "
        f"show their prompt{f'; prompts of others score {shuffled.value:.3g} on average' if shuffled else ''}.",
        x_label=f"{_UNIT}, not below zero",
        y_label="images",
        series=(Series("samples", tuple(map(float, middles)), tuple(map(float, counts))),),
    )
