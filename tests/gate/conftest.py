"""Builders of results for the gate: one check, one measurement, everything else plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ldm_eval.api import CheckOutcome, Interval, Measured, Measurement
from ldm_eval.store.results import CheckRecord, Results

MODEL = "a" * 64


def make_measurement(value: float = 0.5, low: float = 0.4, high: float = 0.6, **changes: Any) -> Measurement:
    interval = Interval(low, high, 0.95, "Clopper-Pearson", changes.pop("sided", "two"))
    settings: dict[str, Any] = {
        "check": "privacy/near_copies",
        "name": "near_copy_rate",
        "n": 1000,
        "unit": "share",
        "direction": "lower",
        "signature": {"n": 1000, "extractor": "efficientnet-lite0", "steps": 50},
        **changes,
    }
    return Measurement(value=value, interval=interval, **settings)


def make_results(*outcomes: CheckOutcome | Measurement, **changes: Any) -> Results:
    """One check record per outcome; bare measurements are reported together by the check ``privacy/near_copies``."""
    measured = [item for item in outcomes if isinstance(item, Measurement)]
    ended = [item for item in outcomes if not isinstance(item, Measurement)]
    if measured:
        ended = [Measured(tuple(measured)), *ended]
    names = ["privacy/near_copies", *(f"third/check_{i}" for i in range(1, len(ended)))]
    settings: dict[str, Any] = {
        "tool": {"name": "ldm-eval", "version": "0.1.0"},
        "model": {"name": "demo", "sha256": MODEL},
        "run": {},
        "data": (),
        "plugins": (),
        "checks": tuple(CheckRecord(n, n, "?", outcome) for n, outcome in zip(names, ended, strict=False)),
        "unavailable": (),
        "artifacts": {},
        "partial": False,
        "policy_digest": None,
        "reproduce": "ldm-eval run --model demo",
        **changes,
    }
    return Results(**settings)


@pytest.fixture(scope="session")
def measurement() -> Callable[..., Measurement]:
    return make_measurement


@pytest.fixture(scope="session")
def results() -> Callable[..., Results]:
    return make_results


@pytest.fixture(scope="session")
def model_digest() -> str:
    return MODEL
