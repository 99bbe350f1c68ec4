from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldm_eval.api import Crashed, Invalid, Measured, Measurement, NotApplicable
from ldm_eval.gate import Limit, Policy, Rule, RuleResult, Verdict, decide, verdict_from_json, verdict_to_json
from ldm_eval.gate.decide import Bounds, n_to_settle
from ldm_eval.store.results import Results

TODAY = date(2026, 5, 1)
MakeMeasurement = Callable[..., Measurement]
MakeResults = Callable[..., Results]


def policy(limit: Limit, **changes: Any) -> Policy:
    rule = Rule("rule", "privacy/near_copies", "near_copy_rate", limit)
    return Policy("test", "f" * 64, (replace(rule, **changes),))


def only(verdict: Verdict) -> RuleResult:
    (result,) = verdict.rules
    return result


AT_MOST, AT_LEAST, WITHIN = Limit(highest=0.5), Limit(lowest=0.5), Limit(0.3, 0.5)


@pytest.mark.parametrize(
    ("limit", "value", "low", "high", "sided", "expected"),
    [
        # at most: by the upper bound to pass, by the lower bound to fail
        (AT_MOST, 0.4, 0.3, 0.49, "two", "pass"),
        (AT_MOST, 0.4, 0.3, 0.5, "two", "pass"),
        (AT_MOST, 0.4, 0.3, 0.51, "two", "inconclusive"),
        (AT_MOST, 0.5, 0.5, 0.7, "two", "inconclusive"),
        (AT_MOST, 0.6, 0.5000001, 0.7, "two", "fail"),
        (AT_MOST, 0.4, 0.3, 0.49, "upper", "pass"),
        (AT_MOST, 0.4, 0.3, 0.6, "upper", "inconclusive"),
        (AT_MOST, 0.8, 0.7, 0.9, "upper", "inconclusive"),  # no lower bound, so nothing shows that it fails
        (AT_MOST, 0.4, 0.3, 0.45, "lower", "inconclusive"),  # no upper bound, so nothing shows that it passes
        (AT_MOST, 0.8, 0.7, 0.9, "lower", "fail"),
        # at least: the mirror image
        (AT_LEAST, 0.7, 0.5, 0.9, "two", "pass"),
        (AT_LEAST, 0.7, 0.49, 0.9, "two", "inconclusive"),
        (AT_LEAST, 0.3, 0.2, 0.5, "two", "inconclusive"),
        (AT_LEAST, 0.3, 0.2, 0.4999, "two", "fail"),
        (AT_LEAST, 0.7, 0.6, 0.8, "lower", "pass"),
        (AT_LEAST, 0.3, 0.2, 0.4, "lower", "inconclusive"),
        (AT_LEAST, 0.7, 0.6, 0.8, "upper", "inconclusive"),
        (AT_LEAST, 0.3, 0.2, 0.4, "upper", "fail"),
        # within: the whole interval inside (equivalence), or wholly outside
        (WITHIN, 0.4, 0.3, 0.5, "two", "pass"),
        (WITHIN, 0.4, 0.29, 0.45, "two", "inconclusive"),
        (WITHIN, 0.4, 0.35, 0.51, "two", "inconclusive"),
        (WITHIN, 0.4, 0.2, 0.6, "two", "inconclusive"),
        (WITHIN, 0.7, 0.6, 0.8, "two", "fail"),
        (WITHIN, 0.2, 0.1, 0.29, "two", "fail"),
        (WITHIN, 0.2, 0.1, 0.3, "two", "inconclusive"),
        (WITHIN, 0.4, 0.35, 0.45, "upper", "inconclusive"),
        (WITHIN, 0.4, 0.35, 0.45, "lower", "inconclusive"),
        (WITHIN, 0.2, 0.1, 0.29, "upper", "fail"),
        (WITHIN, 0.7, 0.6, 0.8, "lower", "fail"),
    ],
)
def test_the_bound_decides(
    measurement: MakeMeasurement,
    results: MakeResults,
    limit: Limit,
    value: float,
    low: float,
    high: float,
    sided: str,
    expected: str,
) -> None:
    verdict = decide(results(measurement(value, low, high, sided=sided)), policy(limit), TODAY)
    assert only(verdict).status == expected
    assert verdict.exit_code == {"pass": 0, "fail": 1, "inconclusive": 3}[expected]


