"""The verdict box: what the policy decided, in plain language, at the top of the card."""

from __future__ import annotations

from collections.abc import Mapping

from ldm_eval.gate import GateStatus, RuleResult, RuleStatus, Verdict
from ldm_eval.report.markdown import bullet_list, code, escape, quote, table
from ldm_eval.report.numbers import decimals_for, fixed
from ldm_eval.report.section import Section, humanise

__all__ = ["verdict_box", "waivers_section"]

_HEADLINES: Mapping[GateStatus, str] = {
    "pass": "PASSED: every blocking rule is met, counting the uncertainty of the measurements.",
    "fail": "FAILED: at least one blocking rule is broken, or a waiver does not hold.",
    "inconclusive": "INCONCLUSIVE: no blocking rule is shown to be broken, but not all are shown to be met.",
    "error": "ERROR: at least one blocking rule could not be judged.",
}
_STATUS_WORDS: Mapping[RuleStatus, str] = {
    "pass": "pass",
    "fail": "**FAIL**",
    "inconclusive": "**inconclusive**",
    "invalid": "**invalid**",
    "not_run": "**not run**",
    "error": "**ERROR**",
    "waived": "**waived**",
}


def verdict_box(verdict: Verdict | None) -> str:
    """A block quote with the result, every rule, and what to know about it; says so when there is no policy."""
    if verdict is None:
        return quote(
            "**No policy applied.** The numbers below were measured, and nobody's limits were put to them: "
            "this card neither passes nor fails."
        )
    parts = [
        f"**Gate: {_HEADLINES[verdict.status]}**",
        _policy_line(verdict),
        table(
            ("Rule", "Severity", "Measurement", "Must be", "Found (interval)", "Result"),
            [_rule_row(rule) for rule in verdict.rules],
        ),
    ]
    remarks = [f"{code(rule.rule)}: {escape(said)}" for rule in verdict.rules if (said := _explained(rule))]
    remarks += [escape(problem) for problem in verdict.problems if problem != verdict.refused]
    remarks += [f"Note: {escape(warning)}" for warning in verdict.warnings]
    if verdict.refused:
        remarks = [escape(verdict.refused), *(f"Note: {escape(warning)}" for warning in verdict.warnings)]
    if remarks:
        parts.append(bullet_list(remarks))
    return quote("\n\n".join(parts))


def waivers_section(verdict: Verdict | None) -> Section | None:
    """Who took responsibility for what; None when nobody did."""
    if verdict is None or not verdict.waivers:
        return None
    rows = [
        (
            code(waiver.rule),
            escape(waiver.reason),
            escape(waiver.owner),
            waiver.expires.isoformat(),
            code(waiver.model_sha256[:12]) + "…",
            escape(waiver.problem) or "holds",
        )
        for waiver in verdict.waivers
    ]
    columns = ("Rule", "Reason", "Owner", "Expires", "Model", "State")
    intro = "Rules that were not passed and that somebody answers for, by name, for this model and until a day."
    return Section("Waivers", f"{intro}\n\n{table(columns, rows)}")


def _policy_line(verdict: Verdict) -> str:
    blocking = [rule for rule in verdict.rules if rule.severity == "block"]
    met = sum(rule.status == "pass" for rule in blocking)
    waived = sum(rule.status == "waived" for rule in blocking)
    waived_text = f", {waived} waived" if waived else ""
    return (
        f"Policy {code(verdict.policy_name)} ({code(verdict.policy_digest[:12])}…), judged as of "
        f"{verdict.as_of.isoformat()}: {met} of {len(blocking)} blocking rules met{waived_text}."
    )


def _rule_row(rule: RuleResult) -> tuple[str, ...]:
    group = f" ({escape(rule.group)})" if rule.group is not None else ""
    return (
        code(rule.rule),
        "blocking" if rule.severity == "block" else "warning",
        f"{escape(humanise(rule.measurement))}{group}",
        escape(rule.requirement),
        _found(rule),
        _STATUS_WORDS[rule.status],
    )


def _found(rule: RuleResult) -> str:
    if rule.value is None:
        return "–"
    known = [bound for bound in (rule.low, rule.value, rule.high) if bound is not None]
    decimals = decimals_for(rule.value, min(known), max(known))
    value = fixed(rule.value, decimals)
    low = None if rule.low is None else fixed(rule.low, decimals, "ROUND_FLOOR")
    high = None if rule.high is None else fixed(rule.high, decimals, "ROUND_CEILING")
    if low is None or high is None:
        return f"{value} (at most {high})" if low is None else f"{value} (at least {low})"
    return f"{value} ({low} to {high})"


def _explained(rule: RuleResult) -> str:
    """Why a rule is not passed, and the policy's reason for its limit; empty when there is nothing to say."""
    reason = rule.reason if rule.status != "pass" else ""
    why = f"Why this limit: {rule.why}" if rule.why else ""
    return " ".join(filter(None, (reason, why)))
