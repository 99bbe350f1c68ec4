"""A plugin with extractors small enough to check by hand, and checks that say what they were given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ldm_eval.api import (
    Alarm,
    CheckSpec,
    Evidence,
    ExtractorContext,
    ExtractorInfo,
    ExtractorSpec,
    Features,
    Finding,
    Interval,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
)
from ldm_eval.hooks import hookimpl

_CASE = PhantomCase("tests.nowhere:nothing", "none")
_PHANTOMS = Phantoms("mean", Alarm("low", ">", 1.0), _CASE, _CASE)


class Extractor:
    def __init__(self, name: str, factor: float, text: bool = False) -> None:
        self._factor = factor
        fingerprint = hashlib.sha256(name.encode()).hexdigest()
        self.info = ExtractorInfo(name, fingerprint, 3, None, "none", "Apache-2.0", text)
        self.seen: list[int] = []

    def extract(self, images: Any) -> Features:
        self.seen.append(len(images))
        return Features((self._factor * images.mean(axis=(2, 3))).astype(np.float32))


class TextReader(Extractor):
    def embed_text(self, texts: Sequence[str]) -> Any:
        return np.array([[len(text)] * 3 for text in texts], dtype=np.float32)


def single(context: ExtractorContext) -> Extractor:
    return Extractor("single", 1.0)


def double(context: ExtractorContext) -> Extractor:
    return Extractor("double", 2.0)


def reader(context: ExtractorContext) -> Extractor:
    return TextReader("reader", 3.0, text=True)


@hookimpl
def ldm_eval_extractors() -> list[ExtractorSpec]:
    return [
        ExtractorSpec("single", "channel means", "Apache-2.0", single),
        ExtractorSpec("double", "twice the means", "Apache-2.0", double),
        ExtractorSpec("reader", "reads text too", "Apache-2.0", reader, text=True),
    ]


def measured(evidence: Evidence, name: str, value: float, **how: Any) -> Finding:
    interval = Interval(value, value, 0.95, "two", "none")
    n = len(evidence.images("samples"))
    return evidence.measurement(name, value, interval, n=n, unit="grey levels", direction="none", **how)


class Everywhere:
    """Mean feature of samples less that of the reference, in every space; keeps what each image contributes."""

    id: ClassVar[str] = "spaces/everywhere"
    title: ClassVar[str] = "Everywhere"
    question: ClassVar[str] = "?"
    needs: ClassVar[Needs] = Needs(
        samples=1, roles=("reference",), features=("samples", "reference"), each_extractor=True
    )
    phantoms: ClassVar[Phantoms] = _PHANTOMS
    settings: ClassVar[tuple[str, ...]] = ("refuse", "break")

    def run(self, evidence: Evidence) -> list[Finding] | NotApplicable:
        here = evidence.extractor().name
        if here == evidence.parameters.get("refuse"):
            return NotApplicable(f"not in {here}")
        if here == evidence.parameters.get("break"):
            raise RuntimeError("it breaks")
        samples, reference = evidence.features("samples").mean(axis=1), evidence.features("reference").mean(axis=1)
        evidence.keep_contributions(
            "mean", {"samples": samples - samples.mean(), "reference": reference.mean() - reference}
        )
        value = float(samples.mean() - reference.mean())
        return [
            measured(evidence, "mean", value, against="reference", uses_extractor=True),
            measured(evidence, "count", float(len(samples))),
        ]


class Once(Everywhere):
    id: ClassVar[str] = "spaces/once"
    needs: ClassVar[Needs] = Needs(samples=1, roles=("reference",), features=("samples", "reference"))


class Pixels:
    """Reads the pixels of the reference beside features of the samples."""

    id: ClassVar[str] = "spaces/pixels"
    title: ClassVar[str] = "Pixels"
    question: ClassVar[str] = "?"
    needs: ClassVar[Needs] = Needs(samples=1, features=("samples", "reference"), pixels=("reference",))
    phantoms: ClassVar[Phantoms] = _PHANTOMS

    def run(self, evidence: Evidence) -> list[Finding]:
        return [measured(evidence, "mean", float(evidence.images("reference").pixels.mean()))]


class Prompts:
    """Mean length of the prompts, as the extractor that reads text sees it."""

    id: ClassVar[str] = "spaces/prompts"
    title: ClassVar[str] = "Prompts"
    question: ClassVar[str] = "?"
    needs: ClassVar[Needs] = Needs(samples=1, features=("samples",), text=("samples",))
    phantoms: ClassVar[Phantoms] = _PHANTOMS

    def run(self, evidence: Evidence) -> list[Finding]:
        prompts = evidence.images("samples").prompts
        assert prompts is not None
        length = float(evidence.text_features("samples")[:, 0].mean())
        return [measured(evidence, "mean", length, uses_extractor=True, note=str(prompts[-1]))]


class Statistics:
    """Trace of the covariance in the file."""

    id: ClassVar[str] = "spaces/statistics"
    title: ClassVar[str] = "Statistics"
    question: ClassVar[str] = "?"
    needs: ClassVar[Needs] = Needs(samples=1, features=("samples",), statistics=True)
    phantoms: ClassVar[Phantoms] = _PHANTOMS

    def run(self, evidence: Evidence) -> list[Finding] | NotApplicable:
        found = evidence.statistics()
        if found is None:
            return NotApplicable("no statistics of this dimension")
        return [measured(evidence, "mean", float(np.trace(found.covariance)), uses_extractor=True)]


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    return [CheckSpec.of(check) for check in (Everywhere, Once, Pixels, Prompts, Statistics)]
