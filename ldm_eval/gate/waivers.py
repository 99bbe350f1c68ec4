"""Waivers: a rule that is not passed may be waived in the open; a waiver that does not hold fails the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from ldm_eval.gate.policy import Waiver
from ldm_eval.gate.verdict import RuleResult, WaiverResult

__all__ = ["apply_waivers", "judge_waiver"]


def apply_waivers(results: Sequence[RuleResult], holding: Sequence[WaiverResult]) -> tuple[RuleResult, ...]:
    """Mark the rules that a holding waiver covers as ``waived``; waivers with a problem change nothing."""
    covered = {waiver.rule: waiver for waiver in holding if not waiver.problem}
    return tuple(_waived(result, covered[result.rule]) if result.rule in covered else result for result in results)


def judge_waiver(waiver: Waiver, result: RuleResult, model_sha256: str, as_of: date) -> WaiverResult:
    """Whether a waiver holds for this rule, this model, on this day.

    Args:
        waiver: As the policy states it.
        result: How its rule ended without it.
        model_sha256: Digest of the model that was evaluated.
        as_of: The day; a waiver holds through the day it expires.
    """
    return WaiverResult(
        rule=waiver.rule,
        reason=waiver.reason,
        owner=waiver.owner,
        expires=waiver.expires,
        model_sha256=waiver.model_sha256,
        problem=_problem(waiver, result, model_sha256.lower(), as_of),
    )


def _problem(waiver: Waiver, result: RuleResult, model_sha256: str, as_of: date) -> str:
    name = f"The waiver of '{waiver.rule}' by {waiver.owner}"
    if waiver.model_sha256 != model_sha256:
        return (
            f"{name} is for the model {waiver.model_sha256[:12]}…, and this is {model_sha256[:12]}…; "
            "decide anew for this model, or remove the waiver."
        )
    if as_of > waiver.expires:
        return f"{name} expired on {waiver.expires}; decide anew, or remove it."
    if result.status == "pass":
        return f"{name} is not used: the rule passes without it. Remove the waiver."
    return ""


def _waived(result: RuleResult, waiver: WaiverResult) -> RuleResult:
    reason = f"Waived by {waiver.owner} until {waiver.expires}: {waiver.reason} Without the waiver: {result.reason}"
    return replace(result, status="waived", unwaived=result.status, reason=reason)
