"""The decision: every rule is judged by the bound of its interval, never by the point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import assert_never

from ldm_eval.api import Crashed, Invalid, Measured, Measurement, NotApplicable, SignatureValue
from ldm_eval.errors import did_you_mean
from ldm_eval.gate.calibration import MadeBy, calibration_warnings, require_calibration
from ldm_eval.gate.policy import Limit, Policy, Rule
from ldm_eval.gate.verdict import RuleResult, RuleStatus, Verdict
from ldm_eval.gate.waivers import apply_waivers, judge_waiver
from ldm_eval.store.certificate import Certificate
from ldm_eval.store.results import Results

__all__ = ["Bounds", "bounds", "decide", "n_to_settle"]

_NAMED = 6
"""Measurements that are named where the one that a rule asks for is not among them."""

LARGEST_N = 10**9
"""Above this many images no n is promised: the point sits on the limit for all that anybody can measure."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that count; a side that a one-sided interval does not bound is infinite."""

    low: float
    high: float


def decide(results: Results, policy: Policy, as_of: date, certificate: Certificate | None = None) -> Verdict:
    """Judge results by a policy. Pure: the same arguments give the same verdict.

    Args:
        results: As read from ``results.json``.
        policy: As read from its file.
        as_of: The day on which waivers must hold.
        certificate: What a calibration of the instruments found, or None.
    """
    model_sha256 = str(results.model.get("sha256", ""))
    refused = _refusal(results)
    judged = tuple(_result(rule, "error", refused) if refused else _judge(rule, results) for rule in policy.rules)
    if policy.require_calibration and not refused:
        judged = require_calibration(judged, MadeBy.of(results), certificate)
    by_rule = {result.rule: result for result in judged}
    waivers = tuple(judge_waiver(waiver, by_rule[waiver.rule], model_sha256, as_of) for waiver in policy.waivers)
    return Verdict(
        policy_name=policy.name,
        policy_digest=policy.digest,
        as_of=as_of,
        model_sha256=model_sha256,
        rules=judged if refused else apply_waivers(judged, waivers),
        waivers=waivers,
        refused=refused,
        warnings=(*_warnings(results, policy), *calibration_warnings(results, policy, certificate)),
        calibration=certificate.digest if certificate else None,
    )


def bounds(measurement: Measurement) -> Bounds:
    """The bounds of a measurement that count: ``sided="upper"`` bounds only from above, ``"lower"`` from below."""
    interval = measurement.interval
    return Bounds(
        low=-math.inf if interval.sided == "upper" else interval.low,
        high=math.inf if interval.sided == "lower" else interval.high,
    )


def n_to_settle(value: float, found: Bounds, limit: Limit, n: int) -> int | None:
    """The n at which an undecided rule is expected to be decided, if the point stays where it is.

    The distance from the point to its bound is taken to shrink as 1/sqrt(n), so every set behind the measurement must
    grow as n does, not the samples alone. A bound that was cut off at 0 or 1 (a share of 3 % whose interval starts at
    0) does not show that distance; the longer arm is taken instead. Upper bounds of rare events shrink faster, and
    this asks for too many; lower bounds of rare events shrink slower, and it asks for too few. None when no n would
    do: the point sits on the limit, or the side that matters is not bounded.
    """
    ratios = _ratios(value, found, limit)
    if not ratios or not all(math.isfinite(ratio) for ratio in ratios):
        return None
    largest = max(ratios)
    if largest > math.sqrt(LARGEST_N / n):
        return None
    return max(n + 1, math.floor(n * largest**2) + 1)


def _ratios(value: float, found: Bounds, limit: Limit) -> list[float]:
    """How many times nearer each bound that stands across a limit must come; empty when the point is on a limit."""
    lowest = -math.inf if limit.lowest is None else limit.lowest
    highest = math.inf if limit.highest is None else limit.highest
    if value in (lowest, highest):
        return []
    if value > highest:
        return [_arm(value - found.low, found.high - value, found.low == 0.0) / (value - highest)]
    if value < lowest:
        return [_arm(found.high - value, value - found.low, found.high == 1.0) / (lowest - value)]
    above = [(found.high - value) / (highest - value)] if found.high > highest else []
    below = [(value - found.low) / (value - lowest)] if found.low < lowest else []
    return above + below


def _arm(own: float, other: float, cut_off: bool) -> float:
    """Distance from the point to its bound; the other side's where this bound was cut off at the end of the scale."""
    return max(own, other) if cut_off and math.isfinite(other) else own


def _refusal(results: Results) -> str:
    if not results.partial:
        return ""
    return "The results are partial (made with --limit), so nothing may be decided on them. Run again without --limit."


def _warnings(results: Results, policy: Policy) -> tuple[str, ...]:
    if results.policy_digest is None:
        return ("No policy was recorded before sampling, so its limits may have been chosen after seeing the numbers.",)
    if results.policy_digest != policy.digest:
        return (
            f"This policy ({policy.digest[:12]}…) is not the one recorded before sampling "
            f"({results.policy_digest[:12]}…); its limits may have been chosen after seeing the numbers.",
        )
    return ()


