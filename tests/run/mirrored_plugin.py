"""An extractor that sees left from right, and a check that reads mirrored features."""

from __future__ import annotations

import hashlib
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
    PhantomCase,
    Phantoms,
)
from ldm_eval.hooks import hookimpl

_CASE = PhantomCase("tests.nowhere:nothing", "none")


class Sides:
    """The means of the left and of the right half."""

    def __init__(self, name: str) -> None:
        self.info = ExtractorInfo(name, hashlib.sha256(name.encode()).hexdigest(), 2, None, "none", "Apache-2.0")

    def extract(self, images: Any) -> Features:
        half = images.shape[3] // 2
        sides = [images[..., :half].mean(axis=(1, 2, 3)), images[..., half:].mean(axis=(1, 2, 3))]
        return Features(np.stack(sides, axis=1).astype(np.float32))


def sides(context: ExtractorContext) -> Sides:
    return Sides("sides")


def again(context: ExtractorContext) -> Sides:
    return Sides("again")


class Mirrors:
    """Mean right minus left of the mirrored samples, and how many mirrored holdout images there are."""

    id: ClassVar[str] = "mirrors/check"
    title: ClassVar[str] = "Mirrors"
    question: ClassVar[str] = "?"
    needs: ClassVar[Needs] = Needs(
        samples=1,
        optional=("holdout",),
        features=("samples",),
        mirrored=("samples", "holdout"),
        each_extractor=True,
    )
    phantoms: ClassVar[Phantoms] = Phantoms("gap", Alarm("low", ">", 1.0), _CASE, _CASE)

    def run(self, evidence: Evidence) -> list[Finding]:
        seen, flipped = evidence.features("samples"), evidence.mirrored_features("samples")
        assert flipped is not None
        np.testing.assert_array_equal(flipped, seen[:, ::-1])
        holdout = evidence.mirrored_features("holdout") if evidence.has("holdout") else None
        found = {
            "gap": float((flipped[:, 1] - flipped[:, 0]).mean()),
            "holdout": float(-1 if holdout is None else len(holdout)),
        }
        interval = {name: Interval(value, value, 0.95, "none") for name, value in found.items()}
        return [
            evidence.measurement(
                name, value, interval[name], n=len(seen), unit="levels", direction="none", uses_extractor=True
            )
            for name, value in found.items()
        ]


@hookimpl
def ldm_eval_extractors() -> list[ExtractorSpec]:
    return [
        ExtractorSpec("sides", "halves", "Apache-2.0", sides),
        ExtractorSpec("again", "halves once more", "Apache-2.0", again),
    ]


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    return [CheckSpec.of(Mirrors)]
