from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ldm_eval.api import Crashed, Measurement, NotApplicable
from ldm_eval.errors import StoreError
from ldm_eval.gate import Limit, Policy, Rule, Waiver, decide, verdict_from_json, verdict_to_json
from ldm_eval.store.results import Results

TODAY = date(2026, 5, 1)
MakeMeasurement = Callable[..., Measurement]
MakeResults = Callable[..., Results]


@pytest.fixture
def waived(model_digest: str) -> Policy:
    rule = Rule("copies", "privacy/near_copies", "near_copy_rate", Limit(highest=0.5))
    waiver = Waiver("copies", "the demo must copy.", "A. Person", TODAY, model_digest)
    return Policy("test", "f" * 64, (rule,), (waiver,))


def changed(policy: Policy, **changes: Any) -> Policy:
    return replace(policy, waivers=(replace(policy.waivers[0], **changes),))


def test_a_waiver_turns_a_failed_rule_into_waived_and_says_so(
    measurement: MakeMeasurement, results: MakeResults, waived: Policy
) -> None:
    verdict = decide(results(measurement(0.9, 0.8, 1.0)), waived, TODAY)
    (result,) = verdict.rules
    assert (result.status, result.unwaived, verdict.exit_code) == ("waived", "fail", 0)
    assert "A. Person" in result.reason
    assert "the demo must copy." in result.reason


@pytest.mark.parametrize("outcome", [NotApplicable("no data"), Crashed("boom")])
def test_a_waiver_covers_what_was_not_measured(results: MakeResults, waived: Policy, outcome: Any) -> None:
    assert decide(results(outcome), waived, TODAY).exit_code == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expires": date(2026, 4, 30)}, "expired on 2026-04-30"),
        ({"model_sha256": "b" * 64}, "is for the model bbbbbbbbbbbb"),
    ],
)
def test_a_waiver_that_does_not_hold_fails_the_gate_and_waives_nothing(
    measurement: MakeMeasurement, results: MakeResults, waived: Policy, change: dict[str, Any], says: str
) -> None:
    for numbers, status in [((0.9, 0.8, 1.0), "fail"), ((0.5, 0.4, 0.6), "inconclusive"), ((0.1, 0.0, 0.2), "pass")]:
        verdict = decide(results(measurement(*numbers)), changed(waived, **change), TODAY)
        assert (verdict.rules[0].status, verdict.exit_code) == (status, 1)
        assert says in verdict.problems[0]


def test_an_unused_waiver_fails_the_gate(measurement: MakeMeasurement, results: MakeResults, waived: Policy) -> None:
    verdict = decide(results(measurement(0.1, 0.0, 0.2)), waived, TODAY)
    assert (verdict.rules[0].status, verdict.exit_code) == ("pass", 1)
    assert "not used" in verdict.problems[0]


def test_an_error_elsewhere_outranks_a_waiver_problem(results: MakeResults, waived: Policy) -> None:
    verdict = decide(results(Crashed("boom")), changed(waived, expires=date(2020, 1, 1)), TODAY)
    assert verdict.exit_code == 4


def test_partial_results_cannot_be_waived(measurement: MakeMeasurement, results: MakeResults, waived: Policy) -> None:
    verdict = decide(results(measurement(0.9, 0.8, 1.0), partial=True), waived, TODAY)
    assert (verdict.rules[0].status, verdict.exit_code) == ("error", 4)


def test_a_verdict_with_waivers_survives_json(
    measurement: MakeMeasurement, results: MakeResults, waived: Policy
) -> None:
    verdict = decide(results(measurement(0.9, 0.8, 1.0)), waived, TODAY)
    assert verdict_from_json(verdict_to_json(verdict)) == verdict


@pytest.mark.parametrize("document", [{}, {"schema_version": 2}, {"schema_version": 1, "policy": {}}])
def test_what_is_not_a_verdict_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(StoreError):
        verdict_from_json(document)