def _judge(rule: Rule, results: Results) -> RuleResult:
    record = next((record for record in results.checks if record.check == rule.check), None)
    if record is None:
        return _result(rule, "not_run", _absent_check(rule, results))
    match record.outcome:
        case NotApplicable(reason):
            return _result(rule, "not_run", f"The check was not applicable: {reason}")
        case Invalid(reason):
            return _result(rule, "invalid", f"The check found its own premise broken: {reason}")
        case Crashed(error):
            return _result(rule, "error", f"The check crashed: {error}")
        case Measured() as outcome:
            return _judge_measured(rule, outcome)
        case other:
            assert_never(other)


def _absent_check(rule: Rule, results: Results) -> str:
    for item in results.unavailable:
        if item.get("check") == rule.check:
            return f"The check '{rule.check}' is unavailable: {item.get('reason', '')}"
    ids = [record.check for record in results.checks]
    return f"The check '{rule.check}' is not among those of this run.{did_you_mean(rule.check, ids)}"


def _judge_measured(rule: Rule, outcome: Measured) -> RuleResult:
    named = [m for m in outcome.measurements if m.name == rule.measurement]
    found = [m for m in named if m.group == rule.group]
    if not found:
        return _result(rule, "not_run", _absent_measurement(rule, outcome, named))
    if len(found) > 1:
        return _result(rule, "error", f"The results hold {len(found)} measurements of this name; they must be unique.")
    different = _signature_difference(rule, found[0])
    if different:
        return _result(rule, "error", different, found[0])
    return _judge_bound(rule, found[0])


def _absent_measurement(rule: Rule, outcome: Measured, named: list[Measurement]) -> str:
    if not named:
        names = list(dict.fromkeys(m.name for m in outcome.measurements))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        reported = f" It reported {', '.join(names[:_NAMED])}{more}." if names else ""
        return (
            f"The check ran but did not report '{rule.measurement}'.{reported}{did_you_mean(rule.measurement, names)}"
        )
    groups = sorted(m.group or "(all images)" for m in named)
    wanted = f"the group '{rule.group}'" if rule.group is not None else "all images together"
    return f"'{rule.measurement}' was not reported for {wanted}; it was for {', '.join(groups)}."


def _signature_difference(rule: Rule, measurement: Measurement) -> str:
    for name, expected in sorted(rule.signature.items()):
        if name not in measurement.signature:
            hint = did_you_mean(name, measurement.signature)
            return f"Not comparable: the measurement has no field '{name}', the policy expects {expected!r}.{hint}"
        found = measurement.signature[name]
        if not _same(found, expected):
            return f"Not comparable: field '{name}' is {found!r}, the policy expects {expected!r}."
    return ""


def _same(found: SignatureValue, expected: SignatureValue) -> bool:
    return isinstance(found, bool) == isinstance(expected, bool) and found == expected


def _judge_bound(rule: Rule, measurement: Measurement) -> RuleResult:
    if rule.min_n is not None and measurement.n < rule.min_n:
        reason = f"It rests on n = {measurement.n:,}; the policy asks for at least {rule.min_n:,}."
        return _result(rule, "inconclusive", reason, measurement, n_needed=rule.min_n)
    found, limit = bounds(measurement), rule.limit
    lowest = -math.inf if limit.lowest is None else limit.lowest
    highest = math.inf if limit.highest is None else limit.highest
    if lowest <= found.low and found.high <= highest:
        return _result(rule, "pass", f"The whole interval is {limit}.", measurement)
    if found.low > highest:
        return _result(rule, "fail", f"Even the lower bound, {found.low:.4g}, is above {highest!r}.", measurement)
    if found.high < lowest:
        return _result(rule, "fail", f"Even the upper bound, {found.high:.4g}, is below {lowest!r}.", measurement)
    n_needed = n_to_settle(measurement.value, found, limit, measurement.n)
    reason = _undecided(measurement, found, limit, n_needed)
    return _result(rule, "inconclusive", reason, measurement, n_needed=n_needed)


def _undecided(measurement: Measurement, found: Bounds, limit: Limit, n_needed: int | None) -> str:
    start = "The interval reaches across the limit"
    if n_needed is not None:
        return (
            f"{start}; about n = {n_needed:,} would settle it (now {measurement.n:,}) if the estimate stays where it "
            "is and every other set behind it grows alike."
        )
    if measurement.value in (limit.lowest, limit.highest):
        return f"{start} and the estimate sits on it; no n would settle it."
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        side = "above" if math.isinf(found.low) else "below"
        return f"The interval bounds the truth only from {side}, so it cannot settle this rule; no n would."
    return f"{start} and the estimate is too near it; no n up to {LARGEST_N:,} would settle it."


def _result(
    rule: Rule, status: RuleStatus, reason: str, measurement: Measurement | None = None, n_needed: int | None = None
) -> RuleResult:
    found = bounds(measurement) if measurement else None
    return RuleResult(
        rule=rule.id,
        check=rule.check,
        measurement=rule.measurement,
        group=rule.group,
        requirement=str(rule.limit),
        severity=rule.severity,
        status=status,
        reason=reason,
        value=measurement.value if measurement else None,
        low=found.low if found and math.isfinite(found.low) else None,
        high=found.high if found and math.isfinite(found.high) else None,
        level=measurement.interval.level if measurement else None,
        n=measurement.n if measurement else None,
        n_needed=n_needed,
        why=rule.why,
    )
