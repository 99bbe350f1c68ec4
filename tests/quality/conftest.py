"""A stage on which any quality check can be put before any two sets of features."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from ldm_eval.api import (
    CheckSpec,
    ExtractorInfo,
    FeatureStatistics,
    Figure,
    Finding,
    ImageSet,
    Invalid,
    Measurement,
    NotApplicable,
    Role,
    Table,
)
from ldm_eval.hooks.catalogue import Catalogue, unavailable_reason
from ldm_eval.testing.evidence import PhantomEvidence

CLASSES = 5


def _readers() -> dict[str, CheckSpec]:
    """Every quality check that reads features, class logits or pixels, whoever wrote it."""
    return {
        id_: spec
        for id_, spec in Catalogue.discover().checks.items()
        if spec.family == "quality" and not spec.needs.scores and not unavailable_reason(spec.requires, spec.extra)
    }


READERS = _readers()


def _images(features: np.ndarray, name: str) -> ImageSet:
    """Grey 8x8 pictures that show the features, with labels and prompts; equal features have equal digests."""
    n, d = features.shape
    with np.errstate(invalid="ignore", over="ignore"):
        shown = np.nan_to_num(np.clip(128 + 30 * features[:, np.arange(64) % d], 0, 255))
    return ImageSet(
        name=name,
        split="",
        pixels=shown.astype(np.uint8).reshape(n, 1, 8, 8),
        ids=tuple(map(str, range(n))),
        digest=hashlib.sha256(np.ascontiguousarray(features).tobytes()).hexdigest(),
        groups={"kind": np.array(["a", "b"])[np.arange(n) % 2]},
        labels=np.arange(n, dtype=np.int64) % 2,
        prompts=np.array([f"picture {i}" for i in range(n)], dtype=str),
    )


def _logits(features: np.ndarray) -> np.ndarray:
    """Class logits that are a function of the features."""
    return np.ascontiguousarray(features[:, np.arange(CLASSES) % features.shape[1]])


@dataclass(frozen=True)
class Stage:
    """Puts a check before sets of features and looks at all that it says."""

    spec: CheckSpec

    def evidence(
        self,
        samples: np.ndarray,
        reference: np.ndarray,
        *,
        training: np.ndarray | None = None,
        seed: int = 0,
        logits: dict[Role, np.ndarray] | None = None,
    ) -> PhantomEvidence:
        """Samples against a reference; a check of pairs gets the reference and the samples as its reconstructions."""
        both = min(len(samples), len(reference))
        sets: dict[Role, np.ndarray] = {"samples": samples, "reference": reference}
        paired = "reconstruction" in self.spec.needs.roles
        if paired:
            sets |= {"holdout": reference[:both], "reconstruction": samples[:both]}
        if training is not None:
            sets = {"training": training, "holdout": reference, **sets}
        sets = {role: np.asarray(values, dtype=np.float32) for role, values in sets.items()}
        d = samples.shape[1]
        usable = reference[np.isfinite(reference).all(axis=1)].astype(np.float64)
        statistics = None
        if len(usable) > 1:
            covariance = np.atleast_2d(np.cov(usable.T))
            statistics = FeatureStatistics("statistics.npz", usable.mean(axis=0), covariance, len(usable), "1" * 64)
        return PhantomEvidence(
            self.spec.id,
            seed,
            images={role: _images(values, role) for role, values in sets.items()},
            features=sets,
            logits=logits or {role: _logits(values) for role, values in sets.items()},
            text=sets,
            statistics=statistics,
            extractor=ExtractorInfo("phantom", "0" * 64, d, CLASSES, "none", "Apache-2.0", text=True),
        )

    def findings(
        self, samples: np.ndarray, reference: np.ndarray, **more: np.ndarray
    ) -> Sequence[Finding] | NotApplicable | Invalid:
        """What the check says, every number of it looked at."""
        found = self.spec.load().run(self.evidence(samples, reference, **more))  # type: ignore[arg-type]
        if not isinstance(found, NotApplicable | Invalid):
            refuse_numbers_that_are_none(found)
        return found

    def measured(
        self, samples: np.ndarray, reference: np.ndarray, **more: np.ndarray
    ) -> dict[tuple[str, str | None], Measurement]:
        """Measurements by name and group; none where the check says that there is no number."""
        found = self.findings(samples, reference, **more)
        if isinstance(found, NotApplicable | Invalid):
            return {}
        return {(one.name, one.group): one for one in found if isinstance(one, Measurement)}


def refuse_numbers_that_are_none(findings: Sequence[Finding]) -> None:
    """No NaN or infinity in any measurement, table or figure, and every value inside its interval."""
    for one in findings:
        if isinstance(one, Measurement):
            numbers = [one.value, one.interval.low, one.interval.high, one.floor or 0.0]
            slack = 1e-9 * (1.0 + abs(one.value))
            assert one.interval.low - slack <= one.value <= one.interval.high + slack, one
        elif isinstance(one, Table):
            numbers = [cell for row in one.rows for cell in row if isinstance(cell, float)]
        else:
            assert isinstance(one, Figure)
            numbers = [y for series in one.series for y in (*series.y, *series.low, *series.high)]
            numbers += [x for series in one.series for x in series.x if isinstance(x, float)]
        assert all(map(math.isfinite, numbers)), one


@pytest.fixture(params=sorted(READERS))
def stage(request: pytest.FixtureRequest) -> Stage:
    """One for every check that reads features, logits or pixels."""
    return Stage(READERS[request.param])


@pytest.fixture(scope="session")
def stages() -> dict[str, Stage]:
    return {id_: Stage(spec) for id_, spec in READERS.items()}
