"""What the gate says: one result per rule, the waivers, and the whole; as data and as ``gate.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from ldm_eval.errors import StoreError
from ldm_eval.gate.policy import Severity
from ldm_eval.store.atomic import read_json

__all__ = [
    "SCHEMA_VERSION",
    "GateStatus",
    "RuleResult",
    "RuleStatus",
    "Verdict",
    "WaiverResult",
    "load_verdict",
    "verdict_from_json",
    "verdict_to_json",
]

SCHEMA_VERSION = 1
RuleStatus = Literal["pass", "fail", "inconclusive", "invalid", "not_run", "error", "waived"]
GateStatus = Literal["pass", "fail", "inconclusive", "error"]
EXIT_CODES: Mapping[GateStatus, int] = {"pass": 0, "fail": 1, "inconclusive": 3, "error": 4}


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How one rule ended.

    Attributes:
        rule: Id of the rule.
        check: Id of the check it reads.
        measurement: Name of the measurement it reads.
        group: Group it is about, or None.
        requirement: The limit in words, e.g. ``"at most 0.01"``.
        severity: ``block`` or ``warn``.
        status: The answer; ``waived`` when a waiver covers what would not have passed.
        reason: One sentence for people: what was found and, where it helps, what to do next.
        value, low, high: The measurement and the bounds that count; None where there is none.
        level: Confidence level of the bounds.
        n: Images or pairs behind the measurement.
        n_needed: The n at which the bound is expected to settle the rule; None when settled or when no n would.
        why: The policy's reason for the limit.
        unwaived: What the status would be without the waiver; None unless waived.
    """

    rule: str
    check: str
    measurement: str
    group: str | None
    requirement: str
    severity: Severity
    status: RuleStatus
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    n: int | None = None
    n_needed: int | None = None
    why: str = ""
    unwaived: RuleStatus | None = None


@dataclass(frozen=True, slots=True)
class WaiverResult:
    """A waiver and whether it holds; ``problem`` is empty when it does, and fails the gate when it does not."""

    rule: str
    reason: str
    owner: str
    expires: date
    model_sha256: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of the gate.

    Attributes:
        policy_name: Name of the policy.
        policy_digest: SHA-256 of its file.
        as_of: The day waivers were judged on.
        model_sha256: The model the results are about.
        rules: One result per rule, in the order of the policy.
        waivers: One result per waiver.
        refused: Why the results cannot be judged at all (partial), or an empty string.
        warnings: What a reader should know though it decides nothing.
        calibration: Digest of the calibration certificate that was at hand, or None.
    """

    policy_name: str
    policy_digest: str
    as_of: date
    model_sha256: str
    rules: tuple[RuleResult, ...]
    waivers: tuple[WaiverResult, ...] = ()
    refused: str = ""
    warnings: tuple[str, ...] = ()
    calibration: str | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What decides the gate besides the rules: a refusal, and waivers that do not hold."""
        return tuple(filter(None, (self.refused, *(waiver.problem for waiver in self.waivers))))

    @property
    def status(self) -> GateStatus:
        """The whole: error over fail over inconclusive over pass. Rules of severity ``warn`` do not count."""
        blocking = {rule.status for rule in self.rules if rule.severity == "block"}
        if self.refused or "error" in blocking:
            return "error"
        if "fail" in blocking or any(waiver.problem for waiver in self.waivers):
            return "fail"
        return "pass" if blocking <= {"pass", "waived"} else "inconclusive"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 inconclusive, 4 error."""
        return EXIT_CODES[self.status]


_RULE_FIELDS = tuple(RuleResult.__dataclass_fields__)


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """The document of ``gate.json``, schema version 1, documented in ``docs/results.md``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "policy": {"name": verdict.policy_name, "digest": verdict.policy_digest},
        "as_of": verdict.as_of.isoformat(),
        "model_sha256": verdict.model_sha256,
        "rules": [{name: getattr(rule, name) for name in _RULE_FIELDS} for rule in verdict.rules],
        "waivers": [
            {
                "rule": waiver.rule,
                "reason": waiver.reason,
                "owner": waiver.owner,
                "expires": waiver.expires.isoformat(),
                "model_sha256": waiver.model_sha256,
                "problem": waiver.problem,
            }
            for waiver in verdict.waivers
        ],
        "refused": verdict.refused,
        "problems": list(verdict.problems),
        "warnings": list(verdict.warnings),
        **({} if verdict.calibration is None else {"calibration": verdict.calibration}),
    }


def verdict_from_json(document: Mapping[str, Any]) -> Verdict:
    """The inverse of ``verdict_to_json``.

    Raises:
        StoreError: when it is not a verdict of a schema this version knows.
    """
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"The verdict has schema version {version}; this ldm-eval reads version {SCHEMA_VERSION}. Judge again."
        )
    try:
        return Verdict(
            policy_name=document["policy"]["name"],
            policy_digest=document["policy"]["digest"],
            as_of=date.fromisoformat(document["as_of"]),
            model_sha256=document["model_sha256"],
            rules=tuple(RuleResult(**item) for item in document["rules"]),
            waivers=tuple(
                WaiverResult(**{**item, "expires": date.fromisoformat(item["expires"])}) for item in document["waivers"]
            ),
            refused=document["refused"],
            warnings=tuple(document["warnings"]),
            calibration=document.get("calibration"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"Not a verdict of ldm-eval ({type(error).__name__}: {error}). Judge again.") from error


def load_verdict(folder: Path) -> Verdict | None:
    """Read ``gate.json`` of a run folder; None when the run has not been judged. Raises StoreError."""
    path = folder / "gate.json"
    if not path.is_file():
        return None
    document = read_json(path)
    if not isinstance(document, dict):
        raise StoreError(f"{path} is not a verdict of ldm-eval. Judge again with `ldm-eval gate`.")
    return verdict_from_json(document)