@pytest.mark.parametrize(
    ("outcome", "status", "exit_code"),
    [
        (NotApplicable("no training data"), "not_run", 3),
        (Invalid("members and holdout differ"), "invalid", 3),
        (Crashed("ValueError: boom"), "error", 4),
        (Measured(()), "not_run", 3),
    ],
)
def test_absence_is_never_a_pass(results: MakeResults, outcome: Any, status: str, exit_code: int) -> None:
    verdict = decide(results(outcome), policy(AT_MOST), TODAY)
    assert (only(verdict).status, verdict.exit_code) == (status, exit_code)
    assert only(verdict).value is None


def test_a_check_that_was_not_run_is_not_a_pass_and_the_name_is_guessed(results: MakeResults) -> None:
    verdict = decide(results(Measured(())), policy(AT_MOST, check="privacy/near_copy"), TODAY)
    assert only(verdict).status == "not_run"
    assert "Did you mean 'privacy/near_copies'" in only(verdict).reason


def test_an_unavailable_check_is_not_run_for_that_reason(results: MakeResults) -> None:
    found = results(unavailable=({"check": "privacy/near_copies", "reason": "needs foo"},))
    assert "needs foo" in only(decide(found, policy(AT_MOST), TODAY)).reason


def test_a_group_is_matched_exactly(measurement: MakeMeasurement, results: MakeResults) -> None:
    found = results(measurement(0.4, 0.3, 0.45, group="a"), measurement(0.9, 0.8, 0.95, group="b"))
    assert only(decide(found, policy(AT_MOST, group="a"), TODAY)).status == "pass"
    assert only(decide(found, policy(AT_MOST, group="b"), TODAY)).status == "fail"
    absent = only(decide(found, policy(AT_MOST), TODAY))
    assert absent.status == "not_run"
    assert "a, b" in absent.reason
    assert only(decide(found, policy(AT_MOST, group="c"), TODAY)).status == "not_run"


def test_a_measurement_of_another_name_is_answered_by_the_names_there_are(
    measurement: MakeMeasurement, results: MakeResults
) -> None:
    found = results(*(measurement(name=f"distance_{i}") for i in range(8)))
    (absent,) = decide(found, policy(AT_MOST), TODAY).rules
    assert absent.status == "not_run"
    assert "It reported distance_0, distance_1" in absent.reason
    assert absent.reason.endswith("distance_5 and 2 more.")


def test_the_same_name_twice_is_an_error(measurement: MakeMeasurement, results: MakeResults) -> None:
    found = results(measurement(0.4, 0.3, 0.45), measurement(0.9, 0.8, 0.95))
    assert decide(found, policy(AT_MOST), TODAY).exit_code == 4


def test_too_few_images_are_inconclusive_whatever_the_bound(measurement: MakeMeasurement, results: MakeResults) -> None:
    for low, high in [(0.1, 0.2), (0.8, 0.9)]:
        result = only(decide(results(measurement(low, low, high)), policy(AT_MOST, min_n=1001), TODAY))
        assert (result.status, result.n_needed) == ("inconclusive", 1001)
    enough = decide(results(measurement(0.1, 0.1, 0.2)), policy(AT_MOST, min_n=1000), TODAY)
    assert only(enough).status == "pass"


@pytest.mark.parametrize(
    ("pinned", "says"),
    [
        ({"extractor": "inception-2015"}, "'extractor' is 'efficientnet-lite0', the policy expects 'inception-2015'"),
        ({"step": 50}, "has no field 'step'"),
        ({"steps": 51}, "'steps' is 50"),
        ({"n": True}, "'n' is 1000"),
    ],
)
def test_another_protocol_is_not_comparable(
    measurement: MakeMeasurement, results: MakeResults, pinned: dict[str, Any], says: str
) -> None:
    verdict = decide(results(measurement(0.1, 0.0, 0.2)), policy(AT_MOST, signature=pinned), TODAY)
    assert only(verdict).status == "error"
    assert only(verdict).reason.startswith("Not comparable:")
    assert says in only(verdict).reason


