"""From results.json and a policy to a verdict: pure functions."""

from ldm_eval.gate.calibration import MadeBy, uncalibrated, uncalibrated_rules, version_difference
from ldm_eval.gate.decide import decide
from ldm_eval.gate.policy import Limit, Policy, Rule, Waiver, load_policy, parse_policy
from ldm_eval.gate.verdict import (
    GateStatus,
    RuleResult,
    RuleStatus,
    Verdict,
    WaiverResult,
    load_verdict,
    verdict_from_json,
    verdict_to_json,
)

__all__ = [
    "GateStatus",
    "Limit",
    "MadeBy",
    "Policy",
    "Rule",
    "RuleResult",
    "RuleStatus",
    "Verdict",
    "Waiver",
    "WaiverResult",
    "decide",
    "load_policy",
    "load_verdict",
    "parse_policy",
    "uncalibrated",
    "uncalibrated_rules",
    "verdict_from_json",
    "verdict_to_json",
    "version_difference",
]