def test_the_same_protocol_is_comparable(measurement: MakeMeasurement, results: MakeResults) -> None:
    pinned = {"extractor": "efficientnet-lite0", "steps": 50.0}
    assert decide(results(measurement(0.1, 0.0, 0.2)), policy(AT_MOST, signature=pinned), TODAY).exit_code == 0


def test_partial_results_are_refused_though_every_bound_is_fine(
    measurement: MakeMeasurement, results: MakeResults
) -> None:
    verdict = decide(results(measurement(0.1, 0.0, 0.2), partial=True), policy(AT_MOST), TODAY)
    assert (verdict.status, verdict.exit_code, only(verdict).status) == ("error", 4, "error")
    assert "--limit" in verdict.refused


def test_a_policy_that_was_not_recorded_before_sampling_is_warned_about(
    measurement: MakeMeasurement, results: MakeResults
) -> None:
    numbers = measurement(0.1, 0.0, 0.2)
    assert decide(results(numbers, policy_digest="f" * 64), policy(AT_MOST), TODAY).warnings == ()
    other = decide(results(numbers, policy_digest="e" * 64), policy(AT_MOST), TODAY)
    none = decide(results(numbers), policy(AT_MOST), TODAY)
    assert "not the one recorded before sampling" in other.warnings[0]
    assert "No policy was recorded" in none.warnings[0]
    assert other.exit_code == none.exit_code == 0


def results_of(make: MakeResults, outcomes: list[Any]) -> Results:
    """Several checks named c/0, c/1, ..."""
    found = make(*outcomes)
    return replace(found, checks=tuple(replace(record, check=f"c/{i}") for i, record in enumerate(found.checks)))


PASS, FAIL, UNDECIDED = (0.1, 0.0, 0.2), (0.9, 0.8, 1.0), (0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("kinds", "exit_code"),
    [
        (["pass", "pass"], 0),
        (["pass", "undecided"], 3),
        (["pass", "not_run"], 3),
        (["pass", "invalid"], 3),
        (["undecided", "fail"], 1),
        (["not_run", "fail"], 1),
        (["fail", "error"], 4),
        (["undecided", "error"], 4),
        (["pass", "error"], 4),
    ],
)
def test_the_worst_wins_in_the_order_4_1_3_0(
    measurement: MakeMeasurement, results: MakeResults, kinds: list[str], exit_code: int
) -> None:
    made = {
        "pass": Measured((measurement(*PASS),)),
        "fail": Measured((measurement(*FAIL),)),
        "undecided": Measured((measurement(*UNDECIDED),)),
        "not_run": NotApplicable("x"),
        "invalid": Invalid("x"),
        "error": Crashed("x"),
    }
    for order in (kinds, kinds[::-1]):
        rules = tuple(Rule(f"r{i}", f"c/{i}", "near_copy_rate", AT_MOST) for i in range(len(order)))
        verdict = decide(results_of(results, [made[k] for k in order]), Policy("p", "f" * 64, rules), TODAY)
        assert verdict.exit_code == exit_code


@pytest.mark.parametrize("outcome", [Crashed("x"), Invalid("x"), NotApplicable("x")])
def test_a_warning_rule_never_blocks_but_is_shown(results: MakeResults, outcome: Any) -> None:
    verdict = decide(results(outcome), policy(AT_MOST, severity="warn"), TODAY)
    assert (verdict.exit_code, verdict.status) == (0, "pass")
    assert only(verdict).status != "pass"


def test_n_that_would_settle_follows_one_over_root_n() -> None:
    # 0.01 above the point at n = 100, and the limit is 0.005 away: half the width needs four times the images
    assert n_to_settle(0.010, Bounds(0.0, 0.020), Limit(highest=0.015), 100) in (400, 401)
    assert n_to_settle(0.020, Bounds(0.010, 0.030), Limit(highest=0.015), 100) in (400, 401)
    assert n_to_settle(0.5, Bounds(0.4, 0.6), Limit(0.45, 0.55), 100) in (400, 401)
    assert n_to_settle(0.5, Bounds(0.4, 0.6), Limit(0.45, 0.525), 100) in (1600, 1601)


def test_a_bound_that_was_cut_off_at_the_end_of_the_scale_does_not_promise_a_small_n() -> None:
    # a share of 0.03 whose upper bound is 0.07 away: its lower bound, cut off at 0, is no 0.03 away
    at_zero = n_to_settle(0.03, Bounds(0.0, 0.10), Limit(highest=0.02), 100)
    assert at_zero == n_to_settle(0.03, Bounds(-0.04, 0.10), Limit(highest=0.02), 100)
    assert at_zero in (4900, 4901)
    assert n_to_settle(0.97, Bounds(0.90, 1.0), Limit(lowest=0.98), 100) in (4900, 4901)


def test_the_n_that_would_settle_it_speaks_of_every_set(measurement: MakeMeasurement, results: MakeResults) -> None:
    """More samples alone do not narrow an interval that a small holdout makes wide."""
    reason = only(decide(results(measurement(0.4, 0.3, 0.6)), policy(AT_MOST), TODAY)).reason
    assert "every other set behind it grows alike" in reason


def test_no_n_settles_a_point_on_the_limit_or_a_missing_bound(
    measurement: MakeMeasurement, results: MakeResults
) -> None:
    on_limit = only(decide(results(measurement(0.5, 0.4, 0.6)), policy(AT_MOST), TODAY))
    assert on_limit.n_needed is None
    assert "no n" in on_limit.reason
    one_sided = only(decide(results(measurement(0.4, 0.3, 0.45, sided="lower")), policy(AT_MOST), TODAY))
    assert one_sided.n_needed is None
    assert "only from below" in one_sided.reason
    nearly = only(decide(results(measurement(0.5 + 1e-12, 0.4, 0.6)), policy(AT_MOST), TODAY))
    assert nearly.n_needed is None
    assert "no n" in nearly.reason


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float, float, str]:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return value, low, high, draw(st.sampled_from(["two", "lower", "upper"]))


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    low, high = sorted(draw(st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1])))
    return draw(st.sampled_from([Limit(low, None), Limit(None, high), Limit(low, high)]))


@given(found=intervals(), limit=limits(), n=st.integers(1, 10**6))
def test_never_a_pass_when_a_bound_is_beyond_and_never_a_fail_when_the_limit_is_inside(
    measurement: MakeMeasurement,
    results: MakeResults,
    found: tuple[float, float, float, str],
    limit: Limit,
    n: int,
) -> None:
    value, low, high, sided = found
    measured = measurement(value, low, high, sided=sided, n=n)
    result = only(decide(results(measured), policy(limit), TODAY))
    bounded = Bounds(-math.inf if sided == "upper" else low, math.inf if sided == "lower" else high)
    beyond = (limit.highest is not None and bounded.high > limit.highest) or (
        limit.lowest is not None and bounded.low < limit.lowest
    )
    outside = (limit.highest is not None and bounded.low > limit.highest) or (
        limit.lowest is not None and bounded.high < limit.lowest
    )
    assert (result.status == "pass") == (not beyond)
    assert (result.status == "fail") == outside
    if result.n_needed is not None:
        assert result.status == "inconclusive"
        assert result.n_needed > n


def test_a_verdict_survives_json(measurement: MakeMeasurement, results: MakeResults) -> None:
    verdict = decide(results(measurement(*UNDECIDED)), policy(AT_MOST, why="because"), TODAY)
    document = verdict_to_json(verdict)
    assert document["exit_code"] == 3
    assert verdict_from_json(document) == verdict


def test_deciding_twice_gives_the_same(measurement: MakeMeasurement, results: MakeResults) -> None:
    found = results(measurement(*UNDECIDED))
    assert decide(found, policy(AT_MOST), TODAY) == decide(found, policy(AT_MOST), TODAY)
